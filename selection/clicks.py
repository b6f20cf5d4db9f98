"""What labelling costs, in clicks: the corners a person would click to draw the label.

HVSA (WACV 2023), "boundary clicks": the contours of each class's connected components, simplified
by Ramer-Douglas-Peucker; the clicks are the vertices that are left. Holes have contours too.
"""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SUPERPIXEL_CLICKS",
    "VOID",
    "boundary_clicks",
    "correction_clicks",
    "drawn_by_hand",
    "rectangle_clicks",
]

VOID = 255
"""The class index of pixels that nobody has to label."""

TOLERANCE = 1.0
"""ε: how far, in pixels, a contour may lie from the polygon that stands for it."""

SUPERPIXEL_CLICKS = 1
"""A super-pixel's outline is given; one click names its class."""


def boundary_clicks(
    mask: NDArray[np.uint8], free: Collection[int] = (), tolerance: float = TOLERANCE
) -> int:
    """Clicks that draw a whole frame's mask.

    Args:
        mask: (H, W) uint8 class indices; 255 = void, not drawn.
        free: Classes that need no drawing: usually the background, which is what nobody draws.
        tolerance: ε, in pixels.

    Returns:
        The number of vertices; a region of a single pixel has one.

    Raises:
        ValueError: The mask is not (H, W) uint8.

    Example:
        >>> mask = np.zeros((20, 20), np.uint8)
        >>> mask[5:15, 5:15] = 1
        >>> boundary_clicks(mask, free={0})
        4
    """
    return sum(len(corners) for corners in _polygons(_checked(mask), free, tolerance))


def rectangle_clicks(
    mask: NDArray[np.uint8],
    rectangle: tuple[int, int, int, int],
    free: Collection[int] = (),
    tolerance: float = TOLERANCE,
) -> int:
    """Clicks that draw the part of a mask that lies in a rectangle.

    Only boundaries between classes inside the rectangle count: its own sides come for nothing.
    Where there is no such boundary one click names the class.

    Args:
        mask: (H, W) uint8 class indices, 255 = void.
        rectangle: (top, left, height, width); what lies outside the frame is cut off.
        free: As for `boundary_clicks`.
        tolerance: ε, in pixels.

    Raises:
        ValueError: The mask is not (H, W) uint8, or the rectangle does not meet it.
    """
    top, left, height, width = rectangle
    part = _checked(mask)[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if part.size == 0:
        raise ValueError(f"the rectangle {rectangle} does not meet the {mask.shape} mask")
    part = np.ascontiguousarray(part)
    inner = _next_to_another(part)
    clicks = sum(
        int(inner[y, x])
        for corners in _polygons(part, free, tolerance)
        for x, y in corners.tolist()
    )
    return max(clicks, 1)


def drawn_by_hand(
    mask: NDArray[np.uint8], free: Collection[int] = (), tolerance: float = TOLERANCE
) -> NDArray[np.uint8]:
    """The mask as its clicks draw it: the polygons filled, large classes first.

    What labelling by hand reaches is measured with it: the ceiling of all quality for clicks.

    Args:
        mask: (H, W) uint8 class indices, 255 = void.
        free: As for `boundary_clicks`; their pixels are where nothing is drawn.
        tolerance: ε, in pixels.

    Returns:
        (H, W) uint8; void pixels stay void.

    Raises:
        ValueError: The mask is not (H, W) uint8.
    """
    present = [k for k in _classes(_checked(mask)) if k != VOID]
    present.sort(key=lambda k: -int((mask == k).sum()))
    rest = [k for k in present if k in free] or present[:1] or [VOID]
    drawn = np.full_like(mask, rest[0])
    for k in present:
        if k in free:
            continue
        contours, levels = cv2.findContours(
            (mask == k).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        region = np.zeros_like(mask)
        for holes in (False, True):
            for contour, level in zip(contours, levels[0], strict=True):
                if (level[3] >= 0) == holes:
                    corners = cv2.approxPolyDP(contour, tolerance, True)
                    cv2.fillPoly(region, [corners], 0 if holes else 1)
                    if holes:  # a hole's contour runs on the region's own pixels
                        cv2.polylines(region, [corners], True, 1)
        drawn[region > 0] = k
    return np.where(mask == VOID, np.uint8(VOID), drawn)


def correction_clicks(
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    free: Collection[int] = (),
    tolerance: float = TOLERANCE,
) -> int:
    """Clicks that turn a pre-annotation into the truth: those of the parts that differ.

    Each part is drawn with its true class (background too: there, something is to be taken away).
    A boundary that lies within ε of the true one is right: drawing it anew would be no better.
    Nobody corrects for more clicks than drawing anew takes, so that is the most.

    Args:
        truth: (H, W) uint8 class indices; void needs no correction.
        predicted: (H, W) uint8, the pre-annotation.
        free: As for `boundary_clicks`, for drawing anew.
        tolerance: ε, in pixels.

    Returns:
        0 where nothing differs by more than ε.

    Raises:
        ValueError: A mask is not (H, W) uint8, or they are of two sizes.
    """
    if _checked(truth).shape != _checked(predicted).shape:
        raise ValueError(
            f"truth and prediction must be of one size; got {truth.shape}, {predicted.shape}"
        )
    near = _found_near(truth, predicted, tolerance) & _found_near(predicted, truth, tolerance)
    right = near | (truth == VOID)
    parts = boundary_clicks(np.where(right, np.uint8(VOID), truth), tolerance=tolerance)
    return min(parts, boundary_clicks(truth, free, tolerance)) if parts else 0


def _found_near(
    labels: NDArray[np.uint8], other: NDArray[np.uint8], distance: float
) -> NDArray[np.bool_]:
    """Pixels whose label is to be found in the other mask, not farther away than `distance`."""
    side = 2 * int(distance) + 1
    window = np.ones((side, side), np.uint8)
    out = labels == other
    for k in _classes(labels[~out]):
        grown = cv2.dilate((other == k).view(np.uint8), window)
        out |= (labels == k) & (np.asarray(grown) > 0)
    return np.asarray(out)


def _classes(labels: NDArray[np.uint8]) -> list[int]:
    """The values that occur, rising; counting is quicker than sorting."""
    found: list[int] = np.flatnonzero(np.bincount(labels.ravel(), minlength=VOID + 1)).tolist()
    return found


def _checked(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise ValueError(f"a mask must be (H, W) uint8; got {mask.shape} {mask.dtype}")
    return mask


def _polygons(
    mask: NDArray[np.uint8], free: Collection[int], tolerance: float
) -> list[NDArray[np.int32]]:
    """The simplified contours of all regions: (n, 2) vertices each, x first."""
    out: list[NDArray[np.int32]] = []
    for k in _classes(mask):
        if k == VOID or k in free:
            continue
        # Contours of a class are those of its components: 8-connected, holes 4-connected.
        contours, _ = cv2.findContours(
            (mask == k).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        for contour in contours:
            corners = cv2.approxPolyDP(contour, tolerance, True)
            out.append(np.asarray(corners, np.int32).reshape(-1, 2))
    return out


def _next_to_another(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of which a neighbour (of eight) has another class."""
    window = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(mask, window) != cv2.erode(mask, window))
