"""Key frames of which a person labelled a part: rectangles, super-pixels.

A frame is labelled from the key frame before it and the one after it. Where these are labelled in
part, what the key frames behind them say must pass through them: a key frame is *completed* with
what its neighbours say where it says nothing itself, these having been completed before. And where
no label reaches at all, every class is as probable as every other, so that a network's evidence
decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.blend import Blender, FrameResult
from model.chain import Chain
from model.keyframes import KeyFrame
from model.warp import sample

__all__ = ["complete", "fade", "faded", "merge"]

_LEFT = np.float32(0.02)
"""What stays of the nearest label's word where no label reaches: it decides among equals."""

_NEAR = np.float32(0.5)
"""Trust up to which the nearest label of the frame itself gives way to another frame's: it is that
of 5 pixels' distance."""

_REACHED = np.float32(0.1)
"""Trust from which a pixel counts as reached by a label."""


def complete(key: KeyFrame, other: KeyFrame, chain: Chain, blender: Blender) -> KeyFrame:
    """Fill a key frame from another one, where its own labels are not near and that one's reach.

    Args:
        key: A key frame labelled in part; one that is labelled in full comes back as it is.
        other: Another key frame, itself completed where it can be.
        chain: From `key` to `other`.
        blender: Labels the frame from the other one.

    Returns:
        The key frame with mask and trust filled; `labelled` stays what a person labelled.
    """
    if key.trust is None:
        return key
    result = blender.blend(key.index, key.image, [(other, chain)])
    reach: NDArray[np.float32] = np.ones(key.trust.shape, np.float32)
    if other.trust is not None:
        reach = sample(other.trust, chain.positions)
    better = ~key.labelled & (key.trust < _NEAR * np.minimum(reach / _REACHED, 1))
    brought = np.asarray(np.rint(np.moveaxis(result.probabilities, 0, 2) * 255), dtype=np.uint8)
    # What is brought from a place that a label reaches is never less sure than a mere guess.
    sure = np.maximum(result.confidence, np.minimum(_REACHED, reach))
    return replace(
        key,
        mask=np.where(better, result.mask, key.mask),
        trust=np.where(better, sure, key.trust),
        onehot=np.where(better[..., None], brought, key.onehot),
    )


def merge(one: KeyFrame, two: KeyFrame) -> KeyFrame:
    """Of a key frame completed in two ways, each pixel as the one has it that trusts it more."""
    if one.trust is None or two.trust is None:
        return one
    better = two.trust > one.trust
    return replace(
        one,
        mask=np.where(better, two.mask, one.mask),
        trust=np.where(better, two.trust, one.trust),
        onehot=np.where(better[..., None], two.onehot, one.onehot),
    )


def fade(result: FrameResult, sources: Sequence[tuple[KeyFrame, Chain]]) -> FrameResult:
    """Make classes equally probable where the sources' labels don't reach.

    Args:
        result: A frame, labelled from `sources`.
        sources: Key frames and the chains to them.

    Returns:
        The same where all sources are labelled in full.
    """
    if not sources or any(key.trust is None for key, _ in sources):
        return result
    reach = np.zeros(result.confidence.shape, np.float32)
    for key, chain in sources:
        assert key.trust is not None
        np.maximum(reach, sample(key.trust, chain.positions), out=reach)
    return replace(result, probabilities=faded(result.probabilities, reach))


def faded(probabilities: NDArray[np.float32], reach: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mix (K, H, W) probabilities with equal ones, where (H, W) `reach`, the trust in the labels
    that they come from, is low."""
    places = np.flatnonzero(reach < _REACHED)
    if not places.size:
        return probabilities
    kept = np.maximum(reach.take(places) / _REACHED, _LEFT)
    out = probabilities.copy()
    for plane in out.reshape(len(out), -1):
        plane[places] = kept * plane.take(places) + (1 - kept) / len(out)
    return out
