"""Boundary IoU: the IoU of the bands along the inside of the classes' boundaries."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from model.metrics.regions import VOID, check_pair

__all__ = ["DISTANCE", "boundary_band", "boundary_counts"]

DISTANCE = 2
"""d of HVSA's evaluation."""


def boundary_band(region: NDArray[np.bool_], distance: int = DISTANCE) -> NDArray[np.bool_]:
    """G_d ∩ G: the pixels of a region that lie within `distance` of a pixel outside it.

    Distance is counted in king's moves (a square window). The image's own border is no boundary:
    nothing is known of what lies beyond.

    Args:
        region: (H, W) bool.
        distance: d, in pixels, ≥ 1.

    Returns:
        (H, W) bool.
    """
    if distance < 1:
        raise ValueError(f"distance must be 1 pixel or more, not {distance}")
    side = 2 * distance + 1
    core = cv2.erode(
        region.view(np.uint8) if region.dtype == np.bool_ else region.astype(np.uint8),
        np.ones((side, side), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=(1,),
    )
    return np.asarray(region & (np.asarray(core) == 0))


def boundary_counts(
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    num_classes: int,
    distance: int = DISTANCE,
) -> NDArray[np.int64]:
    """Intersection and union of the bands of each class.

    HVSA (WACV 2023) Eq. 8: |(G_d ∩ G) ∩ (Q_d ∩ Q)| / |(G_d ∩ G) ∪ (Q_d ∩ Q)|; the sums over a
    clip's frames are divided, and the mean taken over classes. Void pixels belong to no class in
    either mask, and are not counted.

    Returns:
        (2, K) int64: intersections, unions.

    Raises:
        ValueError: See `model.metrics.regions.check_pair`.
    """
    check_pair(truth, predicted, num_classes)
    counted = truth != VOID
    out = np.zeros((2, num_classes), np.int64)
    for k in np.unique(np.concatenate([np.unique(truth), np.unique(predicted)])):
        if k < num_classes:
            true = boundary_band(truth == k, distance)
            ours = boundary_band((predicted == k) & counted, distance)
            out[0, k] = np.count_nonzero(true & ours)
            out[1, k] = np.count_nonzero(true | ours)
    return out
