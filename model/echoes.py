"""Spots that are pieces of one, and spots that only mirror another key frame's mistake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = ["Spot", "merged", "without_echoes"]

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
        odds: Log-odds that it is misnamed.
    """

    frame: int
    box: Box
    labelled: int
    expected: int
    pixels: int
    share: float = 1.0
    odds: float = 0.0


def merged(spots: Sequence[Spot]) -> list[Spot]:
    """Join a frame's spots of the same two classes that are pieces of one."""
    joined: list[Spot] = []
    for spot in spots:
        while True:
            piece = next((other for other in joined if _of_one(spot, other)), None)
            if piece is None:
                break
            joined.remove(piece)
            pixels = spot.pixels + piece.pixels
            spot = replace(
                spot,
                box=_hull(spot.box, piece.box),
                pixels=pixels,
                share=(spot.share * spot.pixels + piece.share * piece.pixels) / pixels,
                odds=max(spot.odds, piece.odds),
            )
        joined.append(spot)
    return joined


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
    that are alike in size, the one that is less likely.

    Args:
        spots: Of all key frames.
        frames: The key frames, in order.
    """
    if len(frames) < 3:
        return list(spots)
    place = {frame: number for number, frame in enumerate(frames)}

    def mirrors(spot: Spot, other: Spot) -> bool:
        return (
            abs(place[spot.frame] - place[other.frame]) == 1
            and (other.labelled, other.expected) == (spot.expected, spot.labelled)
            and _near(spot.box, other.box, 1.0)
        )

    def outweighs(other: Spot, spot: Spot) -> bool:
        if max(spot.pixels, other.pixels) > _LARGER * min(spot.pixels, other.pixels):
            return other.pixels > spot.pixels
        return other.odds > spot.odds

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
