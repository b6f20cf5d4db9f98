"""Region similarity J and contour accuracy F of one object in one frame, as DAVIS defines them.

Perazzi et al., "A benchmark dataset and evaluation methodology for video object segmentation",
CVPR 2016; the rules for empty masks and void pixels are those of the DAVIS 2017 evaluation.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["TOLERANCE", "contour_accuracy", "mask_boundary", "region_similarity"]

TOLERANCE = 0.008
"""How far contours may lie apart, a share of the frame's diagonal."""

Mask = NDArray[np.bool_]


def region_similarity(truth: Mask, predicted: Mask, void: Mask | None = None) -> float:
    """J: intersection over union; 1 where both are empty.

    Args:
        truth: (H, W) bool.
        predicted: (H, W) bool.
        void: (H, W) bool, the pixels that do not count.

    Raises:
        ValueError: The shapes differ.
    """
    truth, predicted = _without_void(truth, predicted, void)
    union = np.count_nonzero(truth | predicted)
    return np.count_nonzero(truth & predicted) / union if union else 1.0


def contour_accuracy(
    truth: Mask, predicted: Mask, void: Mask | None = None, tolerance: float = TOLERANCE
) -> float:
    """F: harmonic mean of precision and recall of the contour's pixels.

    A contour's pixel is right if the other contour passes within ⌈tolerance · diagonal⌉ pixels.
    Where one contour is empty F is 0, where both are 1.

    Args:
        truth: (H, W) bool.
        predicted: (H, W) bool.
        void: (H, W) bool; void pixels belong to neither mask.
        tolerance: A share of the diagonal, or, from 1 on, pixels.

    Raises:
        ValueError: The shapes differ.
    """
    truth, predicted = _without_void(truth, predicted, void)
    true, ours = mask_boundary(truth), mask_boundary(predicted)
    if not true.any() or not ours.any():
        return 1.0 if true.any() == ours.any() else 0.0
    reach = tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(*truth.shape))
    box = _around(true | ours)
    true, ours = true[box], ours[box]
    precision = float(_near(true, reach)[ours].mean())
    recall = float(_near(ours, reach)[true].mean())
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def mask_boundary(mask: Mask) -> Mask:
    """The contour: pixels that differ from their neighbour to the right, below, or both.

    It lies half a pixel up and to the left of the true border between inside and outside. The
    frame's edge is no contour.
    """
    wider = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, diagonal = wider[:-1, 1:], wider[1:, :-1], wider[1:, 1:]
    out = (mask != right) | (mask != below) | (mask != diagonal)
    return np.asarray(out)


def _around(mask: Mask) -> tuple[slice, slice]:
    """The smallest rectangle that holds all that is set."""
    down, across = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1)


def _near(contour: Mask, reach: float) -> Mask:
    """Pixels within `reach` (Euclidean) of the contour."""
    distance = cv2.distanceTransform((~contour).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Between √(r²) and √(r² + 1) there is no distance on the grid: this is safe from rounding.
    return np.asarray(distance) ** 2 < reach * reach + 0.5


def _without_void(truth: Mask, predicted: Mask, void: Mask | None) -> tuple[Mask, Mask]:
    truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
    if truth.ndim != 2 or truth.shape != predicted.shape:
        raise ValueError(
            f"truth and prediction must be two (H, W) masks of one size; got {truth.shape},"
            f" {predicted.shape}"
        )
    if void is None:
        return truth, predicted
    if void.shape != truth.shape:
        raise ValueError(f"void must be {truth.shape}, as the masks are; got {void.shape}")
    return truth & ~void, predicted & ~void
