"""Teaches refinement in advance, on rendered clips: `python -m model.refine_training`.

Writes `weights/refine.pt`, and beside it a JSON that says how it came about. The clips are wilder
than those that `maskloop render` makes: masks are drawn with a trembling hand, frames have been
through JPEG, and a network's word is imitated by truth that is coarse, shifted and here and there
wrong. Nothing else is learnt from: no recorded frame, no label of a person. The same seed gives the
same file, byte by byte, with the same versions of torch and OpenCV on one kind of processor.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.blend import FrameResult
from model.flow import get_flow
from model.propagate import mix
from model.refine import WEIGHTS, RefineNet, refined
from model.refine_teaching import Lesson, lessons, teach
from model.settings import PropagationSettings
from model.synthetic import RenderedClip, render_clip
from model.walk import Walk

__all__ = ["Rehearsal", "imitated", "main", "rehearsals", "trembling"]

_SIZES = ((320, 240), (400, 224), (256, 256))
_FRAMES = 3
_ONE_SIDED = 0.2
_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_RATE = 4e-3


class Rehearsal:
    """A frame of a rendered clip that was propagated, and its truth.

    Attributes:
        result: The frame, with its clues, and with the network's word mixed in if there is one.
        evidence: That word, (K, H, W) float32, or None.
        weight: How much it counts, 0 to 1.
        truth: (H, W) uint8.
    """

    def __init__(self, result: FrameResult, truth: NDArray[np.uint8], rng: np.random.Generator):
        self.truth = truth
        seen = imitated(truth, len(result.probabilities), rng)
        right = [float((mix(result, seen, w).mask == truth).mean()) for w in _WEIGHTS]
        weight = _WEIGHTS[int(np.argmax(right))]
        if rng.random() < 0.25:
            weight = float(rng.choice(_WEIGHTS))
        self.weight = weight
        self.evidence = seen if weight > 0 else None
        self.result = mix(result, seen, weight) if weight > 0 else result


class _Recorded:
    """A rendered clip as a camera records it: through JPEG."""

    def __init__(self, clip: RenderedClip, quality: int) -> None:
        self._clip = clip
        self._quality = quality

    def __len__(self) -> int:
        return len(self._clip)

    def read(self, index: int) -> NDArray[np.uint8]:
        _, data = cv2.imencode(
            ".jpg", self._clip.read(index), [cv2.IMWRITE_JPEG_QUALITY, self._quality]
        )
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def rehearsals(seed: int) -> Iterator[Rehearsal]:
    """Render a clip, propagate from one or two key frames, and yield some frames between."""
    rng = np.random.default_rng([seed, 7])
    gap = int(rng.integers(3, 14))
    look = "hard" if rng.random() < 0.3 else "wild"
    clip = render_clip(gap + 1, _SIZES[int(rng.integers(len(_SIZES)))], seed, look)
    names = _merged(len(clip.class_names), rng)
    both = rng.random() > _ONE_SIDED
    inner = np.arange(1, gap) if both else np.arange(1, min(gap, 9))
    wanted = {int(i) for i in rng.choice(inner, min(_FRAMES, len(inner)), replace=False)}
    tremor = float(rng.uniform(0, 1.2))
    ends = (0, gap) if both else (0,)
    keys = {i: trembling(names[clip.mask(i)], tremor, rng) for i in ends}
    source = _Recorded(clip, int(rng.integers(70, 98)))
    settings = PropagationSettings.best(refine=1.0)
    walk = Walk(source, keys, int(names.max()) + 1, get_flow("dis-sharp"), settings)
    for result in walk.frames(wanted):
        yield Rehearsal(result, trembling(names[clip.mask(result.index)], tremor, rng), rng)


def _merged(count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What classes are called: their own names, or in half of the clips one of two."""
    if rng.random() < 0.5:
        return np.arange(count, dtype=np.uint8)
    names = rng.integers(0, 2, count).astype(np.uint8)
    names[rng.integers(count)] = 1 - names[0] if (names == names[0]).all() else names[0]
    return names if names.max() > names.min() else np.arange(count, dtype=np.uint8)


def trembling(
    mask: NDArray[np.uint8], amount: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Redraw a mask with outlines that are off by about `amount` pixels."""
    height, width = mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shift = [
        cv2.resize(
            rng.standard_normal((height // 10 + 2, width // 10 + 2)).astype(np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        for _ in range(2)
    ]
    return np.asarray(
        cv2.remap(
            mask,
            x + np.float32(amount) * shift[0],
            y + np.float32(amount) * shift[1],
            cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def imitated(truth: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Imitate what a network that was fine-tuned on few frames says: (K, H, W) float32."""
    height, width = truth.shape
    moved = trembling(truth, float(rng.uniform(0.5, 4.0)), rng)
    stride = int(rng.choice([4, 8]))
    small = (max(1, width // stride), max(1, height // stride))
    doubt, sure = float(rng.uniform(0.3, 2.5)), float(rng.uniform(0.6, 1.4))
    logits = np.empty((count, height, width), np.float32)
    for label in range(count):
        there = (moved == label).astype(np.float32)
        coarse = cv2.resize(there, small, interpolation=cv2.INTER_AREA)
        coarse = np.log(np.asarray(coarse, np.float32) + 0.02)
        blobs = rng.standard_normal((height // 24 + 2, width // 24 + 2)).astype(np.float32)
        noise = cv2.resize(blobs, small, interpolation=cv2.INTER_CUBIC)
        scores = np.float32(sure) * coarse + np.float32(doubt) * np.asarray(noise, np.float32)
        logits[label] = cv2.resize(scores, (width, height), interpolation=cv2.INTER_LINEAR)
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    out: NDArray[np.float32] = logits / logits.sum(axis=0)
    return out


def _judged(network: RefineNet, held_out: list[Rehearsal]) -> dict[str, float]:
    """Mean IoU over frames and classes, as propagated and as refined."""
    before, after = [], []
    for one in held_out:
        result = one.result
        if result.clues is None:
            continue
        new = refined(network, result.clues, result.probabilities, one.evidence, one.weight)
        before.append(_iou(one.truth, result.mask))
        after.append(_iou(one.truth, new.argmax(axis=0)))
    return {
        "propagated": round(float(np.mean(before)), 4),
        "refined": round(float(np.mean(after)), 4),
        "worse_by_more_than_0.005": float(np.mean(np.subtract(after, before) < -0.005)),
    }


def _iou(truth: NDArray[np.uint8], mask: NDArray[Any]) -> float:
    scores = []
    for label in np.unique(truth):
        there, said = truth == label, mask == label
        scores.append((there & said).sum() / (there | said).sum())
    return float(np.mean(scores))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Several threads add up gradients in the order that they come in, which is never the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def main(arguments: list[str] | None = None) -> None:
    """Render, teach, judge on clips of other seeds, and write weights and provenance."""
    parser = argparse.ArgumentParser(prog="python -m model.refine_training", description=__doc__)
    parser.add_argument("--clips", type=int, default=108, help="rendered clips to learn from")
    parser.add_argument("--judges", type=int, default=8, help="clips of other seeds, to judge by")
    parser.add_argument("--steps", type=int, default=1200, help="of the optimiser")
    parser.add_argument("--seed", type=int, default=0, help="of clips, weights and order")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file of weights to write")
    given = parser.parse_args(arguments)
    taught: list[Lesson] = []
    for number in range(given.clips):
        for one in rehearsals(1000 * given.seed + number):
            if one.result.clues is not None:
                fused = one.result.probabilities
                taught += lessons(one.result.clues, fused, one.evidence, one.truth, one.weight)
    torch.manual_seed(given.seed)
    network = RefineNet()
    with _one_thread():
        teach(network, taught, steps=given.steps, rate=_RATE, seed=given.seed)
    held_out = [
        one
        for number in range(given.judges)
        for one in rehearsals(1_000_000 + 1000 * given.seed + number)
    ]
    kept = io.BytesIO()  # Written to a path, the file would hold that path's name.
    torch.save(network.state_dict(), kept)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_bytes(kept.getvalue())
    provenance = {
        "command": f"python -m model.refine_training --clips {given.clips} --judges"
        f" {given.judges} --steps {given.steps} --seed {given.seed}",
        "data": "rendered by model.synthetic; no recorded frame and no label of a person",
        "lessons": len(taught),
        "parameters": sum(p.numel() for p in network.parameters()),
        "torch": torch.__version__,
        "held_out_clips_miou": _judged(network, held_out),
    }
    given.out.with_suffix(".json").write_text(json.dumps(provenance, indent=2) + "\n")
    print(json.dumps(provenance, indent=2))


if __name__ == "__main__":
    main()
