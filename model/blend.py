"""Blend what several key frames say about a frame, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from model.chain import Chain
from model.keyframes import KeyFrame
from model.warp import sample

__all__ = ["blend", "colour_similarity"]

_LAB_WEIGHTS = (0.5 * (100 / 255) ** 2, 1.0, 1.0)
"""½, 1, 1 on CIE's scale; OpenCV's 8-bit Lab stretches L from 0–100 to 0–255."""

_WINDOW = (5, 5)


def colour_similarity(
    frame: NDArray[np.uint8], warped: NDArray[np.uint8], sigma: float
) -> NDArray[np.float32]:
    """exp(−D / 2σ²), D the weighted squared Lab difference averaged over 5 × 5 pixels.

    Args:
        frame: (H, W, 3) uint8 Lab.
        warped: (H, W, 3) uint8 Lab, another image in the frame's geometry.
        sigma: In units of CIE Lab.

    Returns:
        (H, W) float32, 0 to 1.
    """
    difference = cv2.absdiff(frame, warped).astype(np.float32)
    squared = cv2.transform(difference * difference, np.array([_LAB_WEIGHTS], np.float32))
    averaged = cv2.blur(squared, _WINDOW)
    out: NDArray[np.float32] = np.asarray(cv2.exp(averaged * (-0.5 / sigma**2)))
    return out.reshape(frame.shape[:2])


def blend(
    index: int,
    frame: NDArray[np.uint8],
    sources: Sequence[tuple[KeyFrame, Chain]],
    *,
    decay: float,
    colour_sigma: float,
    floor: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weigh the warped masks of `sources` and add them up.

    Args:
        index: The frame.
        frame: (H, W, 3) uint8 Lab.
        sources: Key frames, and where the frame's pixels are in them; at least one.
        decay: τ of `model.propagate`.
        colour_sigma: σ.
        floor: ε.

    Returns:
        Probabilities (K, H, W) float32 and confidence (H, W) float32: of the source trusted most,
        the product of both checks.
    """
    height, width = frame.shape[:2]
    confidence = np.zeros((height, width), np.float32)
    votes: NDArray[np.float32] | None = None
    nearest = min(abs(index - key.index) for key, _ in sources)
    for key, chain in sources:
        colour = colour_similarity(frame, sample(key.lab, chain.positions), colour_sigma)
        closeness = np.float32(np.exp(-(abs(index - key.index) - nearest) / decay))
        weight = (chain.confidence + np.float32(floor)) * (colour + np.float32(floor)) * closeness
        if key.trust is not None:
            trust = sample(key.trust, chain.positions)
            weight *= np.maximum(trust, np.float32(1e-6))
            colour *= trust
        np.maximum(confidence, chain.confidence * colour, out=confidence)
        warped = key.warp(chain.positions)
        warped *= weight
        votes = warped if votes is None else np.add(votes, warped, out=votes)
    if votes is None:
        raise ValueError("blending needs at least one source")
    votes /= votes.sum(axis=0)
    return votes, confidence
