"""All frame measures together: measured once a frame, summed over any set of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics import regions
from model.metrics.boundary import boundary_counts
from model.metrics.davis import contour_accuracy, region_similarity

__all__ = ["FrameCounts", "Scores", "measure_frame"]


@dataclass(frozen=True)
class FrameCounts:
    """What one frame adds to the scores.

    Attributes:
        confusion: (K, K + 1) int64, see `model.metrics.regions.confusion`.
        boundary: (2, K) int64, see `model.metrics.boundary.boundary_counts`.
        j: (objects,) J of each object class.
        f: (objects,) F of each.
    """

    confusion: NDArray[np.int64]
    boundary: NDArray[np.int64]
    j: NDArray[np.float64]
    f: NDArray[np.float64]

    @property
    def miou(self) -> float | None:
        """mIoU of this frame alone."""
        return regions.mean_iou(self.confusion)


def measure_frame(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], class_names: Sequence[str]
) -> FrameCounts:
    """Measure one frame.

    J and F are taken of every class but the first where that is called "background", and of none
    otherwise: then the classes are no objects.

    Args:
        truth: (H, W) uint8, 255 = void.
        predicted: (H, W) uint8.
        class_names: By class index.

    Raises:
        ValueError: See `model.metrics.regions.check_pair`.
    """
    count = len(class_names)
    objects = range(1, count) if class_names[0] == "background" else range(0)
    void = truth == regions.VOID
    pairs = [(truth == k, predicted == k) for k in objects]
    return FrameCounts(
        confusion=regions.confusion(truth, predicted, count),
        boundary=boundary_counts(truth, predicted, count),
        j=np.array([region_similarity(true, ours, void) for true, ours in pairs]),
        f=np.array([contour_accuracy(true, ours, void) for true, ours in pairs]),
    )


class Scores:
    """The sum of frames, and the scores that follow from it."""

    def __init__(self) -> None:
        self.frames = 0
        self._sum: FrameCounts | None = None

    def add(self, counts: FrameCounts) -> None:
        """Take in a frame."""
        self.frames += 1
        last = self._sum
        self._sum = (
            counts
            if last is None
            else FrameCounts(
                confusion=last.confusion + counts.confusion,
                boundary=last.boundary + counts.boundary,
                j=last.j + counts.j,
                f=last.f + counts.f,
            )
        )

    def values(self) -> dict[str, float | None]:
        """Scores by name, 0 to 1; None where nothing was counted.

        Returns:
            miou, pixel_accuracy, class_accuracy, weighted_iou, boundary_iou; j and f (means over
            objects) where there are objects. Empty before the first frame.
        """
        total = self._sum
        if total is None:
            return {}
        out = {
            "miou": regions.mean_iou(total.confusion),
            "pixel_accuracy": regions.pixel_accuracy(total.confusion),
            "class_accuracy": regions.class_accuracy(total.confusion),
            "weighted_iou": regions.weighted_iou(total.confusion),
            "boundary_iou": _boundary_iou(total.boundary),
        }
        if total.j.size:
            out["j"] = float(total.j.mean()) / self.frames
            out["f"] = float(total.f.mean()) / self.frames
        return out


def _boundary_iou(counts: NDArray[np.int64]) -> float | None:
    shared, union = counts.astype(np.float64)
    return float((shared[union > 0] / union[union > 0]).mean()) if union.any() else None
