"""What speaks for and against a region's being misnamed, and the law that weighs it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple

from model.blend import FrameResult
from model.colours import Colours, Fit
from model.regions import Region

__all__ = ["Evidence", "SpotLaw", "evidence_of", "terms"]

_NEVER = 0.02
"""Shares are kept this far from 0 and 1, so that their odds are finite."""

_DOUBT = 0.03
"""Confidence at which a prediction counts half, and ignorance the other half."""

_LARGE = 0.005
"""Share of the frame from which size says nothing."""


@dataclass(frozen=True)
class SpotLaw:
    """Log-odds that a region is misnamed, as a sum of what speaks for it and against it.

    The weights were fitted by logistic regression on rendered clips (`python -m
    benchmarks.spot_law`).

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

    level: float = -2.2
    share: float = 2.7
    colours: float = 0.7
    alike: float = 3.5
    size: float = 4.0
    part: float = -1.1

    def odds(self, found: Sequence[float]) -> float:
        """Weigh what `terms` gives."""
        return math.fsum(weight * value for weight, value in zip(astuple(self), found, strict=True))


def terms(
    probability: float, confidence: float, fit: Fit, size: float, cut: bool
) -> tuple[float, ...]:
    """What `SpotLaw` weighs, in the order of its weights.

    Args:
        probability: Mean probability of the other class in the region, 0 to 1.
        confidence: Mean confidence of the prediction there, 0 to 1.
        fit: How its colours fit.
        size: Share of the frame that it has, above 0.
        cut: Whether it had to be cut out of a larger one.
    """
    known = (confidence * probability + _DOUBT / 2) / (confidence + _DOUBT)
    known = min(max(known, _NEVER), 1 - _NEVER)
    return (
        1.0,
        math.log(known / (1 - known)),
        fit.odds,
        2 * fit.alike - 1,
        min(0.0, math.log(size / _LARGE)),
        float(cut),
    )


class Evidence(NamedTuple):
    """What is known of a region's being of another class.

    Attributes:
        region: The region.
        other: The class that it may be.
        share: Mean probability of that class in it.
        terms: As `terms` gives them.
    """

    region: Region
    other: int
    share: float
    terms: tuple[float, ...]


def evidence_of(region: Region, result: FrameResult, colours: Colours) -> Iterator[Evidence]:
    """Look at a region for each other class that is seen nearby.

    Args:
        region: Of a key frame.
        result: The key frame's prediction from the others.
        colours: Of the clip's key frames.

    Raises:
        ClipError: A frame cannot be read.
    """
    rows, columns = region.window
    probabilities = result.probabilities[:, rows, columns][:, region.inside].mean(axis=1)
    confidence = float(result.confidence[rows, columns][region.inside].mean())
    size = int(region.inside.sum()) / result.confidence.size
    fits = colours.fits(result.index, region.window, region.inside, region.label)
    for other, fit in fits.items():
        share = float(probabilities[other])
        found = terms(share, confidence, fit, size, cut=not region.whole)
        yield Evidence(region, other, share, found)
