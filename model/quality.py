"""How good propagated masks are, without ground truth; and key frames that contradict each other.

The reverse test of VSPW (Miao et al., CVPR 2021, section on comparing propagators): each key frame
is predicted from the *other* key frames and scored against its own label. That calibrates an
estimate which every frame has: its soft IoU, the IoU to expect were its probabilities right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.keyframes import IGNORE, check_keys
from model.settings import PropagationSettings
from model.walk import Walk

__all__ = [
    "Calibration",
    "QualityEstimate",
    "Spot",
    "find_spots",
    "reverse_test",
    "spots_of",
    "without_echoes",
]

_PRIOR = 0.02
"""Error that the calibration takes as seen at scale 1, so that few key frames don't overrule it."""

_SCALES = (0.25, 6.0)
"""Bounds of the calibration's scale."""


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
    indices = list(masks)
    if most is not None and len(indices) > most:
        places = np.linspace(0, len(indices) - 1, most + 2)[1:-1].round().astype(int)
        indices = [indices[place] for place in np.unique(places)]
    if len(masks) < 2:
        return
    for index in indices:
        others = {other: mask for other, mask in masks.items() if other != index}
        walk = Walk(source, others, num_classes, flow, settings or PropagationSettings())
        yield from walk.frames({index})


@dataclass
class _Overlap:
    """Intersection and union of each class, added up over frames."""

    intersection: NDArray[np.float64]
    union: NDArray[np.float64]

    @classmethod
    def empty(cls, count: int) -> _Overlap:
        return cls(np.zeros(count), np.zeros(count))

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

    def add(self, other: _Overlap) -> None:
        self.intersection += other.intersection
        self.union += other.union

    def mean_iou(self) -> float:
        """Over the classes that occur (with at least a pixel's worth); 1.0 where none does."""
        there = self.union >= 1
        return float((self.intersection[there] / self.union[there]).mean()) if there.any() else 1.0


@dataclass(frozen=True)
class Calibration:
    """What the reverse test says about soft IoU.

    Attributes:
        scale: Real error for each unit of expected error (error = 1 − mIoU); 1.0 where fewer than
            two frames are labelled.
        held_out: Key frame → the mIoU of its prediction from the others.
    """

    scale: float = 1.0
    held_out: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, predictions: Iterator[FrameResult], keys: Mapping[int, NDArray[np.uint8]]
    ) -> Calibration:
        """Compare the predictions of `reverse_test` with the labels of these key frames.

        The outermost key frames, which have a neighbour on one side only, set the scale only
        where there are no others: few frames of a clip are so far from a label.
        """
        held_out = {}
        errors: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        ends = {min(keys), max(keys)} if keys else set()
        for result in predictions:
            truth = keys[result.index]
            labelled = truth != IGNORE
            soft = _Overlap.expected(result.probabilities, labelled).mean_iou()
            real = _Overlap.actual(truth, result.mask, len(result.probabilities)).mean_iou()
            held_out[result.index] = real
            errors[result.index in ends].append((1 - soft, 1 - real))
        if not held_out:
            return cls()
        expected, actual = np.sum(errors[False] or errors[True], axis=0)
        scale = (actual + _PRIOR) / (expected + _PRIOR)
        return cls(float(np.clip(scale, *_SCALES)), held_out)

    def apply(self, soft: float) -> float:
        """Turn a soft mIoU into the mIoU to expect, 0 to 1."""
        return float(np.clip(1 - self.scale * (1 - soft), 0.0, 1.0))


class QualityEstimate:
    """Expected quality of a clip's unlabelled frames, gathered as results come.

    Args:
        calibration: From the reverse test.

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
        overlap = _Overlap.expected(result.probabilities)
        if self._sum is None:
            self._sum = _Overlap.empty(len(result.probabilities))
        self._sum.add(overlap)
        quality = self.calibration.apply(overlap.mean_iou())
        self.frames[result.index] = quality
        return quality

    @property
    def mean_iou(self) -> float:
        """The mIoU to expect over all unlabelled frames added; 1.0 where there was none."""
        return 1.0 if self._sum is None else self.calibration.apply(self._sum.mean_iou())


@dataclass(frozen=True)
class Spot:
    """A region that a key frame calls by another name than the key frames around it (VSPW S4).

    Attributes:
        frame: The key frame to look at.
        box: (left, top, right, bottom) of the region in pixels, right and bottom not included.
        labelled: The class it has there.
        expected: The class that the other key frames give it.
        pixels: Size of the region.
    """

    frame: int
    box: tuple[int, int, int, int]
    labelled: int
    expected: int
    pixels: int


def find_spots(
    predictions: Iterator[FrameResult],
    keys: Mapping[int, NDArray[np.uint8]],
    *,
    share: float = 0.7,
    confidence: float = 0.3,
    smallest: float = 0.0002,
) -> list[Spot]:
    """Find key frames whose labels contradict those of the other key frames.

    A connected region of one class is a spot where the prediction from the other key frames is
    sure, and gives most of it one other class. The two outermost key frames have a neighbour on
    one side only; they are not blamed for a region that their neighbour is blamed for.

    Args:
        predictions: From `reverse_test`, of all key frames.
        keys: Frame index → (H, W) uint8 mask.
        share: Least mean probability of the other class in a region.
        confidence: Least mean confidence of the prediction there.
        smallest: Least size of a region, as a share of the frame.
    """
    found: list[Spot] = []
    for result in predictions:
        found += spots_of(result, keys[result.index], share, confidence, smallest)
    return without_echoes(found, sorted(keys))


def spots_of(
    result: FrameResult,
    mask: NDArray[np.uint8],
    share: float = 0.7,
    confidence: float = 0.3,
    smallest: float = 0.0002,
) -> list[Spot]:
    """The spots of one key frame, given its prediction from the others; see `find_spots`."""
    found: list[Spot] = []
    least = max(16, int(smallest * mask.size))
    for label in (int(value) for value in np.unique(mask) if value != IGNORE):
        count, regions, stats, _ = cv2.connectedComponentsWithStats(
            (mask == label).astype(np.uint8), connectivity=4
        )
        for region in range(1, count):
            left, top, width, height, size = (int(value) for value in stats[region])
            if size < least:
                continue
            window = (slice(top, top + height), slice(left, left + width))
            inside = regions[window] == region
            # Mean probabilities, not votes: where the two sides disagree, neither has `share`.
            given = result.probabilities[:, window[0], window[1]][:, inside].mean(axis=1)
            other = int(given.argmax())
            sure = float(result.confidence[window][inside].mean())
            if other != label and given[other] >= share and sure >= confidence:
                box = (left, top, left + width, top + height)
                found.append(Spot(result.index, box, label, other, size))
    return found


def without_echoes(spots: list[Spot], frames: list[int]) -> list[Spot]:
    """Drop the outermost key frames' spots that mirror a spot of their only neighbour."""
    if len(frames) < 3:
        return spots
    neighbours = {frames[0]: frames[1], frames[-1]: frames[-2]}
    return [
        spot
        for spot in spots
        if not any(
            other.frame == neighbours.get(spot.frame)
            and (other.labelled, other.expected) == (spot.expected, spot.labelled)
            for other in spots
        )
    ]
