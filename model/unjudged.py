"""How far a network's word is taken where no labelled frame can judge it.

So it is with one or two key frames. Beyond them flow alone drifts, and never finds again what it
lost; a network that has seen the clip holds it in place. A weight is therefore taken without proof,
and given up where the network does not even know what propagation is sure of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.clip import FrameSource
from model.flow import FlowEstimator
from model.metrics.regions import VOID, confusion, ious
from model.presets import FinetuneSettings
from model.propagate import Evidence
from model.selftraining import carry_labels
from model.smaller import smaller

__all__ = ["FEW", "agreement", "planned_for_few", "unjudged_weight"]

FEW = 2
"""So many key frames at most are too few to judge a network by."""

_CHECKING = 0.08
"""Share of the time for fine-tuning that is left for weighing the network."""

_WEIGHT = 0.75
"""What a network gets that agrees with propagation."""

_AGREEING = (0.5, 0.8)
"""Agreement up to which a network gets nothing, and from which it gets all of that."""

_FRAMES = 24
"""Frames about the key frames that the two are compared on."""

_SURE = 128
"""Least trust, of 255, in a carried label that a network is held to."""


def planned_for_few(settings: FinetuneSettings) -> FinetuneSettings:
    """Return how a network is fine-tuned on so few key frames.

    Time is left for weighing it. And no class balance is taken back, as that goes by how rare a
    class is: one frame doesn't tell, for what moves comes nearer or goes.
    """
    seconds = settings.seconds * (1 - _CHECKING)
    return replace(settings, seconds=seconds, balance_taken_back=0.0)


def agreement(
    source: FrameSource,
    keys: Mapping[int, NDArray[np.uint8]],
    num_classes: int,
    evidence: Evidence,
    *,
    flow: FlowEstimator,
    max_pixels: int,
    enough: Callable[[], bool] = lambda: False,
    ahead: bool = True,
) -> float | None:
    """Compare a network with propagation, where that is sure, on frames about the key frames.

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        evidence: The network's probabilities.
        flow: The flow estimator.
        max_pixels: Frames are reduced to this size.
        enough: Asked after each frame; once it says so, the rest is left.
        ahead: Whether a thread works ahead, as in `PropagationSettings`.

    Returns:
        Mean IoU, 0 to 1, over the classes of the key frames and all the frames; None where
        propagation is sure of nothing beyond the key frames.

    Raises:
        ClipError: A frame cannot be read.
    """
    small, masks = smaller(source, keys, max_pixels)
    carried = carry_labels(
        small.read,
        len(source),
        masks,
        num_classes,
        flow=flow,
        most=_FRAMES,
        enough=enough,
        ahead=ahead,
    )
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    for index, labels in carried.items():
        sure = labels.weight >= _SURE
        if index in keys or not sure.any():
            continue
        seen = evidence(index, small.read(index)).argmax(axis=0).astype(np.uint8)
        counts += confusion(np.where(sure, labels.mask, np.uint8(VOID)), seen, num_classes)
    there = counts.sum(axis=1) > 0
    return float(ious(counts)[there].mean()) if there.any() else None


def unjudged_weight(agreed: float | None) -> float:
    """The weight of a network's evidence by its `agreement` with propagation; 0 for None."""
    if agreed is None:
        return 0.0
    low, high = _AGREEING
    return _WEIGHT * float(np.clip((agreed - low) / (high - low), 0.0, 1.0))
