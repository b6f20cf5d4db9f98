"""How unsure a pixel is, and a frame: maps in 0..1, and one number from each.

A measure takes *probabilities*, (K, H, W) float summing to 1 over K, and gives an (H, W) float32
map: 0 where one class has all, 1 where all classes have the same. A non-finite value anywhere is
passed on as NaN; `rankable` warns of it and puts it last, so that a broken frame never takes the
place of an uncertain one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MEASURES",
    "NonFiniteWarning",
    "entropy",
    "least_confidence",
    "margin",
    "normalise",
    "rankable",
    "reduce",
]


class NonFiniteWarning(UserWarning):
    """Values that are not finite were found, and are treated as the text says."""


def entropy(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Shannon entropy over the classes, divided by log K.

    Args:
        probabilities: (K, H, W), K ≥ 1, summing to 1 over K.

    Returns:
        (H, W) float32, 0 to 1; 0 everywhere where K is 1.

    Raises:
        ValueError: `probabilities` has not three axes, or no class.
    """
    p = _checked(probabilities)
    total = np.zeros(p.shape[1:], dtype=np.float32)
    for layer in p:
        positive = np.where(layer > 0, layer, 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            total -= np.asarray(layer * np.log(positive), dtype=np.float32)
    return _unit(total / np.log(max(len(p), 2)))


def margin(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """One less the lead of the best class over the second best.

    Args:
        probabilities: (K, H, W), K ≥ 1, summing to 1 over K.

    Returns:
        (H, W) float32, 0 to 1; 0 everywhere where K is 1.

    Raises:
        ValueError: `probabilities` has not three axes, or no class.
    """
    p = _checked(probabilities)
    if len(p) == 1:
        return _unit(1.0 - p[0])
    best_two = np.partition(p, len(p) - 2, axis=0)[-2:]
    return _unit(1.0 - (best_two[1] - best_two[0]))


def least_confidence(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """One less the best class's probability, times K / (K − 1).

    Args:
        probabilities: (K, H, W), K ≥ 1, summing to 1 over K.

    Returns:
        (H, W) float32, 0 to 1; 0 everywhere where K is 1.

    Raises:
        ValueError: `probabilities` has not three axes, or no class.
    """
    p = _checked(probabilities)
    classes = len(p)
    scale = classes / (classes - 1) if classes > 1 else 1.0
    return _unit((1.0 - p.max(axis=0)) * scale)


MEASURES: dict[str, Callable[[NDArray[np.floating]], NDArray[np.float32]]] = {
    "entropy": entropy,
    "margin": margin,
    "least_confidence": least_confidence,
}
"""The measures of one probability map by name."""


def reduce(
    uncertainty: NDArray[np.floating],
    ignore: NDArray[np.bool_] | None = None,
    top: float = 1.0,
) -> float:
    """Turn a map into one number: the mean of its most uncertain pixels.

    Args:
        uncertainty: Any shape, 0 to 1.
        ignore: Of the same shape; true where a pixel doesn't count (already labelled, void).
        top: Share of the counting pixels that enter the mean, the most uncertain ones; 1 is the
            plain mean over all of them.

    Returns:
        The number, 0 to 1; 0 where no pixel counts; NaN where a counting pixel is not finite.

    Raises:
        ValueError: The shapes differ, or `top` is not in (0, 1].

    Example:
        >>> reduce(np.array([[0.0, 1.0], [0.5, 0.5]]))
        0.5
    """
    if not 0.0 < top <= 1.0:
        raise ValueError(f"top is a share above 0 and up to 1; got {top}")
    values = np.asarray(uncertainty)
    if ignore is not None:
        if ignore.shape != values.shape:
            raise ValueError(f"ignore must have the map's shape {values.shape}; got {ignore.shape}")
        values = values[~ignore.astype(bool)]
    values = values.ravel()
    if values.size == 0:
        return 0.0
    if not np.isfinite(values).all():
        return float("nan")
    count = max(1, round(top * values.size))
    if count < values.size:
        values = np.partition(values, values.size - count)[values.size - count :]
    return float(values.mean(dtype=np.float64))


def normalise(values: ArrayLike) -> NDArray[np.float64]:
    """Stretch values so that the least finite one is 0 and the greatest 1.

    Args:
        values: Any shape.

    Returns:
        float64 of the same shape: 0 to 1, all 0 where the finite ones are equal, NaN where the
        value is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(array)
    out = np.full(array.shape, np.nan)
    if finite.any():
        low, high = float(array[finite].min()), float(array[finite].max())
        span = high - low
        if not np.isfinite(span):  # the difference of two huge numbers overflows
            low, high, array = low / 2, high / 2, array / 2
            span = high - low
        out[finite] = (array[finite] - low) / span if span > 0 else 0.0
    return out


def rankable(values: ArrayLike) -> NDArray[np.float64]:
    """Make values safe to sort: what is not finite becomes −∞, and so comes last.

    Args:
        values: (N,) uncertainties.

    Returns:
        (N,) float64 without NaN or +∞.

    Raises:
        ValueError: `values` is not one-dimensional.

    Warns:
        NonFiniteWarning: Some value is not finite; says how many, and the first place.
    """
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"uncertainties must be (N,), one a sample; got {array.shape}")
    broken = ~np.isfinite(array)
    if broken.any():
        warnings.warn(
            f"{int(broken.sum())} of {array.size} uncertainties are not finite (the first at "
            f"{int(np.argmax(broken))}); they are ranked last",
            NonFiniteWarning,
            stacklevel=2,
        )
        array[broken] = -np.inf
    return array


def _checked(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    if probabilities.ndim != 3 or probabilities.shape[0] == 0:
        raise ValueError(
            f"probabilities must be (K, H, W) with at least one class; got {probabilities.shape}"
        )
    return probabilities


def _unit(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Clip rounding errors away; NaN and infinities become NaN."""
    out = np.asarray(values, dtype=np.float32)
    out = np.where(np.isfinite(out), np.clip(out, 0.0, 1.0), np.float32(np.nan))
    return np.asarray(out, dtype=np.float32)
