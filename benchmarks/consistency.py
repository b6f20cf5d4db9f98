"""Does flow consistency earn its place? λ = 1 against λ = 0, same seeds and seconds.

    python -m benchmarks.consistency [--clips davis/car-shadow,easy-0] [--seeds 3] [--seconds 90]

Networks are trained by the preset `fast` and scored alone, at the size they see, on every k-th
unlabelled frame and its predecessor. Seconds are those of the processor, so that what else runs
on the machine does not count; the page says how many steps there was time for. A clip is a folder
of --data, labelled every:15 (CamVid every:10), or a rendered one: its difficulty and seed. With
--kept each training is noted in a file, and what the file holds already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from backend import __version__
from backend.keyframes import parse_keys
from backend.machine import describe_machine
from benchmarks.run import DATA, HERE
from model.batches import training_size
from model.benchmark import open_labelled
from model.finetune import finetune
from model.flow import DISFlow
from model.inference import NetworkEvidence
from model.metrics.regions import confusion, mean_iou
from model.metrics.temporal import TemporalConsistency
from model.networks import Segmenter, build
from model.presets import FinetuneSettings
from model.synthetic import render_clip

CLIPS = ",".join(
    (
        "camvid-15hz/0016E5-a",
        "davis/blackswan",
        "davis/camel",
        "davis/car-shadow",
        "davis/cows",
        "davis/dance-twirl",
        "davis/drift-straight",
        "davis/horsejump-high",
        "davis/motocross-jump",
        "easy-0",
        "hard-1",
    )
)


@dataclass(frozen=True)
class Run:
    """What one training came to.

    Attributes:
        miou: Over the unlabelled frames.
        tc: Temporal consistency.
        steps: Taken within the seconds.
    """

    miou: float
    tc: float
    steps: int


Runs = Mapping[tuple[str, int, float], Run]
"""By clip, seed and λ."""


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


def score(network: Segmenter, clip: Small, step: int) -> tuple[float, float]:
    """mIoU and temporal consistency of a network's own predictions."""
    unlabelled = [index for index in range(1, len(clip)) if index not in clip.keys][::step]
    flow, classes = DISFlow(), len(clip.class_names)
    says = NetworkEvidence(network, max_pixels=clip.read(0)[..., 0].size)
    predicted: dict[int, NDArray[np.uint8]] = {}
    for index in sorted({*unlabelled, *(index - 1 for index in unlabelled)}):
        predicted[index] = says(index, clip.read(index)).argmax(axis=0).astype(np.uint8)
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


def train(clip: Small, seconds: float, seed: int, weight: float, step: int) -> Run:
    """Fine-tune a network on a clip, and score it on every `step`-th unlabelled frame."""
    torch.manual_seed(seed)
    network = build("compact", len(clip.class_names))
    settings = FinetuneSettings.preset(
        "fast", seconds=seconds, seed=seed, consistency=weight, max_pixels=clip.read(0)[..., 0].size
    )
    labels = {index: clip.masks[index] for index in clip.keys}
    done = finetune(
        network, clip, labels, flow=DISFlow(), settings=settings, clock=time.process_time
    )
    return Run(*score(network, clip, step), done.steps)


class Kept:
    """Trainings by what they were about, in a file of JSON lines that is added to."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._runs: dict[str, Run] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                about, values = json.loads(line)
                self._runs[json.dumps(about)] = Run(*values)

    def take(self, *about: str | float) -> Run | None:
        """Return what was noted about the same; None if nothing was."""
        return self._runs.get(json.dumps(about))

    def note(self, run: Run, *about: str | float) -> None:
        """Add a training."""
        self._runs[json.dumps(about)] = run
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([about, astuple(run)]) + "\n")


def table(runs: Runs, clips: Sequence[str], seeds: int) -> str:
    """Return the clips that all runs are there of, and their mean, as Markdown."""
    rows = [
        "| clip | λ = 0: mIoU / TC | λ = 1: mIoU / TC | change | TC rose in | steps |",
        "|---|---|---|---|---|---|",
    ]
    means = []
    for name in clips:
        both = [[(name, seed, weight) for seed in range(seeds)] for weight in (0.0, 1.0)]
        if any(about not in runs for one in both for about in one):
            continue
        values = np.array([[astuple(runs[about]) for about in one] for one in both])
        rose = int((values[1, :, 1] > values[0, :, 1]).sum())
        means.append(values.mean(axis=1))
        rows.append(_row(f"`{name}`", means[-1], f"{rose} of {seeds}"))
    if means:
        rose = sum(bool(mean[1, 1] > mean[0, 1]) for mean in means)
        rows.append(_row("mean", np.mean(means, axis=0), f"{rose} of {len(means)} clips"))
    return "\n".join(rows) + "\n"


def _row(name: str, mean: NDArray[np.float64], rose: str) -> str:
    without, with_it = mean
    iou, tc = with_it[:2] - without[:2]
    return (
        f"| {name} | {without[0]:.4f} / {without[1]:.5f} | {with_it[0]:.4f} / {with_it[1]:.5f}"
        f" | {iou:+.4f} / {tc:+.5f} | {rose} | {without[2]:.0f}, {with_it[2]:.0f} |"
    )


def page(rows: str, command: str) -> str:
    """Return the page, as Markdown."""
    machine = describe_machine()
    return (
        f"# Consistency\n\nWritten by `{command}`: maskloop {__version__}; {machine['cpu']},"
        f" {machine['gpu'] or 'no GPU'}; Python {machine['python']},"
        f" torch {machine['versions']['torch']}.\n\n"
        "`compact` alone, preset `fast`; the mean over the seeds of mIoU and TC on unlabelled"
        " frames. Steps within the seconds: λ = 0, λ = 1.\n\n" + rows
    )


def main() -> None:
    """Measure, and write the page after each clip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", default=CLIPS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--pixels", type=int, default=FinetuneSettings().max_pixels)
    parser.add_argument("--step", type=int, default=3, help="score every k-th unlabelled frame")
    parser.add_argument(
        "--kept", type=Path, help="JSON lines, one for each training, to go on from"
    )
    parser.add_argument("--out", type=Path, default=HERE / "consistency.md")
    given = parser.parse_args()
    names, kept = given.clips.split(","), Kept(given.kept)
    runs: dict[tuple[str, int, float], Run] = {}
    command = " ".join(["python -m benchmarks.consistency", *sys.argv[1:]])
    for name in names:
        clip = open_small(name, given.pixels)
        for seed in range(given.seeds):
            for weight in (0.0, 1.0):
                about = (name, seed, weight, given.pixels, given.seconds, given.step)
                run = kept.take(*about)
                if run is None:
                    run = train(clip, given.seconds, seed, weight, given.step)
                    kept.note(run, *about)
                runs[name, seed, weight] = run
        given.out.write_text(page(table(runs, names, given.seeds), command), encoding="utf-8")
    print(table(runs, names, given.seeds))


if __name__ == "__main__":
    main()
