"""Spots: regions that a key frame calls by another name than the key frames around it (VSPW, S4).

A region is a spot where the prediction from the other key frames gives most of it another class,
*and* it looks like that class: warping alone is wrong where things are fast, thin or newly seen,
but then the region's colours are not those of what is said to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.keyframes import IGNORE, lab, read_frame

__all__ = ["Spot", "SpotRules", "find_spots", "spots_of", "without_echoes"]

_BINS = 16
"""Of each Lab channel, for histograms of colours."""

_KERNEL = np.array([0.25, 0.5, 0.25])

_FLAT = 0.02
"""Share of a class's colours that may be anything."""

_FEW = 30
"""Pixels from which a class's colours are known."""

_AROUND = 24
"""Pixels around a region, at least, in which the classes' colours are learnt."""


@dataclass(frozen=True)
class Spot:
    """A region that a key frame calls by another name than the key frames around it.

    Attributes:
        frame: The key frame to look at.
        box: (left, top, right, bottom) of the region in pixels, right and bottom not included.
        labelled: The class it has there.
        expected: The class that the other key frames give it.
        pixels: Size of the region.
        share: How much of it they give that class, 0 to 1.
    """

    frame: int
    box: tuple[int, int, int, int]
    labelled: int
    expected: int
    pixels: int
    share: float = 1.0


@dataclass(frozen=True)
class SpotRules:
    """When a region is a spot.

    Attributes:
        share: Least mean probability of the other class.
        closer: Least share of the pixels whose colour is likelier of the other class.
        alike: Least overlap of the region's histogram of colours with that of the other class.
        smallest: Least size, as a share of the frame.
        large: The same where the prediction's confidence is below `confidence`.
        confidence: Least mean confidence of the prediction in small regions.
        end_share: `share` for the two outermost key frames, predicted from one side only.
        end_large: `large` for those.
    """

    share: float = 0.55
    closer: float = 0.5
    alike: float = 0.4
    smallest: float = 0.0002
    large: float = 0.001
    confidence: float = 0.25
    end_share: float = 0.7
    end_large: float = 0.002


def find_spots(
    predictions: Iterable[FrameResult],
    keys: Mapping[int, NDArray[np.uint8]],
    source: FrameSource,
    rules: SpotRules | None = None,
) -> list[Spot]:
    """Find key frames whose labels contradict those of the other key frames.

    Args:
        predictions: From `model.quality.reverse_test`, of all key frames.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        source: The clip.
        rules: When a region is a spot.

    Raises:
        ClipError: A frame cannot be read.
    """
    found: list[Spot] = []
    for result in predictions:
        found += spots_of(result, keys, source, rules)
    return without_echoes(found, sorted(keys))


def spots_of(
    result: FrameResult,
    keys: Mapping[int, NDArray[np.uint8]],
    source: FrameSource,
    rules: SpotRules | None = None,
) -> list[Spot]:
    """The spots of one key frame, given its prediction from the others; see `find_spots`."""
    rules = rules or SpotRules()
    index = result.index
    mask = keys[index]
    around = (
        max((other for other in keys if other < index), default=None),
        min((other for other in keys if other > index), default=None),
    )
    neighbours = [other for other in around if other is not None]
    is_end = len(neighbours) < 2
    colours: _Colours | None = None
    found: list[Spot] = []
    for label in (int(value) for value in np.unique(mask) if value != IGNORE):
        count, regions, stats, _ = cv2.connectedComponentsWithStats(
            (mask == label).astype(np.uint8), connectivity=4
        )
        for region in range(1, count):
            left, top, width, height, size = (int(value) for value in stats[region])
            if size < max(16, rules.smallest * mask.size):
                continue
            window = (slice(top, top + height), slice(left, left + width))
            inside = regions[window] == region
            # Mean probabilities, not votes: where the two sides disagree, neither has `share`.
            given = result.probabilities[:, window[0], window[1]][:, inside].mean(axis=1)
            other = int(given.argmax())
            if other == label or given[other] < (rules.end_share if is_end else rules.share):
                continue
            large = size >= (rules.end_large if is_end else rules.large) * mask.size
            if not large and result.confidence[window][inside].mean() < rules.confidence:
                continue
            colours = colours or _Colours(index, neighbours, keys, source, len(given))
            closer, alike = colours.compare(window, inside, other, label)
            if closer >= rules.closer and alike >= rules.alike:
                box = (left, top, left + width, top + height)
                found.append(Spot(index, box, label, other, size, float(given[other])))
    return found


class _Colours:
    """What colours the classes have about a place in the neighbouring key frames."""

    def __init__(
        self,
        index: int,
        neighbours: Sequence[int],
        keys: Mapping[int, NDArray[np.uint8]],
        source: FrameSource,
        count: int,
    ) -> None:
        self._count = count
        self._shape = (keys[index].shape[0], keys[index].shape[1])
        self._codes = _codes(read_frame(source, index, self._shape))
        self._others = [
            (keys[other], _codes(read_frame(source, other, self._shape))) for other in neighbours
        ]

    def compare(
        self, window: tuple[slice, slice], inside: NDArray[np.bool_], expected: int, labelled: int
    ) -> tuple[float, float]:
        """Tell how a region's colours fit two classes.

        Args:
            window: The region's rows and columns.
            inside: The region in there.
            expected: The class that it may be.
            labelled: The class that it is said to be.

        Returns:
            The share of its pixels whose colour is likelier of `expected` than of `labelled` (1
            where the latter is not seen nearby); and the overlap of its histogram with that of
            `expected`, 0 to 1.
        """
        place = self._grown(window)
        codes = self._codes[window][inside]
        known = {label: self._histogram(place, label) for label in (expected, labelled)}
        own = _smooth(np.bincount(codes, minlength=_BINS**3).astype(np.float64))
        one, other = known[expected], known[labelled]
        if one is None:
            return 0.0, 0.0
        alike = float(np.minimum(own / own.sum(), one).sum())
        if other is None:
            return 1.0, alike
        return float((_likely(one, codes) > _likely(other, codes)).mean()), alike

    def _grown(self, window: tuple[slice, slice]) -> tuple[slice, slice]:
        """Half as far again on each side, for what moves."""
        grown = []
        for side, size in zip(window, self._shape, strict=True):
            more = max(_AROUND, (side.stop - side.start) // 2)
            grown.append(slice(max(0, side.start - more), min(size, side.stop + more)))
        return grown[0], grown[1]

    def _histogram(self, place: tuple[slice, slice], label: int) -> NDArray[np.float64] | None:
        """The class's colours in a part of the neighbours, summing to 1; None where unknown."""
        total = np.zeros(_BINS**3)
        for mask, codes in self._others:
            total += np.bincount(codes[place][mask[place] == label], minlength=_BINS**3)
        return _smooth(total / total.sum()) if total.sum() >= _FEW else None


def _likely(histogram: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = histogram[codes] + _FLAT / _BINS**3
    return out


def _codes(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(H, W) int32: the bin of each pixel's colour."""
    bins = (lab(image) // (256 // _BINS)).astype(np.int32)
    out: NDArray[np.int32] = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    return out


def _smooth(histogram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread a histogram a little along each of its three axes."""
    cube = histogram.reshape(_BINS, _BINS, _BINS)
    for axis in range(3):
        padded = np.pad(cube, [(1, 1) if other == axis else (0, 0) for other in range(3)], "edge")
        parts = [np.take(padded, range(step, step + _BINS), axis) for step in range(3)]
        cube = sum((w * part for w, part in zip(_KERNEL, parts, strict=True)), np.zeros_like(cube))
    return cube.ravel()


def without_echoes(spots: Sequence[Spot], frames: Sequence[int]) -> list[Spot]:
    """Drop the spots that only mirror a wrong label of a neighbouring key frame.

    A wrong label of one key frame misleads the prediction of its neighbours too: there the right
    label contradicts it, with the two classes exchanged. Of two such spots the one is dropped of
    which less was given to the other class; an outermost key frame, which all depends on one
    neighbour, only wins against a neighbour that is itself in two minds.

    Args:
        spots: Of all key frames.
        frames: The key frames, in order.
    """
    if len(frames) < 3:
        return list(spots)
    ends = {frames[0], frames[-1]}
    place = {frame: number for number, frame in enumerate(frames)}

    def strength(spot: Spot) -> float:
        return min(spot.share, 0.65) if spot.frame in ends else spot.share

    def mirrors(spot: Spot, other: Spot) -> bool:
        return (
            abs(place[spot.frame] - place[other.frame]) == 1
            and (other.labelled, other.expected) == (spot.expected, spot.labelled)
            and _near(spot.box, other.box)
        )

    return [
        spot
        for spot in spots
        if not any(mirrors(spot, other) and strength(other) > strength(spot) for other in spots)
    ]


def _near(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    """Whether two boxes overlap once each is grown by its own size."""
    for low, high in ((0, 2), (1, 3)):
        reach = max(_AROUND, one[high] - one[low], other[high] - other[low])
        if one[low] - reach >= other[high] or other[low] - reach >= one[high]:
            return False
    return True
