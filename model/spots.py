"""Spots: regions that a key frame calls by another name than the key frames around it (VSPW, S4).

A region is a spot where the prediction from the other key frames gives most of it another class,
*and* it looks like that class: warping alone is wrong where things are fast, thin or newly seen,
but then the region's colours are not those of what is said to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.colours import Colours
from model.keyframes import IGNORE

__all__ = ["Spot", "SpotRules", "find_spots", "spots_of", "without_echoes"]

_SMALLEST = 16
"""Pixels below which a region is none."""

_THICK = np.ones((7, 7), np.uint8)
"""Where label and prediction differ by less than this, it is the outline that differs."""

_TWO_MINDS = 0.8
"""Share below which a key frame was predicted from two that disagree."""

_NEARLY_ALL = 0.9
"""Share below which a region may have become one with what is rightly called so."""

_LARGER = 2
"""A region this many times as large is no echo of the other."""

_SPARSE = 1.5
"""A box this many times as large as those in it is not of one thing."""

_AROUND = 24
"""Pixels around a region, at least, within which spots are of one place."""

Box = tuple[int, int, int, int]


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
    box: Box
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
        confidence: Mean confidence of the prediction from which colours are not looked at.
        large: Least size where they are.
        end_share: `share` for the two outermost key frames, predicted from one side only.
        end_large: `large` for those.
        clear_closer: `closer` from which, and
        clear_alike: `alike` from which these two are held to `share` and `large` as others are.
    """

    share: float = 0.55
    closer: float = 0.5
    alike: float = 0.45
    smallest: float = 0.001
    confidence: float = 0.25
    large: float = 0.003
    end_share: float = 0.7
    end_large: float = 0.01
    clear_closer: float = 0.9
    clear_alike: float = 0.7


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
    candidates = [
        candidate
        for region in _regions(mask, result.mask, rules)
        if (candidate := _Candidate.of(region, result)).share >= rules.share
        and candidate.other != candidate.label
    ]
    colours: Colours | None = None
    found: list[Spot] = []
    named = np.zeros(mask.shape, bool)
    # A region that is contradicted in part may be a wrong one that became one with a right one of
    # that class; so first come those of which it is clear, the wrong part by itself among them.
    for window, inside, label, whole, other, share in sorted(
        candidates, key=lambda candidate: candidate.share < _NEARLY_ALL
    ):
        if (named[window] & inside).sum() > inside.sum() / 2:
            continue
        size = int(inside.sum())
        # A confident prediction matched the colours of every pixel; any other has to be checked.
        sure = bool(result.confidence[window][inside].mean() >= rules.confidence)
        if not sure and not (whole and size >= rules.large * mask.size):
            continue
        if is_end or not sure:
            colours = colours or Colours(index, neighbours, keys, source)
            closer, alike = colours.compare(window, inside, other, label)
            if not sure and (closer < rules.closer or alike < rules.alike):
                continue
            clear = closer >= rules.clear_closer and alike >= rules.clear_alike
            large = sure or size >= rules.end_large * mask.size
            if is_end and not clear and not (large and share >= rules.end_share):
                continue
        named[window] |= inside
        box = (window[1].start, window[0].start, window[1].stop, window[0].stop)
        found.append(Spot(index, box, label, other, size, share))
    return _merged(found)


class _Candidate(NamedTuple):
    """A region that may be a spot: its pixels, its label, and what the others say of it."""

    window: tuple[slice, slice]
    inside: NDArray[np.bool_]
    label: int
    whole: bool
    other: int
    share: float

    @classmethod
    def of(
        cls, region: tuple[tuple[slice, slice], NDArray[np.bool_], int, bool], result: FrameResult
    ) -> _Candidate:
        """Look at what a region from `_regions` was predicted to be.

        Mean probabilities, not votes: where the two sides disagree, neither has the share.
        """
        (rows, columns), inside, _, _ = region
        given = result.probabilities[:, rows, columns][:, inside].mean(axis=1)
        other = int(given.argmax())
        return cls(*region, other, float(given[other]))


def _regions(
    mask: NDArray[np.uint8], predicted: NDArray[np.uint8], rules: SpotRules
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_], int, bool]]:
    """Regions that may be spots: rows and columns, (h, w) bool the pixels in there, class, whole.

    First the connected regions of one class. A wrong region may have become one with its
    surroundings: so then those that are predicted as one class, as far as they have one other
    label; whole where that is most of them. Of the others the slivers along outlines, which are no
    mistakes of naming, are left out.
    """
    least = max(_SMALLEST, rules.smallest * mask.size)
    labels = [int(value) for value in np.unique(mask) if value != IGNORE]
    for label in labels:
        for window, inside in _connected(mask == label, least):
            yield window, inside, label, True
    for other in (int(value) for value in np.unique(predicted)):
        for window, inside in _connected(predicted == other, least):
            sizes = np.bincount(mask[window][inside], minlength=IGNORE + 1)[:IGNORE]
            for label in (int(value) for value in np.flatnonzero(sizes >= least) if value != other):
                part = (inside & (mask[window] == label)).astype(np.uint8)
                whole = bool(sizes[label] >= inside.sum() / 2)
                if not whole:
                    part = cv2.dilate(cv2.erode(part, _THICK), _THICK)
                for place, found in _connected(
                    part > 0, least if whole else rules.large * mask.size
                ):
                    yield _within(window, place), found, label, whole


def _within(window: tuple[slice, slice], place: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = (
        slice(outer.start + inner.start, outer.start + inner.stop)
        for outer, inner in zip(window, place, strict=True)
    )
    return rows, columns


def _connected(
    where: NDArray[np.bool_], least: float
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """The connected regions of at least so many pixels."""
    count, regions, stats, _ = cv2.connectedComponentsWithStats(
        where.astype(np.uint8), connectivity=4
    )
    for region in range(1, count):
        left, top, width, height, size = (int(value) for value in stats[region])
        if size >= least:
            window = (slice(top, top + height), slice(left, left + width))
            yield window, regions[window] == region


def _merged(spots: Sequence[Spot]) -> list[Spot]:
    """Join a frame's spots of the same two classes that are pieces of one."""
    merged: list[Spot] = []
    for spot in spots:
        while True:
            piece = next((other for other in merged if _of_one(spot, other)), None)
            if piece is None:
                break
            merged.remove(piece)
            pixels = spot.pixels + piece.pixels
            spot = replace(
                spot,
                box=_hull(spot.box, piece.box),
                pixels=pixels,
                share=(spot.share * spot.pixels + piece.share * piece.pixels) / pixels,
            )
        merged.append(spot)
    return merged


def _of_one(one: Spot, other: Spot) -> bool:
    """Whether they lie close together, and fill the box that is around both."""
    same = (one.labelled, one.expected) == (other.labelled, other.expected)
    both = _area(_hull(one.box, other.box))
    filled = both <= _SPARSE * (_area(one.box) + _area(other.box))
    return same and filled and _near(one.box, other.box, 0.25)


def _hull(one: Box, other: Box) -> Box:
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def without_echoes(spots: Sequence[Spot], frames: Sequence[int]) -> list[Spot]:
    """Drop the spots that only mirror a wrong label of a neighbouring key frame.

    A wrong label of one key frame misleads the prediction of its neighbours too: there the right
    label contradicts it, with the two classes exchanged. As what is carried from a wrong region is
    no larger than it, of two such spots the one is dropped that is less than half as large; of two
    that are alike in size, the one of which less was given to the other class. There an outermost
    key frame, which all depends on one neighbour, only wins against a neighbour that is itself in
    two minds.

    Args:
        spots: Of all key frames.
        frames: The key frames, in order.
    """
    if len(frames) < 3:
        return list(spots)
    ends = {frames[0], frames[-1]}
    place = {frame: number for number, frame in enumerate(frames)}

    def strength(spot: Spot) -> float:
        return min(spot.share, _TWO_MINDS) if spot.frame in ends else spot.share

    def mirrors(spot: Spot, other: Spot) -> bool:
        return (
            abs(place[spot.frame] - place[other.frame]) == 1
            and (other.labelled, other.expected) == (spot.expected, spot.labelled)
            and _near(spot.box, other.box, 1.0)
        )

    def outweighs(other: Spot, spot: Spot) -> bool:
        if max(spot.pixels, other.pixels) > _LARGER * min(spot.pixels, other.pixels):
            return other.pixels > spot.pixels
        return strength(other) > strength(spot)

    return [
        spot
        for spot in spots
        if not any(mirrors(spot, other) and outweighs(other, spot) for other in spots)
    ]


def _near(one: Box, other: Box, grown: float) -> bool:
    """Whether two boxes overlap once they are apart by `grown` times their size less."""
    for low, high in ((0, 2), (1, 3)):
        reach = max(_AROUND, grown * max(one[high] - one[low], other[high] - other[low]))
        if one[low] - reach >= other[high] or other[low] - reach >= one[high]:
            return False
    return True
