"""Uncertainty from two opinions on one frame: where they differ, something is wrong.

Probabilities are (K, H, W) float summing to 1 over K; maps are (H, W) float32, 0 (agreed) to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["disagreement", "temporal_disagreement"]


def disagreement(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float32]:
    """Jensen-Shannon divergence in bits (Lin 1991): 0 where equal, 1 where nothing is shared.

    For what was propagated forward and backward, or for the network and propagation.

    Args:
        one: (K, H, W).
        other: (K, H, W).

    Returns:
        (H, W) float32, 0 to 1; NaN where a probability is not finite.

    Raises:
        ValueError: The shapes differ or are not (K, H, W).
    """
    if one.ndim != 3 or one.shape != other.shape:
        raise ValueError(
            f"two probability maps must be of one shape (K, H, W); got {one.shape}, {other.shape}"
        )
    total = np.zeros(one.shape[1:], dtype=np.float32)
    for p, q in zip(one, other, strict=True):
        middle = (p + q) / 2
        total += np.asarray(_term(middle) * -2 + _term(p) + _term(q), dtype=np.float32) / 2
    out = np.where(np.isfinite(total), np.clip(total, 0.0, 1.0), np.float32(np.nan))
    return np.asarray(out, dtype=np.float32)


def _term(p: NDArray[np.floating]) -> NDArray[np.floating]:
    """p · log2 p, 0 at 0; NaN stays."""
    safe = np.where(p > 0, p, 1.0)
    with np.errstate(invalid="ignore"):
        out: NDArray[np.floating] = np.where(np.isfinite(p), p * np.log2(safe), np.nan)
    return out


def temporal_disagreement(
    current: NDArray[np.floating],
    previous: NDArray[np.floating],
    flow: NDArray[np.floating],
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """How far a frame's prediction differs from that of its neighbour, brought along the flow.

    Args:
        current: (K, H, W) of frame t.
        previous: (K, H, W) of frame t − 1 (or t + 1).
        flow: (H, W, 2), x first: frame t's pixel at x is in the neighbour at x + flow(x). The
            nearest pixel is taken.
        valid: (H, W) bool, true where the flow is to be believed (the forward-backward check).

    Returns:
        (H, W) float32, 0 to 1; 0 where the flow leaves the image or is not valid: nothing is known
        there.

    Raises:
        ValueError: Shapes don't fit.
    """
    height, width = current.shape[1:]
    if flow.shape != (height, width, 2) or (valid is not None and valid.shape != (height, width)):
        raise ValueError(
            f"the flow must be {(height, width, 2)} and valid {(height, width)}; got {flow.shape}"
            f" and {None if valid is None else valid.shape}"
        )
    known = np.isfinite(flow).all(axis=-1)
    shift = np.where(known[..., None], flow, 0.0)
    x = np.rint(np.arange(width) + shift[..., 0]).astype(np.int64)
    y = np.rint(np.arange(height)[:, None] + shift[..., 1]).astype(np.int64)
    known &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if valid is not None:
        known &= valid
    brought = previous[:, np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    return np.where(known, disagreement(current, brought), np.float32(0.0))
