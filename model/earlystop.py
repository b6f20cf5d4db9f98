"""Labelled frames that training does not see: they tell when it is worth no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.batches import to_tensor
from model.devices import images_on, precision
from model.metrics.regions import confusion, mean_iou
from model.networks import Segmenter

__all__ = ["HeldOut"]

_RISE = 0.002
"""What a gain in mIoU must be above to count as one."""


class HeldOut:
    """Watches the mIoU of held-out frames along a training.

    Args:
        read: Gives a frame at the size the network trains at, (H, W, 3) uint8.
        masks: Frame index → (H', W') uint8 mask of any size, 255 = ignore.
        num_classes: K.
        patience: So many looks without a rise are enough; at least 1.

    Attributes:
        best: The highest mIoU seen; −1 before the first look.
        stale: Looks since it rose.
    """

    def __init__(
        self,
        read: Callable[[int], NDArray[np.uint8]],
        masks: Mapping[int, NDArray[np.uint8]],
        num_classes: int,
        patience: int,
    ) -> None:
        self._read = read
        self._masks = dict(masks)
        self._num_classes = num_classes
        self._patience = patience
        self.best = -1.0
        self.stale = 0

    @torch.no_grad()
    def look(self, network: Segmenter, device: torch.device) -> float:
        """Score the frames by the network as it is; it is left in training mode.

        Returns:
            Their mIoU; 0 where nothing is labelled.
        """
        network.eval()
        counts = np.zeros((self._num_classes, self._num_classes + 1), np.int64)
        for index, mask in self._masks.items():
            image = self._read(index)
            size = image.shape[1::-1]
            truth = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
            with precision(device):
                logits = network.logits(images_on(to_tensor(image)[None], device))
            predicted = logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
            counts += confusion(np.asarray(truth, np.uint8), predicted, self._num_classes)
        network.train()
        score = mean_iou(counts) or 0.0
        if score > self.best + _RISE:
            self.best, self.stale = score, 0
        else:
            self.stale += 1
        return score

    @property
    def enough(self) -> bool:
        """Whether the mIoU has not risen for so many looks."""
        return self.stale >= self._patience
