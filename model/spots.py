"""Spots: regions that a key frame calls by another name than the key frames around it (VSPW, S4).

Each key frame is predicted from the others, and each region that is not confirmed is weighed: by
how much of it is given another class and how sure that is, by its colours, and by its size. Warping
alone is wrong where things are fast, thin or newly seen, but then the region's colours are not
those of what is said to be there; and where flow has lost a thing, its colours still tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.colours import Colours
from model.echoes import Spot, merged, without_echoes
from model.keyframes import IGNORE
from model.regions import Region, regions_of
from model.spotlaw import Evidence, SpotLaw, evidence_of

__all__ = ["Spot", "SpotFinder", "SpotLaw", "find_spots"]

_NEARLY_ALL = 0.9
"""Share below which a region may have become one with what is rightly called so."""


class SpotFinder:
    """Finds the spots of a clip's key frames, one after the other.

    Args:
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        source: The clip.
        law: How a region is weighed.
    """

    def __init__(
        self,
        keys: Mapping[int, NDArray[np.uint8]],
        source: FrameSource,
        law: SpotLaw | None = None,
    ) -> None:
        self._keys = {index: mask for index, mask in keys.items() if (mask != IGNORE).any()}
        self._colours = Colours(self._keys, source)
        self._law = law or SpotLaw()
        self._found: list[Spot] = []

    def add(self, result: FrameResult) -> None:
        """Look for spots in a key frame, given its prediction from the others.

        Raises:
            ClipError: A frame cannot be read.
        """
        mask = self._keys[result.index]
        weighed = [
            best
            for region in regions_of(mask, result, self._colours)
            if (best := self._likeliest(region, result)) is not None and best[0] > 0
        ]
        spots: list[Spot] = []
        named = np.zeros(mask.shape, bool)
        # Others that are mostly in there are the same mistake.
        for odds, (region, other, share, _) in sorted(weighed, key=_rank):
            size = int(region.inside.sum())
            if (named[region.window] & region.inside).sum() <= size / 2:
                named[region.window] |= region.inside
                spots.append(Spot(result.index, region.box, region.label, other, size, share, odds))
        self._found += merged(spots)

    def _likeliest(self, region: Region, result: FrameResult) -> tuple[float, Evidence] | None:
        """Log-odds and evidence of the likeliest other class; None where there is none."""
        found = evidence_of(region, result, self._colours)
        weighed = ((self._law.odds(evidence.terms), evidence) for evidence in found)
        return max(weighed, key=lambda pair: pair[0], default=None)

    def spots(self) -> list[Spot]:
        """The spots of the key frames added so far, without what only mirrors another's."""
        return without_echoes(self._found, sorted(self._keys))


def _rank(weighed: tuple[float, Evidence]) -> tuple[bool, float]:
    """Which of a frame's regions is told first: the lowest, and of equal ones the first.

    The labels' own outlines are the best, and come first; but for a region that became one with a
    right one, which is predicted as two classes.
    """
    odds, evidence = weighed
    of_one_class = evidence.share >= _NEARLY_ALL
    return not of_one_class, 0.0 if of_one_class else -odds


def find_spots(
    predictions: Iterable[FrameResult],
    keys: Mapping[int, NDArray[np.uint8]],
    source: FrameSource,
    law: SpotLaw | None = None,
) -> list[Spot]:
    """Find key frames whose labels contradict those of the other key frames.

    Args:
        predictions: From `model.quality.reverse_test`, of all key frames.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        source: The clip.
        law: How a region is weighed.

    Raises:
        ClipError: A frame cannot be read.
    """
    finder = SpotFinder(keys, source, law)
    for result in predictions:
        finder.add(result)
    return finder.spots()
