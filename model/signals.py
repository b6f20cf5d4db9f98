"""What a frame's result tells about its own quality, and the laws that this follows on any clip."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from model.blend import FrameResult
from model.keyframes import IGNORE
from model.metrics import confusion
from model.ranking import most_probable

__all__ = [
    "BETWEEN",
    "BEYOND",
    "DISSENT",
    "Law",
    "Overlap",
    "Signals",
    "dissent_odds",
    "law_of",
    "log_odds",
    "squash",
    "terms",
]

_LEAST, _MOST = 0.002, 0.998
"""Errors are kept within these, so that their odds are finite."""

_FAR = 20.0
"""Log-odds that no two errors within these bounds are apart by."""


@dataclass
class Overlap:
    """Intersection and union of each class, (K,) float64, in pixels; may be sums over frames."""

    intersection: NDArray[np.float64]
    union: NDArray[np.float64]

    @classmethod
    def expected(
        cls, probabilities: NDArray[np.float32], valid: NDArray[np.bool_] | None = None
    ) -> Overlap:
        """What to expect of the most probable classes, were the probabilities right."""
        count = len(probabilities)
        mask, top = most_probable(probabilities), probabilities.max(axis=0)
        if valid is None:
            mask, top, sums = mask.ravel(), top.ravel(), probabilities.sum((1, 2), dtype=np.float64)
        else:
            mask, top = mask[valid], top[valid]
            sums = probabilities[:, valid].sum(axis=1, dtype=np.float64)
        sizes = np.bincount(mask, minlength=count).astype(np.float64)
        hits = np.bincount(mask, weights=top, minlength=count).astype(np.float64)
        return cls(hits, sizes + sums - hits)

    @classmethod
    def actual(cls, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], count: int) -> Overlap:
        """What it is, on labelled pixels."""
        table = confusion(truth, predicted, count)[:, :count]
        hits = np.diagonal(table).astype(np.float64)
        return cls(hits, table.sum(axis=0) + table.sum(axis=1) - hits)

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.intersection + other.intersection, self.union + other.union)

    def mean_iou(self) -> float:
        """Over the classes that occur (with at least a pixel's worth); 1.0 where none does."""
        there = self.union >= 1
        return float((self.intersection[there] / self.union[there]).mean()) if there.any() else 1.0

    def with_error(self, error: float) -> Overlap:
        """The overlap with this error, 1 − mIoU, if the odds of all classes' errors were off alike.

        The classes' odds are shifted together until the mean of the errors is the one asked for.
        """
        there = self.union >= 1
        if not there.any():
            return self
        odds = log_odds(1 - self.intersection[there] / self.union[there])
        target = float(np.clip(error, _LEAST, _MOST))
        by = brentq(lambda by: float(squash(odds + by).mean()) - target, -_FAR, _FAR)
        right = self.intersection.copy()
        right[there] = self.union[there] * (1 - squash(odds + by))
        return Overlap(right, self.union)


def log_odds(error: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln(e / (1 − e)), of errors that are kept a little away from 0 and 1."""
    kept = np.clip(error, _LEAST, _MOST)
    out: NDArray[np.float64] = np.log(kept / (1 - kept))
    return out


def squash(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share that has these log-odds."""
    out: NDArray[np.float64] = 1 / (1 + np.exp(-odds))
    return out


@dataclass(frozen=True)
class Signals:
    """What a frame's result tells about its own quality.

    Attributes:
        error: Log-odds of the error to expect, 1 − mIoU, were the probabilities right.
        doubt: Mean over the classes of what is missing from certainty, 1 − confidence ×
            probability, in the region of each; 0 to 1.
        distance: Frames to the nearest key frame, 1 or more.
        beyond: Whether there are key frames on one side only.
        dissent: Log-odds of 1 − mIoU between what was propagated and the network's word; None
            where there is none.
    """

    error: float
    doubt: float
    distance: int
    beyond: bool
    dissent: float | None = None

    @classmethod
    def of(
        cls,
        result: FrameResult,
        keys: Collection[int],
        valid: NDArray[np.bool_] | None = None,
    ) -> Signals:
        """Read the signals from a result.

        Args:
            result: The frame, labelled from key frames.
            keys: The key frames; the frame itself may be one.
            valid: (H, W) bool, the pixels that count; None for all.
        """
        return cls.from_overlap(result, keys, Overlap.expected(result.probabilities, valid), valid)

    @classmethod
    def from_overlap(
        cls,
        result: FrameResult,
        keys: Collection[int],
        overlap: Overlap,
        valid: NDArray[np.bool_] | None,
    ) -> Signals:
        """As `of`, where the overlap to expect of these pixels is known already."""
        count = len(result.probabilities)
        certain = result.confidence * result.probabilities.max(axis=0)
        mask = result.mask
        if valid is not None:
            certain, mask = certain[valid], mask[valid]
        sizes = np.bincount(mask.ravel(), minlength=count)
        sums = np.bincount(mask.ravel(), weights=1 - certain.ravel(), minlength=count)
        there = sizes > 0
        index = result.index
        others = [key for key in keys if key != index]
        dissent = None
        if result.word is not None:
            word = result.word if valid is None else np.where(valid, result.word, np.uint8(IGNORE))
            both = Overlap.actual(word, result.mask, count)
            dissent = float(log_odds(np.array(1 - both.mean_iou())))
        return cls(
            error=float(log_odds(np.array(1 - overlap.mean_iou()))),
            doubt=float((sums[there] / sizes[there]).mean()) if there.any() else 0.0,
            distance=min((abs(key - index) for key in others), default=1),
            beyond=bool(others) and not min(others) < index < max(others),
            dissent=dissent,
        )


@dataclass(frozen=True)
class Law:
    """How the signals tell a frame's error, on any clip.

    log-odds of the error = level + slope · (its soft log-odds) + doubt · ln(doubt + 0.001)
    + distance · ln(frames to the nearest key frame).
    """

    level: float
    slope: float
    doubt: float = 0.0
    distance: float = 0.0

    def odds(self, signals: Signals) -> float:
        """Log-odds of the error to expect."""
        return float(np.dot([self.level, self.slope, self.doubt, self.distance], terms(signals)))


def terms(signals: Signals) -> tuple[float, float, float, float]:
    """What the coefficients of a `Law` are multiplied by."""
    return (
        1.0,
        signals.error,
        float(np.log(signals.doubt + 0.001)),
        float(np.log(signals.distance)),
    )


BETWEEN = Law(level=0.54, slope=1.15)
"""Between two key frames. `benchmarks.expected_quality --fit` fits both laws on rendered clips."""

BEYOND = Law(level=0.30, slope=0.73, doubt=1.11, distance=0.28)
"""With key frames on one side only: the probabilities say little there."""


DISSENT = (-0.32, 1.17)
"""Level and slope of the log-odds of a frame's error by `Signals.dissent`, beyond key frames."""


def dissent_odds(dissent: float) -> float:
    """Log-odds of the error to expect of a frame by how far a network contradicts it."""
    level, slope = DISSENT
    return level + slope * dissent


def law_of(signals: Signals) -> Law:
    """The law for a frame."""
    return BEYOND if signals.beyond else BETWEEN
