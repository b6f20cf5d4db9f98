"""Masks as outlines: PolygonLabels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from skimage import measure

from backend.formats.errors import FormatError
from backend.formats.fill import fill_polygon
from backend.formats.options import EncodeOptions

__all__ = ["PolygonFormat", "outlines"]

Ring = npt.NDArray[np.float64]

_MOST_POINTS = 50_000
_FARTHEST = 10_000.0


class PolygonFormat:
    """``{"points": [[x, y], …], "closed": true}`` in percent of the picture.

    The format has one ring. A hole is kept by a slit of no width that leads from the outer ring to
    the hole and back; the screen fills such a ring as it should be. Each part of a mask is a
    region of its own, the largest first.
    """

    shape = "polygon"

    def decode(self, value: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
        """The pixels whose centre is inside, (H, W) bool.

        Raises:
            FormatError: When the points are no points, too many, or out of any picture.
        """
        points = value.get("points")
        if not isinstance(points, list) or not points:
            raise FormatError("a polygon region has no points")
        if len(points) > _MOST_POINTS:
            raise FormatError(f"a polygon of {len(points)} points; at most {_MOST_POINTS} are read")
        try:
            array = np.array(points, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.empty(0)
        if array.ndim != 2 or array.shape[1] != 2 or not (np.abs(array) <= _FARTHEST).all():
            raise FormatError("a polygon's points must be pairs of numbers in percent")
        return fill_polygon(array * (width / 100, height / 100), height, width)

    def encode(
        self, mask: npt.NDArray[np.bool_], options: EncodeOptions
    ) -> Iterator[dict[str, Any]]:
        """The value of each part of a mask, the largest first."""
        height, width = mask.shape
        for ring in outlines(mask, options.tolerance):
            percent = ring * (100 / width, 100 / height)
            yield {"points": percent.round(6).tolist(), "closed": True}


def outlines(mask: npt.NDArray[np.bool_], tolerance: float) -> list[Ring]:
    """The outlines of a mask's parts, holes joined to them by slits.

    Args:
        mask: (H, W) bool.
        tolerance: How far a line may be from the boundary, in pixels; with 0 `fill_polygon` gives
            the mask back.

    Returns:
        Rings (N, 2) of x, y in pixels, not closed, the largest part first.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    rings = []
    order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable") + 1
    for part in order[: count - 1]:
        x, y, w, h = stats[part, :4]
        # A margin, so that every contour closes.
        window = np.pad(parts[y : y + h, x : x + w] == part, 1)
        ring = _ring(window, tolerance)
        if ring is not None:
            rings.append(ring + np.array((x - 1.0, y - 1.0)))
    return rings


def _ring(window: npt.NDArray[np.bool_], tolerance: float) -> Ring | None:
    """The outline of one part, in pixels of the window."""
    # Between centres of pixels, in rows and columns of centres: half a pixel on to the corners.
    found = measure.find_contours(  # type: ignore[no-untyped-call]
        window.astype(np.float32), 0.5, fully_connected="low"
    )
    contours = [_simplified(contour[:, ::-1] + 0.5, tolerance) for contour in found]
    rings = [ring for ring in contours if ring is not None]
    if not rings:
        return None
    rings.sort(key=lambda ring: -float(np.ptp(ring[:, 0]) * np.ptp(ring[:, 1])))
    joined = rings[0]
    for hole in rings[1:]:
        joined = _joined(joined, hole)
    return joined


def _simplified(closed: Ring, tolerance: float) -> Ring | None:
    """A ring with fewer points; None where it is no ring."""
    points = closed[:-1]
    if tolerance > 0:
        fewer = cv2.approxPolyDP(points.astype(np.float32)[:, None], tolerance, True)[:, 0]
        # Of a speck nothing would be left: it keeps its outline.
        points = fewer.astype(np.float64) if len(fewer) >= 3 else points
    return points if len(points) >= 3 else None


def _joined(ring: Ring, hole: Ring) -> Ring:
    """A ring that walks to a hole where they are nearest, around it, and back."""
    distances, nearest = cKDTree(ring).query(hole)
    there = int(distances.argmin())
    here = int(nearest[there])
    around = np.roll(hole, -there, axis=0)
    return np.concatenate((ring[: here + 1], around, around[:1], ring[here:]))
