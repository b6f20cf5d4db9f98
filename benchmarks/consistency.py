"""Does flow consistency earn its place? λ = 1 against λ = 0, same seeds and seconds.

    python -m benchmarks.consistency [--clips davis/car-shadow,easy-0] [--seeds 3] [--seconds 25]

Networks are trained by the preset `fast` and scored alone, at the size they see, on every k-th
unlabelled frame and its predecessor. Seconds are those of the processor, so that what else runs
on the machine does not count. A clip is a folder of --data, labelled every:15 (CamVid every:10),
or a rendered one: its difficulty and seed.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from backend.keyframes import parse_keys
from benchmarks.run import DATA
from model.batches import to_tensor, training_size
from model.benchmark import open_labelled
from model.finetune import finetune
from model.flow import DISFlow
from model.metrics.regions import confusion, mean_iou
from model.metrics.temporal import TemporalConsistency
from model.networks import Segmenter, build
from model.presets import FinetuneSettings
from model.synthetic import render_clip

CLIPS = "camvid-15hz/0016E5-a,davis/car-shadow,davis/motocross-jump,davis/dance-twirl,easy-0,hard-1"


@dataclass(frozen=True)
class Small:
    """A clip at the size that the network sees; a `model.clip.FrameSource`."""

    name: str
    frames: list[NDArray[np.uint8]]
    masks: list[NDArray[np.uint8]]
    class_names: tuple[str, ...]
    keys: list[int]

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> NDArray[np.uint8]:
        return self.frames[index]


def open_small(name: str, max_pixels: int) -> Small:
    """Read a clip, reduced."""
    look, _, seed = name.partition("-")
    clip: Any
    if look in ("easy", "hard") and seed.isdecimal():
        source = clip = render_clip(60, (320, 240), int(seed), look)
    else:
        clip = open_labelled(DATA / name, check=False)
        source = clip.source
    length = len(source)
    height, width = training_size(source.read(0).shape, max_pixels)
    size = (width, height)
    return Small(
        name,
        [_resized(source.read(i), size, cv2.INTER_AREA) for i in range(length)],
        [_resized(clip.masks.read(i), size, cv2.INTER_NEAREST_EXACT) for i in range(length)],
        clip.class_names,
        parse_keys("every:10" if "camvid" in name else "every:15").of(length),
    )


def _resized(image: NDArray[np.uint8], size: tuple[int, int], how: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


@torch.no_grad()
def score(network: Segmenter, clip: Small, step: int) -> tuple[float, float]:
    """mIoU and temporal consistency of a network's own predictions."""
    unlabelled = [index for index in range(1, len(clip)) if index not in clip.keys][::step]
    flow, classes = DISFlow(), len(clip.class_names)
    predicted: dict[int, NDArray[np.uint8]] = {}
    for index in sorted({*unlabelled, *(index - 1 for index in unlabelled)}):
        logits = network.logits(to_tensor(clip.read(index))[None])
        predicted[index] = logits.argmax(dim=1)[0].numpy().astype(np.uint8)
    counts: NDArray[np.int64] = np.zeros((classes, classes + 1), dtype=np.int64)
    steadiness = TemporalConsistency(classes)
    for index in unlabelled:
        truth, before, now = clip.masks[index], clip.read(index - 1), clip.read(index)
        counts = counts + confusion(truth, predicted[index], classes)
        steadiness.update(
            predicted[index - 1],
            predicted[index],
            flow.flow(now, before),
            flow.flow(before, now),
            truth == 255,
        )
    return mean_iou(counts) or 0.0, steadiness.value() or 0.0


def train(clip: Small, seconds: float, seed: int, weight: float) -> tuple[Segmenter, int]:
    """Fine-tune a network on a clip; it, and the steps it took."""
    torch.manual_seed(seed)
    network = build("compact", len(clip.class_names))
    settings = FinetuneSettings.preset(
        "fast", seconds=seconds, seed=seed, consistency=weight, max_pixels=clip.read(0)[..., 0].size
    )
    labels = {index: clip.masks[index] for index in clip.keys}
    done = finetune(
        network, clip, labels, flow=DISFlow(), settings=settings, clock=time.process_time
    )
    return network, done.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", default=CLIPS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--pixels", type=int, default=FinetuneSettings().max_pixels)
    parser.add_argument("--step", type=int, default=3, help="score every k-th unlabelled frame")
    given = parser.parse_args()
    print("| clip | λ = 0: mIoU / TC | λ = 1: mIoU / TC | steps |\n|---|---|---|---|")
    means = []
    for name in given.clips.split(","):
        clip = open_small(name, given.pixels)
        rows = []
        for seed in range(given.seeds):
            for weight in (0.0, 1.0):
                network, steps = train(clip, given.seconds, seed, weight)
                rows.append((*score(network, clip, given.step), steps))
        without, with_it = np.mean(rows[::2], axis=0), np.mean(rows[1::2], axis=0)
        means.append((without, with_it))
        _say(name, without, with_it)
    _say("mean", *np.mean(means, axis=0))


def _say(name: str, without: NDArray[np.float64], with_it: NDArray[np.float64]) -> None:
    print(
        f"| {name} | {without[0]:.4f} / {without[1]:.4f} | {with_it[0]:.4f} / {with_it[1]:.4f}"
        f" | {without[2]:.0f}, {with_it[2]:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
