"""Polygons on pixels: a pixel is inside where its centre is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["fill_polygon"]

# Crossings of edges and rows that are worked on at once.
_CROSSINGS = 1 << 20


def fill_polygon(points: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Fill a closed polygon by the even-odd rule.

    Pixel (row r, column c) covers [c, c + 1) × [r, r + 1) and is inside where its centre is. An
    edge that is walked there and back encloses nothing, so that rings may be joined by a slit.

    Args:
        points: (N, 2) float64 of x, y in pixels; the last is joined to the first.
        height: Of the picture.
        width: Of the picture.

    Returns:
        (H, W) bool. Memory is bounded by the picture, not by the number of points.
    """
    inside = np.zeros((height, width), dtype=bool)
    low = np.clip(np.floor(points.min(axis=0)), 0, (width, height)).astype(np.int64)
    high = np.clip(np.ceil(points.max(axis=0)), 0, (width, height)).astype(np.int64)
    if (high > low).all():
        window = inside[low[1] : high[1], low[0] : high[0]]
        window[:] = _fill(points - low, *window.shape)
    return inside


def _fill(points: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.bool_]:
    edges = np.stack((points, np.roll(points, -1, axis=0)), axis=1)
    # Upwards or downwards does not matter for parity; from the upper end to the lower one.
    edges = np.take_along_axis(edges, np.argsort(edges[:, :, 1:], axis=1, kind="stable"), axis=1)
    (x0, y0), (x1, y1) = edges[:, 0].T, edges[:, 1].T
    # Rows whose centre line y = r + ½ has y0 <= y < y1.
    first = np.clip(np.ceil(y0 - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(y1 - 0.5), 0, height).astype(np.int64)
    counts = last - first
    toggles = np.zeros(height * (width + 1), dtype=np.uint8)
    begin = 0
    totals = np.cumsum(counts)
    while begin < counts.size:
        done = totals[begin - 1] if begin else 0
        end = max(int(np.searchsorted(totals, done + _CROSSINGS, side="right")), begin + 1)
        part = slice(begin, end)
        edge = np.repeat(np.arange(begin, end), counts[part])
        offset = np.arange(edge.size) - np.repeat(
            np.cumsum(counts[part]) - counts[part], counts[part]
        )
        row = first[edge] + offset
        x = x0[edge] + (row + 0.5 - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
        # The first column whose centre is at or to the right of the crossing.
        column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        np.bitwise_xor.at(toggles, row * (width + 1) + column, 1)
        begin = end
    parity = np.bitwise_xor.accumulate(toggles.reshape(height, width + 1), axis=1)
    return parity[:, :width].astype(bool)
