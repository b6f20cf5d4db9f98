"""Carry masks from key frames to every frame of a clip, from both sides, by chained optical flow.

For each frame, each neighbouring key frame k is a *source*: its mask, looked up where the frame's
pixels came from, weighed pixel by pixel by

    exp(−|t − k| / τ) · (c + ε) · (exp(−D / 2σ²) + ε)

with c the product of the soft forward-backward checks along the chain, D the squared Lab
difference (½, 1, 1) between the frame and the warped key frame, averaged over 5 × 5 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.keyframes import IGNORE, KeyFrame, check_keys
from model.settings import PropagationSettings
from model.walk import Walk

__all__ = [
    "Evidence",
    "FrameResult",
    "Progress",
    "PropagationSettings",
    "held_out_evidence_weight",
    "mix",
    "nearest",
    "propagate",
]

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""

Evidence = Callable[[int, NDArray[np.uint8]], NDArray[np.float32]]
"""(frame index, (H, W, 3) image) → (K, H, W) float32 probabilities, from a network."""

EVIDENCE_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The weights that `held_out_evidence_weight` chooses from."""

_WORTH = 0.001
"""The gain in held-out mIoU below which a heavier weight is not taken."""


def propagate(
    source: FrameSource,
    keys: Mapping[int, NDArray[np.uint8]],
    num_classes: int,
    *,
    flow: FlowEstimator,
    settings: PropagationSettings | None = None,
    evidence: Evidence | None = None,
    evidence_weight: float = 0.0,
    progress: Progress | None = None,
) -> Iterator[FrameResult]:
    """Label every frame from the key frames before and after it.

    Results come one at a time and frames are read as they are needed, so memory is bounded by
    the frame size. Key frames come out as labelled; their ignored pixels are filled from the
    other key frames, or with the nearest label where there are none.

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        flow: The flow estimator.
        settings: How sources are weighed.
        evidence: A network's probabilities for a frame, mixed in where propagation is unsure.
        evidence_weight: 0 (the evidence is not even asked for) to 1.
        progress: Called after each frame.

    Yields:
        A result for each frame, from frame 0 to the last.

    Raises:
        ValueError: No usable key frame, masks that do not fit the classes or the clip, or
            evidence of another shape.
        ClipError: A frame cannot be read, or is not of the masks' size.
    """
    if not 0.0 <= evidence_weight <= 1.0:
        raise ValueError(f"evidence_weight must be 0 to 1, not {evidence_weight}")
    settings = settings or PropagationSettings()
    walk = Walk(source, keys, num_classes, flow, settings)

    def results() -> Iterator[FrameResult]:
        for result in walk.frames(range(walk.length)):
            if evidence is not None and evidence_weight > 0 and not result.is_key:
                image = walk.read(result.index) if result.image is None else result.image
                seen = evidence(result.index, image)
                result = mix(result, seen, evidence_weight, settings.evidence_range)
            yield result
            if progress is not None:
                progress(result.index + 1, walk.length)

    return results()


def mix(
    result: FrameResult,
    evidence: NDArray[np.float32],
    weight: float,
    share: tuple[float, float] = PropagationSettings.evidence_range,
) -> FrameResult:
    """Mix a network's probabilities into a frame's, most where propagation is least sure.

    Args:
        result: What propagation says.
        evidence: (K, H, W) float32, what the network says.
        weight: 0 to 1; multiplies the evidence's share of each pixel.
        share: Bounds of that share, which is 1 − confidence in between.

    Raises:
        ValueError: The evidence is of another shape.
    """
    if evidence.shape != result.probabilities.shape:
        raise ValueError(
            f"the evidence for frame {result.index} must be probabilities of shape"
            f" {result.probabilities.shape}; got {evidence.shape}"
        )
    part = np.clip(1.0 - result.confidence, *share) * np.float32(weight)
    probabilities = result.probabilities + part * (evidence - result.probabilities)
    return replace(result, probabilities=probabilities)


def held_out_evidence_weight(
    source: FrameSource,
    keys: Mapping[int, NDArray[np.uint8]],
    num_classes: int,
    evidence: Evidence,
    *,
    flow: FlowEstimator,
    settings: PropagationSettings | None = None,
    held_out: Sequence[int] | None = None,
) -> float:
    """Choose how much of a network's evidence to mix in, by predicting labelled frames.

    Key frames are held out one at a time, predicted from the others with each weight, and scored
    (mIoU over all of them) against their own labels.

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        evidence: A network's probabilities. It flatters itself on frames it was trained on.
        flow: The flow estimator.
        settings: How sources are weighed, and how many key frames to hold out.
        held_out: The key frames to hold out, ideally ones that the network has not seen; None
            takes up to `settings.held_out`, evenly spread.

    Returns:
        The lightest of `EVIDENCE_WEIGHTS` that is about as good as the best; 0.0 where evidence
        does not help, or where fewer than two frames are labelled.

    Raises:
        ValueError: As `propagate`; or `held_out` names a frame that is not labelled.
    """
    settings = settings or PropagationSettings()
    masks = check_keys(keys, num_classes, len(source))
    if held_out is None:
        held_out = _spread(list(masks), settings.held_out)
    unknown = sorted(set(held_out) - set(keys))
    if unknown:
        raise ValueError(f"frame {unknown[0]} is to be held out but is not labelled")
    if len(masks) < 2 or not held_out:
        return 0.0
    counts = np.zeros((len(EVIDENCE_WEIGHTS), num_classes, num_classes), np.int64)
    for index in (index for index in held_out if index in masks):
        rest = {other: mask for other, mask in masks.items() if other != index}
        walk = Walk(source, rest, num_classes, flow, settings)
        (result,) = walk.frames({index})
        seen = evidence(index, walk.read(index))
        for place, weight in enumerate(EVIDENCE_WEIGHTS):
            mixed = mix(result, seen, weight, settings.evidence_range)
            counts[place] += _confusion(masks[index], mixed.mask, num_classes)
    scores = [_mean_iou(count) for count in counts]
    if max(scores) < scores[0] + _WORTH:
        return 0.0
    return next(
        weight
        for weight, score in zip(EVIDENCE_WEIGHTS, scores, strict=True)
        if score >= max(scores) - _WORTH
    )


def _spread(indices: list[int], count: int) -> list[int]:
    places = np.linspace(0, len(indices) - 1, min(count, len(indices)) + 2)[1:-1]
    return [indices[place] for place in sorted({round(float(place)) for place in places})]


def _confusion(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], num_classes: int
) -> NDArray[np.int64]:
    valid = truth != IGNORE
    pairs = truth[valid].astype(np.int64) * num_classes + predicted[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _mean_iou(confusion: NDArray[np.int64]) -> float:
    hit = np.diagonal(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    return float((hit[union > 0] / union[union > 0]).mean())


def nearest(
    source: FrameSource,
    keys: Mapping[int, NDArray[np.uint8]],
    num_classes: int,
    *,
    progress: Progress | None = None,
) -> Iterator[FrameResult]:
    """Label every frame with a copy of the nearest key frame's mask (the earlier one on a tie).

    Args, results and errors are those of `propagate`. The confidence of a copied frame falls by
    half with each 10 frames of distance.
    """
    masks = check_keys(keys, num_classes, len(source))
    length = len(source)

    def results() -> Iterator[FrameResult]:
        key: KeyFrame | None = None
        for index in range(length):
            closest = min(masks, key=lambda other: abs(other - index))
            if key is None or key.index != closest:
                blank = np.zeros((*masks[closest].shape, 3), np.uint8)
                key = KeyFrame.prepare(closest, masks[closest], blank, num_classes)
            probabilities = np.moveaxis(key.onehot, 2, 0).astype(np.float32) / np.float32(255)
            confidence = key.labelled * np.float32(0.5 ** (abs(index - closest) / 10))
            yield FrameResult(index, probabilities, confidence, index in masks)
            if progress is not None:
                progress(index + 1, length)

    return results()
