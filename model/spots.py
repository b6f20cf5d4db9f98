"""Spots: regions that a key frame calls by another name than the key frames around it (VSPW, S4).

Each key frame is predicted from the others, and each region that is not confirmed is weighed: by
how much of it is given another class and how sure that is, by its colours, and by its size. Warping
alone is wrong where things are fast, thin or newly seen, but then the region's colours are not
those of what is said to be there; and where flow has lost a thing, its colours still tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.colours import Colours, Fit
from model.echoes import Spot, merged, without_echoes
from model.regions import Region, regions_of

__all__ = ["Spot", "SpotFinder", "SpotLaw", "find_spots"]

_NEVER = 0.02
"""Shares are kept this far from 0 and 1, so that their odds are finite."""

_DOUBT = 0.03
"""Confidence at which a prediction counts half, and ignorance the other half."""

_LARGE = 0.005
"""Share of the frame from which size says nothing."""

_NEARLY_ALL = 0.9
"""Share below which a region may have become one with what is rightly called so."""


class _Weighed(NamedTuple):
    """What a region may be, and the log-odds that it is."""

    odds: float
    other: int
    share: float
    region: Region


@dataclass(frozen=True)
class SpotLaw:
    """Log-odds that a region is misnamed, as a sum of what speaks for it and against it.

    The weights were fitted by logistic regression (`docs/propagation.md`).

    Attributes:
        level: Where everything else is 0.
        share: Times the log-odds of the other class, by the prediction: its mean probability p
            (not its share of votes: where two sides disagree, neither has the region), which fades
            with the confidence c as (c p + 0.03 / 2) / (c + 0.03).
        colours: Times the mean log-odds of its pixels' colours, -3 to 3.
        alike: Times twice the overlap of histograms less 1, -1 to 1.
        size: Times ln(size / 0.5 % of the frame) of what is smaller than that.
        part: Added where the region had to be cut out of a larger one.
    """

    level: float = -3.0
    share: float = 2.3
    colours: float = 1.1
    alike: float = 2.9
    size: float = 4.0
    part: float = -1.2

    def odds(
        self, probability: float, confidence: float, fit: Fit, size: float, cut: bool
    ) -> float:
        """Weigh what is known of a region.

        Args:
            probability: Mean probability of the other class in it, 0 to 1.
            confidence: Mean confidence of the prediction, 0 to 1.
            fit: How its colours fit.
            size: Share of the frame that it has.
            cut: Whether it had to be cut out of a larger one.
        """
        known = (confidence * probability + _DOUBT / 2) / (confidence + _DOUBT)
        known = min(max(known, _NEVER), 1 - _NEVER)
        return (
            self.level
            + self.share * math.log(known / (1 - known))
            + self.colours * fit.odds
            + self.alike * (2 * fit.alike - 1)
            + self.size * min(0.0, math.log(size / _LARGE))
            + self.part * cut
        )


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
        self._keys = keys
        self._colours = Colours(keys, source)
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
            if (best := self._weigh(region, result)) is not None and best.odds > 0
        ]
        spots: list[Spot] = []
        named = np.zeros(mask.shape, bool)
        # Others that are mostly in there are the same mistake.
        for odds, other, share, region in sorted(weighed, key=_rank):
            size = int(region.inside.sum())
            if (named[region.window] & region.inside).sum() <= size / 2:
                named[region.window] |= region.inside
                spots.append(Spot(result.index, region.box, region.label, other, size, share, odds))
        self._found += merged(spots)

    def _weigh(self, region: Region, result: FrameResult) -> _Weighed | None:
        """The likeliest of the other classes; None where there is none."""
        rows, columns = region.window
        probabilities = result.probabilities[:, rows, columns][:, region.inside].mean(axis=1)
        confidence = float(result.confidence[rows, columns][region.inside].mean())
        size = int(region.inside.sum()) / result.confidence.size
        fits = self._colours.fits(result.index, region.window, region.inside, region.label)
        return max(
            (
                _Weighed(
                    self._law.odds(
                        float(probabilities[other]), confidence, fit, size, not region.whole
                    ),
                    other,
                    float(probabilities[other]),
                    region,
                )
                for other, fit in fits.items()
            ),
            key=lambda weighed: weighed.odds,
            default=None,
        )

    def spots(self) -> list[Spot]:
        """The spots of the key frames added so far, without what only mirrors another's."""
        return without_echoes(self._found, sorted(self._keys))


def _rank(weighed: _Weighed) -> tuple[bool, float]:
    """Which of a frame's regions is told first: the lowest, and of equal ones the first.

    The labels' own outlines are the best, and come first; but for a region that became one with a
    right one, which is predicted as two classes.
    """
    of_one_class = weighed.share >= _NEARLY_ALL
    return not of_one_class, 0.0 if of_one_class else -weighed.odds


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
