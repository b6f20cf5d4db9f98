"""How good propagated masks are, without ground truth.

Every frame has a *soft IoU*: the IoU to expect were its probabilities right. They are surer than
they ought to be, by an amount that a simple law tells; and that law is set right for the clip at
hand by VSPW's reverse test (Miao et al., CVPR 2021, section on comparing propagators): each key
frame is predicted from the *other* key frames and scored against its own label.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.keyframes import IGNORE, check_keys
from model.settings import PropagationSettings
from model.walk import Walk

__all__ = [
    "BETWEEN",
    "BEYOND",
    "Calibration",
    "Law",
    "QualityEstimate",
    "Signals",
    "reverse_test",
]

_FIRMNESS = 0.5
"""Held-out key frames that the laws, which know of no clip, weigh as much as."""

_LENT = 0.3
"""Share of what is learnt beyond the key frames that is believed between them."""

_LEAST, _MOST = 0.002, 0.998
"""Errors are kept within these, so that their odds are finite."""

_LABELLED = 0.1
"""Least share of labelled pixels for which a key frame is predicted from the others."""


def reverse_test(
    source: FrameSource,
    keys: Mapping[int, NDArray[np.uint8]],
    num_classes: int,
    *,
    flow: FlowEstimator,
    settings: PropagationSettings | None = None,
    most: int | None = None,
) -> Iterator[FrameResult]:
    """Predict each key frame from the other key frames.

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        flow: The flow estimator.
        settings: How sources are weighed.
        most: Key frames to predict at most, evenly spread; None for all.

    Yields:
        The prediction of each key frame, in order; nothing where fewer than two are labelled.

    Raises:
        ValueError: As `model.propagate.propagate`.
    """
    masks = check_keys(keys, num_classes, len(source))
    if len(masks) < 2:
        return
    indices = [i for i, mask in masks.items() if (mask != IGNORE).mean() >= _LABELLED]
    if most is not None and len(indices) > most:
        places = np.linspace(0, len(indices) - 1, most + 2)[1:-1].round().astype(int)
        indices = [indices[place] for place in np.unique(places)]
    for index in indices:
        others = {other: mask for other, mask in masks.items() if other != index}
        walk = Walk(source, others, num_classes, flow, settings or PropagationSettings())
        yield from walk.frames({index})


@dataclass
class _Overlap:
    """Intersection and union of each class, (K,) float64, in pixels; may be sums over frames."""

    intersection: NDArray[np.float64]
    union: NDArray[np.float64]

    @classmethod
    def expected(
        cls, probabilities: NDArray[np.float32], valid: NDArray[np.bool_] | None = None
    ) -> _Overlap:
        """What to expect of the most probable classes, were the probabilities right."""
        count = len(probabilities)
        everything = probabilities.reshape(count, -1)
        flat = everything if valid is None else everything[:, valid.ravel()]
        mask = flat.argmax(axis=0)
        sizes = np.bincount(mask, minlength=count).astype(np.float64)
        top = flat[mask, np.arange(mask.size)]
        hits = np.bincount(mask, weights=top, minlength=count).astype(np.float64)
        return cls(hits, sizes + flat.sum(axis=1, dtype=np.float64) - hits)

    @classmethod
    def actual(cls, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], count: int) -> _Overlap:
        """What it is, on labelled pixels."""
        valid = truth != IGNORE
        pairs = truth[valid].astype(np.intp) * count + predicted[valid]
        table = np.bincount(pairs, minlength=count * count).reshape(count, count)
        hits = np.diagonal(table).astype(np.float64)
        return cls(hits, table.sum(axis=0) + table.sum(axis=1) - hits)

    def __add__(self, other: _Overlap) -> _Overlap:
        return _Overlap(self.intersection + other.intersection, self.union + other.union)

    def mean_iou(self) -> float:
        """Over the classes that occur (with at least a pixel's worth); 1.0 where none does."""
        there = self.union >= 1
        return float((self.intersection[there] / self.union[there]).mean()) if there.any() else 1.0

    def shifted(self, by: float) -> _Overlap:
        """The overlap when the odds of each class's error are exp(by) times as large."""
        there = self.union >= 1
        error = np.zeros_like(self.union)
        error[there] = 1 - self.intersection[there] / self.union[there]
        wrong = _squash(_log_odds(error) + by)
        return _Overlap(np.where(there, self.union * (1 - wrong), self.intersection), self.union)


def _log_odds(error: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.clip(error, _LEAST, _MOST)
    out: NDArray[np.float64] = np.log(kept / (1 - kept))
    return out


def _squash(odds: NDArray[np.float64]) -> NDArray[np.float64]:
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
    """

    error: float
    doubt: float
    distance: int
    beyond: bool

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
        return cls._from(result, keys, _Overlap.expected(result.probabilities, valid), valid)

    @classmethod
    def _from(
        cls,
        result: FrameResult,
        keys: Collection[int],
        overlap: _Overlap,
        valid: NDArray[np.bool_] | None,
    ) -> Signals:
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
        return cls(
            error=float(_log_odds(np.array(1 - overlap.mean_iou()))),
            doubt=float((sums[there] / sizes[there]).mean()) if there.any() else 0.0,
            distance=min((abs(key - index) for key in others), default=1),
            beyond=bool(others) and not min(others) < index < max(others),
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


@dataclass(frozen=True)
class Calibration:
    """What the reverse test says about the laws: by how much they are off on this clip.

    Attributes:
        keys: The labelled frames.
        between: Added to the log-odds of the error of frames between two key frames.
        beyond: The same with key frames on one side only.
        held_out: Key frame → the mIoU of its prediction from the others.
    """

    keys: tuple[int, ...] = ()
    between: float = 0.0
    beyond: float = 0.0
    held_out: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, predictions: Iterable[FrameResult], keys: Mapping[int, NDArray[np.uint8]]
    ) -> Calibration:
        """Compare the predictions of `reverse_test` with the labels of these key frames.

        The means of the differences are shrunk towards none, the more the fewer there are. The
        two outermost key frames are predicted from one side and teach about frames beyond; where
        there is no other, they teach a little about those between as well.
        """
        held_out = {}
        off: dict[bool, list[float]] = {True: [], False: []}
        for result in predictions:
            truth = keys[result.index]
            signals = Signals.of(result, keys, truth != IGNORE)
            real = _Overlap.actual(truth, result.mask, len(result.probabilities)).mean_iou()
            held_out[result.index] = real
            error = float(_log_odds(np.array(1 - real)))
            off[signals.beyond].append(error - _law(signals).odds(signals))
        beyond = sum(off[True]) / (len(off[True]) + _FIRMNESS)
        inner = off[False]
        between = (sum(inner) + _FIRMNESS * _LENT * beyond) / (len(inner) + _FIRMNESS)
        return cls(tuple(sorted(keys)), between, beyond, held_out)

    def odds(self, signals: Signals) -> float:
        """Log-odds of the error to expect of a frame of this clip."""
        return _law(signals).odds(signals) + (self.beyond if signals.beyond else self.between)


def _law(signals: Signals) -> Law:
    return BEYOND if signals.beyond else BETWEEN


class QualityEstimate:
    """Expected quality of a clip's unlabelled frames, gathered as results come.

    Args:
        calibration: From the reverse test; without any, all frames count as between key frames.

    Attributes:
        frames: Frame index → mIoU to expect, of the frames added so far; 1.0 for key frames.
    """

    def __init__(self, calibration: Calibration | None = None) -> None:
        self.calibration = calibration or Calibration()
        self.frames: dict[int, float] = {}
        self._sum: _Overlap | None = None

    def add(self, result: FrameResult) -> float:
        """Take in a frame's result; return the mIoU to expect of it, 0 to 1."""
        if result.is_key:
            self.frames[result.index] = 1.0
            return 1.0
        soft = _Overlap.expected(result.probabilities)
        signals = Signals._from(result, self.calibration.keys, soft, None)
        odds = self.calibration.odds(signals)
        quality = 1 - float(_squash(np.array(odds)))
        overlap = soft.shifted(odds - signals.error)
        self._sum = overlap if self._sum is None else self._sum + overlap
        self.frames[result.index] = quality
        return quality

    @property
    def mean_iou(self) -> float:
        """The mIoU to expect over all unlabelled frames added; 1.0 where there was none."""
        return 1.0 if self._sum is None else self._sum.mean_iou()
