"""How refinement is taught: lessons cut from frames whose truth is known, and the steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.clues import Clues
from model.keyframes import IGNORE
from model.refine import RefineNet, corrected
from model.windows import Window, windows

__all__ = ["Lesson", "lessons", "teach"]

_JACCARD = 0.5
"""Weight of 1 − soft IoU beside cross-entropy: thin classes count as much as wide ones."""

_WEIGHT_DECAY = 1e-3
_BATCH = 12


@dataclass(frozen=True)
class Lesson:
    """A window whose truth is known.

    Attributes:
        window: What the network sees; its tensors are float16 to save memory.
        target: (h, w) int64, indices into the window's classes; 255 where nothing is to be learnt.
    """

    window: Window
    target: Tensor


def lessons(
    clues: Clues,
    probabilities: NDArray[np.float32],
    evidence: NDArray[np.float32] | None,
    truth: NDArray[np.uint8],
    weight: float = 0.0,
) -> Iterator[Lesson]:
    """Cut a frame into lessons.

    Args:
        clues: What was found out about the frame.
        probabilities: (K, H, W) float32, as fused.
        evidence: (K, H, W) float32, a network's word.
        truth: (H, W) uint8, 255 = ignore.
        weight: How much that word counted in fusion, 0 to 1.
    """
    for window in windows(clues, probabilities, evidence, weight):
        places = np.full(IGNORE + 1, IGNORE, np.int64)
        places[window.classes] = np.arange(len(window.classes))
        target = places[truth[window.place]]
        target[~window.contested.numpy()] = IGNORE
        if len(window.classes) > 1 and (target != IGNORE).any():
            kept = replace(
                window,
                probabilities=window.probabilities.half(),
                by_class=window.by_class.half(),
                shared=window.shared.half(),
            )
            yield Lesson(kept, torch.from_numpy(target))


def teach(
    network: RefineNet,
    taught: Sequence[Lesson],
    *,
    steps: int,
    rate: float,
    seed: int,
    seconds: float = math.inf,
) -> int:
    """Teach a refiner, in place.

    Args:
        network: The refiner.
        taught: At least one lesson.
        steps: Of the optimiser.
        rate: The highest learning rate; it rises and falls over the steps or the time.
        seed: Of the order.
        seconds: The most time to take.

    Returns:
        Steps taken.
    """
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=_WEIGHT_DECAY)
    network.train()
    started = time.monotonic()
    for step in range(steps):
        spent = time.monotonic() - started
        done = max(step / steps, spent / seconds)
        if done >= 1:
            network.eval()
            return step
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, 10 * done + 0.1) * math.cos(done * math.pi / 2)
        batch = [_turned(taught[int(i)], rng) for i in rng.integers(len(taught), size=_BATCH)]
        batch = [one for one in batch if one.target.shape == batch[0].target.shape]
        loss = _loss(network, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.eval()
    return steps


def _turned(lesson: Lesson, rng: np.random.Generator) -> Lesson:
    """Mirror a lesson in half of the cases."""
    if rng.random() < 0.5:
        return lesson
    window = lesson.window
    mirrored = replace(
        window,
        probabilities=window.probabilities.flip(-1),
        by_class=window.by_class.flip(-1),
        shared=window.shared.flip(-1),
    )
    return Lesson(mirrored, lesson.target.flip(-1))


def _loss(network: RefineNet, batch: Sequence[Lesson]) -> Tensor:
    total = torch.zeros(())
    pixels = 0
    for lesson, logits in zip(
        batch, corrected(network, [lesson.window for lesson in batch]), strict=True
    ):
        target = lesson.target.to(logits.device)
        valid = target != IGNORE
        count = int(valid.sum())
        entropy = F.cross_entropy(logits[:, valid].T, target[valid], reduction="sum")
        overlap = _overlap_loss(logits[:, valid].softmax(dim=0), target[valid])
        total = total.to(logits.device) + entropy + _JACCARD * count * overlap
        pixels += count
    return total / max(pixels, 1)


def _overlap_loss(probabilities: Tensor, target: Tensor) -> Tensor:
    """1 − soft IoU, averaged over the classes there are."""
    there = F.one_hot(target, len(probabilities)).T.to(probabilities.dtype)
    hit = (probabilities * there).sum(dim=1)
    union = (probabilities + there).sum(dim=1) - hit
    seen = there.sum(dim=1) > 0
    return (1 - hit[seen] / union[seen].clamp_min(1.0)).mean()
