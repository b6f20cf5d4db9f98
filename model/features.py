"""A descriptor of a whole frame that needs no training, for comparing frames before round one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["APPEARANCE_SIZE", "appearance", "appearance_map"]

_SIDE = 128
_CELLS = 4
_ORIENTATIONS = 8
_SQUARE = 8

APPEARANCE_SIZE = _CELLS * _CELLS * (6 + _ORIENTATIONS)
"""Length of the descriptor."""


def appearance(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe a frame by colour and texture on a coarse grid.

    In each cell of a 4 × 4 grid: the mean and the spread of Lab, and a histogram of gradient
    orientations weighed by gradient magnitude (as in HOG, Dalal & Triggs, CVPR 2005). Colour and
    texture count alike.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (C,) float32 of unit length, C = `APPEARANCE_SIZE`; close (Euclidean) for alike frames.

    Raises:
        ValueError: Not such an image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"a frame is (H, W, 3) uint8; got {image.shape} {image.dtype}")
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    cells = _cells(lab / np.float32(100))
    colour = np.concatenate([cells.mean(axis=2), cells.std(axis=2)], axis=-1).ravel()
    grey = lab[..., 0] / np.float32(100)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    angle = np.mod(np.arctan2(down, across), np.pi) * (_ORIENTATIONS / np.pi)
    bins = np.minimum(angle.astype(np.intp), _ORIENTATIONS - 1)
    strength = np.hypot(across, down)
    votes = np.eye(_ORIENTATIONS, dtype=np.float32)[bins] * strength[..., None]
    texture = np.sqrt(_cells(votes).mean(axis=2)).ravel()
    descriptor = np.concatenate([_unit(colour), _unit(texture)]) / np.sqrt(2)
    return np.asarray(_unit(descriptor), dtype=np.float32)


def appearance_map(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe a frame place by place, by colour and how it varies.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (6, ⌈H/8⌉, ⌈W/8⌉) float32: mean and spread of Lab, in hundreds, in squares of 8 pixels.
    """
    height, width = image.shape[:2]
    size = (-(-width // _SQUARE), -(-height // _SQUARE))
    scaled = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    lab: NDArray[np.float32] = np.asarray(scaled, dtype=np.float32) / np.float32(100)
    mean = cv2.resize(lab, size, interpolation=cv2.INTER_AREA)
    squares = cv2.resize(np.square(lab), size, interpolation=cv2.INTER_AREA)
    spread = np.sqrt(np.maximum(squares - mean * mean, 0))
    both: NDArray[np.float32] = np.concatenate([mean, spread], axis=-1, dtype=np.float32)
    return np.ascontiguousarray(np.moveaxis(both, -1, 0))


def _cells(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rearrange (S, S, C) into (cells, cells, pixels of a cell, C)."""
    step = _SIDE // _CELLS
    split = array.reshape(_CELLS, step, _CELLS, step, -1).transpose(0, 2, 1, 3, 4)
    return split.reshape(_CELLS, _CELLS, step * step, -1)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-6))
