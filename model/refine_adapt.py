"""Refinement adapted to the clip at hand, by key frames that are predicted from the others.

This is the cycle of Warp-Refine: what is carried away from the labelled frames and arrives at a
labelled frame must be its label. Half of the frames held out teach a copy of the network and the
other half judges it, and if it is better there, the other way round; only what is better on frames
that did not teach it is used, and only as much of it as is best there.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.heldout import WORTH, HeldOut
from model.metrics.regions import confusion, mean_iou
from model.ranking import most_probable
from model.refine import Refinement, RefineNet
from model.refine_teaching import Lesson, lessons, teach
from model.settings import PropagationSettings

__all__ = ["adapt"]

SHARES = (0.0, 0.5, 1.0)
"""The shares of the correction that are chosen from."""

_RATE = 3e-4
_STEPS = 100
_LEAST = 2
"""Frames held out that it takes to teach and judge apart."""


def adapt(
    start: Refinement,
    records: Sequence[HeldOut],
    num_classes: int,
    *,
    weight: float,
    settings: PropagationSettings,
    seconds: float,
    seed: int = 0,
) -> Refinement:
    """Adapt refinement to a clip.

    Args:
        start: What there is without adaptation.
        records: Key frames held out.
        num_classes: K.
        weight: How much of the network's evidence is mixed in before refinement.
        settings: How evidence is mixed in.
        seconds: The most time for teaching; 0 only chooses the share.
        seed: Of the order of the lessons.

    Returns:
        What is best on the frames held out; `start` where there are none, or where nothing else
        is clearly better and none of it would not be better either. Nothing is taught where what
        there is does harm: that was never made good in the time there is.
    """
    cases = [_Case(record, weight, settings) for record in records if record.result.clues]
    if not cases:
        return start
    before = _counts(cases, start.network, num_classes, {*SHARES, start.share})
    scores = {share: _mean_iou(counts) for share, counts in before.items()}
    most = max(scores.values())
    best = min(share for share, score in scores.items() if score > most - WORTH)
    keep = scores[start.share] > most - WORTH and scores[0.0] <= scores[start.share]
    chosen = start if keep else Refinement(start.network, best)
    if seconds <= 0 or len(cases) < _LEAST or chosen.share == 0:
        return chosen
    halves = (cases[::2], cases[1::2])
    adapted: dict[float, list[NDArray[np.int64]]] = {share: [] for share in SHARES[1:]}
    for number, half in enumerate(halves):
        others = halves[1 - number]
        pupil = _taught(start.network, half, seconds * 0.3, seed)
        judged = _counts(others, pupil, num_classes, {*adapted})
        for share, counts in judged.items():
            adapted[share] += counts
        # In halves, so that what does not help, as mostly, is found out in half of the time.
        known = before[chosen.share][1::2] if number == 0 else before[chosen.share]
        share = max(adapted, key=lambda share: _mean_iou(adapted[share]))
        if _mean_iou(adapted[share]) < _mean_iou(known) + WORTH:
            return chosen
    return Refinement(_taught(start.network, cases, seconds * 0.4, seed), share)


class _Case:
    """A frame held out, as refinement gets to see it."""

    def __init__(self, record: HeldOut, weight: float, settings: PropagationSettings) -> None:
        self.result = record.mixed(weight, settings)
        self.evidence = record.evidence if weight > 0 else None
        self.truth = record.truth
        self.weight = weight

    def lessons(self) -> list[Lesson]:
        if self.result.clues is None:
            return []
        clues, probabilities = self.result.clues, self.result.probabilities
        return list(lessons(clues, probabilities, self.evidence, self.truth, self.weight))


def _taught(network: RefineNet, cases: Sequence[_Case], seconds: float, seed: int) -> RefineNet:
    """A copy that has learnt these frames."""
    pupil = copy.deepcopy(network)
    found = [lesson for case in cases for lesson in case.lessons()]
    if found:
        limit = seconds if math.isfinite(seconds) else math.inf
        teach(pupil, found, steps=_STEPS, rate=_RATE, seed=seed, seconds=limit)
    return pupil


def _counts(
    cases: Sequence[_Case], network: RefineNet, num_classes: int, shares: set[float]
) -> dict[float, list[NDArray[np.int64]]]:
    """How the cases fare, refined by the network: by share, each one's confusion."""
    found: dict[float, list[NDArray[np.int64]]] = {share: [] for share in sorted(shares)}
    for case in cases:
        before = case.result.probabilities
        change = Refinement(network, 1.0, case.weight)(case.result, case.evidence).probabilities
        change = change - before
        for share, counts in found.items():
            mask = most_probable(before + np.float32(share) * change)
            counts.append(confusion(case.truth, mask, num_classes))
    return found


def _mean_iou(counts: Sequence[NDArray[np.int64]]) -> float:
    return mean_iou(np.sum(counts, axis=0)) or 0.0
