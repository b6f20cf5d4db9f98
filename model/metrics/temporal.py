"""Measures over time: do labels follow the motion, and do they stay right."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from model.flow import forward_backward_check
from model.metrics.regions import VOID, confusion, mean_iou
from model.warp import identity_map

__all__ = ["TemporalConsistency", "VideoConsistency"]


class TemporalConsistency:
    """TC: the mIoU of a frame's masks and the last frame's, warped along the flow.

    HVSA (WACV 2023) Eq. 9, VSPW (CVPR 2021) Eq. 5 and 6, accumulated over the clip like mIoU.
    Pixels that fail the forward-backward check are left out. A flow ends between pixels, where a
    mask has no label of its own: there the warped label agrees if any of the (up to four) pixels
    around it has it, and is that of the nearest otherwise. Where flow is in whole pixels this is
    the plain warp.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._counts = np.zeros((num_classes, num_classes + 1), np.int64)

    def update(
        self,
        previous: NDArray[np.uint8],
        current: NDArray[np.uint8],
        backward: NDArray[np.float32],
        forward: NDArray[np.float32],
        void: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in a pair of consecutive frames.

        Args:
            previous: (H, W) uint8, the masks of frame t − 1.
            current: (H, W) uint8, those of frame t.
            backward: (H, W, 2) float32, flow from t to t − 1.
            forward: (H, W, 2) float32, flow from t − 1 to t.
            void: (H, W) bool, pixels of t that do not count.
        """
        counted = forward_backward_check(backward, forward) & (current != VOID)
        if void is not None:
            counted &= ~void
        warped = _carried(previous, current, backward)
        truth = np.where(counted, current, np.uint8(VOID))
        self._counts += confusion(truth, warped, self._num_classes)

    def value(self) -> float | None:
        """TC so far, 0 to 1; None before the first pair."""
        return mean_iou(self._counts)


def _carried(
    previous: NDArray[np.uint8], current: NDArray[np.uint8], backward: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Labels of `previous` at the ends of `backward`, in favour of those of `current`."""
    height, width = previous.shape
    ends = identity_map(height, width) + backward
    x = np.clip(ends[..., 0], 0, width - 1)
    y = np.clip(ends[..., 1], 0, height - 1)
    warped = previous[np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)]
    for row, column in product((np.floor(y), np.ceil(y)), (np.floor(x), np.ceil(x))):
        label = previous[row.astype(np.intp), column.astype(np.intp)]
        warped = np.where(label == current, label, warped)
    return warped


class VideoConsistency:
    """VC_C: how much of what stands still in truth stays right.

    VSPW (CVPR 2021) Eq. 4. For every window of C frames (step 1): of the pixels whose true class
    is the same in all C frames, the share that is predicted right in all of them; then the mean
    over windows. A window in which no pixel keeps its class is left out.

    Args:
        window: C, ≥ 1.
    """

    def __init__(self, window: int) -> None:
        if window < 1:
            raise ValueError(f"a window is at least 1 frame, not {window}")
        self.window = window
        self._last: NDArray[np.uint8] | None = None
        self._same: NDArray[np.int32] = np.zeros(0, np.int32)
        self._right: NDArray[np.int32] = np.zeros(0, np.int32)
        self._sum = 0.0
        self._windows = 0

    def update(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Take in the next frame: two (H, W) uint8 masks, 255 = void in truth."""
        if truth.shape != predicted.shape:
            raise ValueError(
                f"truth and prediction must be of one size; got {truth.shape}, {predicted.shape}"
            )
        if self._last is None:
            self._same = np.zeros(truth.shape, np.int32)
            self._right = np.zeros(truth.shape, np.int32)
            self._last = truth
        counted = truth != VOID
        # For how many frames, this one included, each pixel has kept its class and been right.
        self._same = np.where(truth == self._last, self._same, np.int32(0)) + 1
        self._same[~counted] = 0
        self._right = np.where(counted & (truth == predicted), self._right + 1, np.int32(0))
        self._last = truth.copy()
        still = self._same >= self.window
        total = np.count_nonzero(still)
        if total:
            self._sum += np.count_nonzero(still & (self._right >= self.window)) / total
            self._windows += 1

    def value(self) -> float | None:
        """VC_C so far, 0 to 1; None before a window is full."""
        return self._sum / self._windows if self._windows else None
