"""Key frames predicted from the others: what can be learnt from them about a clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.keyframes import check_keys
from model.metrics.regions import confusion, mean_iou
from model.propagate import Evidence, mix
from model.settings import PropagationSettings
from model.walk import Walk, others_about

__all__ = [
    "EVIDENCE_WEIGHTS",
    "WORTH",
    "HeldOut",
    "evidence_weight",
    "hold_out",
]

EVIDENCE_WEIGHTS = (0.0, 0.25, 0.5, 0.75)
"""The weights that `evidence_weight` chooses from. Not the full one: a key frame is held out twice
as far from the next label as other frames are, and so speaks for the network more than they do."""

WORTH = 0.001
"""The gain in held-out mIoU below which nothing more is taken."""

_USUAL = EVIDENCE_WEIGHTS[-1]
"""The weight that did best on most clips, and counts as if one more frame had chosen it: between
weights that differ little, one frame's choice is nearly chance, none at all included."""

_BEARABLE = 0.05
"""The share of the error that the usual weight may add on held-out frames before they speak
against evidence in any weight: they lie twice as far from labels as other frames."""


@dataclass(frozen=True)
class HeldOut:
    """A key frame as the other key frames have it.

    Attributes:
        result: The prediction.
        evidence: (K, H, W) float32, what a network says of it; None where none was asked.
        truth: (H, W) uint8, its own label, 255 = ignore.
    """

    result: FrameResult
    evidence: NDArray[np.float32] | None
    truth: NDArray[np.uint8]

    def mixed(self, weight: float, settings: PropagationSettings) -> FrameResult:
        """The prediction with so much of the evidence in it."""
        if self.evidence is None or weight == 0:
            return self.result
        return mix(self.result, self.evidence, weight, settings.evidence_range)


def hold_out(
    source: FrameSource,
    keys: Mapping[int, NDArray[np.uint8]],
    num_classes: int,
    indices: Sequence[int],
    *,
    flow: FlowEstimator,
    settings: PropagationSettings | None = None,
    evidence: Evidence | None = None,
) -> Iterator[HeldOut]:
    """Predict key frames one at a time from the others.

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        indices: The key frames to hold out, ideally ones that the network has not seen: it
            flatters itself on frames it was trained on.
        flow: The flow estimator.
        settings: How sources are weighed.
        evidence: A network's probabilities.

    Yields:
        Each frame held out; nothing where fewer than two frames are labelled.

    Raises:
        ValueError: As `model.propagate.propagate`; or an index is not labelled.
    """
    masks = check_keys(keys, num_classes, len(source))
    unknown = sorted(set(indices) - set(keys))
    if unknown:
        raise ValueError(f"frame {unknown[0]} is to be held out but is not labelled")
    if len(masks) < 2:
        return
    for index in (index for index in indices if index in masks):
        rest = others_about(masks, index)
        walk = Walk(source, rest, num_classes, flow, settings or PropagationSettings())
        (result,) = walk.frames({index})
        seen = None if evidence is None else evidence(index, walk.read(index))
        yield HeldOut(result, seen, masks[index])


def evidence_weight(
    records: Sequence[HeldOut], num_classes: int, settings: PropagationSettings
) -> float:
    """Choose how much of a network's evidence to mix in.

    Args:
        records: Key frames held out, with evidence.
        num_classes: K.
        settings: How evidence is mixed in.

    Returns:
        The lightest of `EVIDENCE_WEIGHTS` that is about as good as the best, by mIoU over all
        records, drawn to the usual weight the more the fewer records there are. Where none is as
        good, that is so only as long as the records do not speak against it: else 0.0, as where
        nothing was held out.
    """
    if not records:
        return 0.0
    scores = []
    for weight in EVIDENCE_WEIGHTS:
        counts = [
            confusion(record.truth, record.mixed(weight, settings).mask, num_classes)
            for record in records
        ]
        scores.append(mean_iou(np.sum(counts, axis=0)) or 0.0)
    chosen = next(
        weight
        for weight, reached in zip(EVIDENCE_WEIGHTS, scores, strict=True)
        if reached >= max(scores) - WORTH
    )
    drawn = (len(records) * chosen + _USUAL) / (len(records) + 1)
    bearable = scores[-1] > scores[0] - _BEARABLE * (1 - scores[0])
    return drawn if chosen or bearable else 0.0
