"""Carry masks from key frames to every frame of a clip, from both sides, by chained optical flow.

For each frame, each neighbouring key frame k is a *source*: its mask, looked up where the frame's
pixels came from, weighed pixel by pixel by

    exp(−|t − k| / τ) · (c + ε) · (exp(−D / 2σ²) + ε)

with c the product of the soft forward-backward checks along the chain, D the squared Lab
difference (½, 1, 1) between the frame and the warped key frame, averaged over 5 × 5 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.keyframes import IGNORE, KeyFrame, check_keys
from model.ranking import most_probable
from model.settings import PropagationSettings
from model.walk import Walk

if TYPE_CHECKING:  # It would load torch.
    from model.refine import Refinement

__all__ = [
    "Evidence",
    "FrameResult",
    "Progress",
    "PropagationSettings",
    "mix",
    "nearest",
    "propagate",
]

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""

Evidence = Callable[[int, NDArray[np.uint8]], NDArray[np.float32]]
"""(frame index, (H, W, 3) image) → (K, H, W) float32 probabilities, from a network."""


def propagate(
    source: FrameSource,
    keys: Mapping[int, NDArray[np.uint8]],
    num_classes: int,
    *,
    flow: FlowEstimator,
    settings: PropagationSettings | None = None,
    evidence: Evidence | None = None,
    evidence_weight: float = 0.0,
    refinement: Refinement | None = None,
    wanted: Container[int] | None = None,
    progress: Progress | None = None,
) -> Generator[FrameResult, None, None]:
    """Label every frame from the key frames before and after it.

    Results come one at a time and frames are read as they are needed, so memory is bounded by
    the frame size. A thread works ahead of them, until the last one or until the generator is
    closed. Key frames come out as labelled; their ignored pixels are filled from the
    other key frames, or with the nearest label where there are none.

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        flow: The flow estimator.
        settings: How sources are weighed.
        evidence: A network's probabilities for a frame, mixed in where propagation is unsure.
        evidence_weight: 0 (the evidence is not even asked for) to 1.
        refinement: Puts right what comes of all that, where `settings.refine` is given.
        wanted: The frames to label; all where it is None.
        progress: Called after each frame.

    Yields:
        A result for each frame that is wanted, in the order of the clip.

    Raises:
        ValueError: No usable key frame, masks that do not fit the classes or the clip, or
            evidence of another shape.
        ClipError: A frame cannot be read, or is not of the masks' size.
    """
    if not 0.0 <= evidence_weight <= 1.0:
        raise ValueError(f"evidence_weight must be 0 to 1, not {evidence_weight}")
    settings = settings or PropagationSettings()
    if refinement is None or refinement.share == 0:
        refinement, settings = None, replace(settings, refine=None)
    else:
        refinement = replace(refinement, weight=evidence_weight if evidence is not None else 0.0)
    asks = evidence is not None and evidence_weight > 0

    def improved(result: FrameResult) -> FrameResult:
        mixed, seen, word = result, None, None
        if evidence is not None and asks and not result.is_key:
            image = walk.read(result.index) if result.image is None else result.image
            seen = evidence(result.index, image)
            mixed = mix(result, seen, evidence_weight, settings.evidence_range)
            word = most_probable(seen)
        if refinement is not None:
            mixed = refinement(mixed, seen)
        if mixed is result:
            return result
        return replace(mixed, clues=None, propagated=result.probabilities, word=word)

    def kept(label: NDArray[np.uint8], result: FrameResult) -> FrameResult:
        """The key frame improved, with what a person labelled of it as it is."""
        mixed = improved(result)
        both = (result.probabilities, mixed.probabilities)
        return replace(mixed, probabilities=np.where(label != IGNORE, *both))

    improves = asks or refinement is not None
    walk = Walk(source, keys, num_classes, flow, settings, improved if improves else None)

    def results() -> Generator[FrameResult, None, None]:
        with closing(walk.frames(range(walk.length) if wanted is None else wanted)) as frames:
            for result in frames:
                label = walk.masks.get(result.index)
                yield kept(label, result) if improves and label is not None else result
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
    probabilities = evidence - result.probabilities
    probabilities *= part
    probabilities += result.probabilities
    return replace(result, probabilities=probabilities)


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
            whole = index in masks and key.trust is None
            yield FrameResult(index, probabilities, confidence, whole)
            if progress is not None:
                progress(index + 1, length)

    return results()
