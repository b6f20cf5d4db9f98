"""Masks without specks and pinholes, which make the browser's brush slow."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["clean"]


def clean(mask: npt.NDArray[np.uint8], min_area: int) -> npt.NDArray[np.uint8]:
    """Give parts of fewer pixels than `min_area` to the values around them.

    The largest part of each value stays, however small it is: it may be all that is seen of a
    thing. A hole is a part of what shows through it, so holes go as specks do. Every other pixel
    keeps its value: the boundary of what stays is not moved.

    Args:
        mask: (H, W) uint8 of values; each part is a set of pixels of one value that touch at sides.
        min_area: Parts of fewer pixels go; with 0 or 1 nothing does.

    Returns:
        (H, W) uint8; the mask itself where nothing had to go.
    """
    if min_area <= 1:
        return mask
    specks = np.zeros(mask.shape, dtype=bool)
    for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)):
        part = (mask == value).astype(np.uint8)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] < min_area
        small[0] = False  # Pixels of other values.
        small[1 + stats[1:, cv2.CC_STAT_AREA].argmax()] = False
        if small.any():
            specks |= small[parts]
    if not specks.any():
        return mask
    # Each speck takes the value of the nearest pixel that stays.
    _, nearest = cv2.distanceTransformWithLabels(
        specks.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of = np.zeros(int(nearest.max()) + 1, dtype=np.uint8)
    value_of[nearest[~specks]] = mask[~specks]
    return np.where(specks, value_of[nearest], mask)
