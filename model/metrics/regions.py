"""Region measures, all from one confusion matrix: accuracies, IoU, weighted IoU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "VOID",
    "check_pair",
    "class_accuracy",
    "confusion",
    "ious",
    "mean_iou",
    "pixel_accuracy",
    "weighted_iou",
]

VOID = 255
"""The class index of pixels that never count."""

Counts = NDArray[np.int64]
"""(K, K + 1) int64: pixels by true class (row) and predicted class; the last column is for
predictions that are no class."""


def check_pair(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], num_classes: int) -> None:
    """Refuse what are not two masks of one size with a truth of these classes.

    Raises:
        ValueError: As said.
    """
    for name, mask in (("truth", truth), ("prediction", predicted)):
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise ValueError(f"the {name} must be (H, W) uint8, not {mask.shape} {mask.dtype}")
    if truth.shape != predicted.shape:
        raise ValueError(
            f"truth and prediction must be of one size; got {truth.shape}, {predicted.shape}"
        )
    wrong = truth[(truth >= num_classes) & (truth != VOID)]
    if wrong.size:
        raise ValueError(
            f"the truth names class {wrong.max()}, but there are {num_classes} classes,"
            f" 0 to {num_classes - 1}"
        )


def confusion(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], num_classes: int
) -> NDArray[np.int64]:
    """Count pixels by true and predicted class.

    Args:
        truth: (H, W) uint8, 255 = void.
        predicted: (H, W) uint8.
        num_classes: K.

    Returns:
        (K, K + 1) int64; the last column counts predictions that are no class.

    Raises:
        ValueError: See `check_pair`.
    """
    check_pair(truth, predicted, num_classes)
    counted = truth != VOID
    columns = num_classes + 1
    seen = np.minimum(predicted[counted], num_classes).astype(np.int64)
    pairs = truth[counted].astype(np.int64) * columns + seen
    return np.bincount(pairs, minlength=num_classes * columns).reshape(num_classes, columns)


def _parts(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Right, true and predicted pixels of each class."""
    square = counts[:, : len(counts)]
    right = np.diagonal(square).astype(np.float64)
    return right, counts.sum(axis=1).astype(np.float64), square.sum(axis=0).astype(np.float64)


def ious(counts: Counts) -> NDArray[np.float64]:
    """Intersection over union of each class; NaN where it occurs in neither mask. (K,)."""
    right, true, predicted = _parts(counts)
    union = true + predicted - right
    return np.asarray(np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0))


def mean_iou(counts: Counts) -> float | None:
    """mIoU: the mean over the classes that occur; None where nothing was counted."""
    return _mean(ious(counts))


def pixel_accuracy(counts: Counts) -> float | None:
    """Share of the pixels that are right; None where nothing was counted."""
    right, true, _ = _parts(counts)
    return float(right.sum() / true.sum()) if true.sum() else None


def class_accuracy(counts: Counts) -> float | None:
    """Mean over the true classes of the share of their pixels that are right."""
    right, true, _ = _parts(counts)
    return _mean(np.divide(right, true, out=np.full(len(right), np.nan), where=true > 0))


def weighted_iou(counts: Counts) -> float | None:
    """IoU of each class weighed by its share of the true pixels (VSPW, CVPR 2021)."""
    _, true, _ = _parts(counts)
    if not true.sum():
        return None
    return float((np.nan_to_num(ious(counts)) * true).sum() / true.sum())


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
