"""Positions and sampling: where a pixel comes from, and what is there.

A *position map* is (H, W, 2) float32: for each pixel (x, y) of one image the place in another that
it corresponds to, in pixels, x first. A *flow* is a position map less the identity.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["compose", "identity_map", "inside", "sample"]

_MAX_CHANNELS = 4
"""`cv2.remap` takes any number of channels, but is quick (vectorised) for at most four."""

_NO_MAP: Any = None


@lru_cache(maxsize=8)
def _identity(height: int, width: int) -> NDArray[np.float32]:
    x, y = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32), copy=True
    )
    grid = np.stack([x, y], axis=-1)
    grid.setflags(write=False)
    return grid


def identity_map(height: int, width: int) -> NDArray[np.float32]:
    """Return the (height, width, 2) float32 map of every pixel onto itself (read-only)."""
    return _identity(int(height), int(width))


def sample(
    array: NDArray[Any], positions: NDArray[np.float32], interpolation: str = "bilinear"
) -> NDArray[Any]:
    """Look up `array` at `positions`; outside the image, the nearest border pixel.

    Args:
        array: (H, W) or (H, W, C), uint8 or float32; bool is returned as bool.
        positions: (h, w, 2) float32, x first.
        interpolation: "bilinear" or "nearest".

    Returns:
        (h, w) or (h, w, C), of `array`'s dtype.

    Raises:
        ValueError: Shapes or the interpolation are not as above.
    """
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(f"interpolation must be 'bilinear' or 'nearest', not {interpolation!r}")
    if positions.ndim != 3 or positions.shape[2] != 2:
        raise ValueError(f"positions must be (h, w, 2), x first; got {positions.shape}")
    if array.ndim not in (2, 3):
        raise ValueError(f"array must be (H, W) or (H, W, C); got {array.shape}")
    if array.dtype == np.bool_:
        return sample(array.view(np.uint8), positions, "nearest").astype(bool)
    how = cv2.INTER_LINEAR if interpolation == "bilinear" else cv2.INTER_NEAREST
    if positions.dtype != np.float32:
        positions = positions.astype(np.float32)
    if array.ndim == 2 or array.shape[2] <= _MAX_CHANNELS:
        out = cv2.remap(array, positions, _NO_MAP, how, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(out).reshape((*positions.shape[:2], *array.shape[2:]))
    fixed, weights = cv2.convertMaps(
        positions, _NO_MAP, cv2.CV_16SC2, nninterpolation=how == cv2.INTER_NEAREST
    )
    parts = [
        cv2.remap(
            np.ascontiguousarray(array[..., first : first + _MAX_CHANNELS]),
            fixed,
            weights,
            how,
            borderMode=cv2.BORDER_REPLICATE,
        ).reshape((*positions.shape[:2], -1))
        for first in range(0, array.shape[2], _MAX_CHANNELS)
    ]
    return np.concatenate(parts, axis=2)


def compose(first: NDArray[np.float32], then: NDArray[np.float32]) -> NDArray[np.float32]:
    """Follow `first` (a → b), then `then` (b → c): the position map a → c.

    Both are (H, W, 2) float32 position maps. `then` is extrapolated beyond its border by keeping
    the displacement (not the place) of the nearest border pixel.
    """
    height, width = then.shape[:2]
    displacement = then - identity_map(height, width)
    out: NDArray[np.float32] = first + sample(displacement, first)
    return out


def inside(positions: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
    """Tell which positions lie in an image of `height` × `width`; (h, w) bool."""
    last = np.array([width - 1, height - 1, 0, 0], np.float64)
    within = cv2.inRange(positions, np.zeros(4), last)
    return np.asarray(within, np.uint8) > 0
