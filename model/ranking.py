"""The most probable class of each pixel, and its lead: as numpy has them, in a part of the time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lead", "most_probable"]


def most_probable(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The class of the highest probability, the first one of equals: `argmax(axis=0)`.

    Args:
        probabilities: (K, H, W) float32, K ≤ 255; no NaN.

    Returns:
        (H, W) uint8.
    """
    best = probabilities[0].copy()
    out = np.zeros(best.shape, np.uint8)
    for label in range(1, len(probabilities)):
        candidate = probabilities[label]
        np.maximum(out, np.multiply(candidate > best, np.uint8(label), dtype=np.uint8), out=out)
        np.maximum(best, candidate, out=best)
    return out


def lead(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """By how much the most probable class leads the next.

    Args:
        probabilities: (K, H, W) float32.

    Returns:
        (H, W) float32; 1 where there is one class.
    """
    if len(probabilities) == 1:
        return np.ones(probabilities.shape[1:], np.float32)
    first: NDArray[np.float32] = np.maximum(probabilities[0], probabilities[1])
    second: NDArray[np.float32] = np.minimum(probabilities[0], probabilities[1])
    for candidate in probabilities[2:]:
        np.maximum(second, np.minimum(first, candidate), out=second)
        np.maximum(first, candidate, out=first)
    first -= second
    return first
