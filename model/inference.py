"""A fine-tuned network's word on a frame: class probabilities, and features."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.batches import to_tensor, training_size
from model.devices import images_on, network_on, precision
from model.networks import Segmenter

__all__ = ["NetworkEvidence"]


class NetworkEvidence:
    """A network as the `Evidence` that `propagate` asks for each frame.

    Remembers the features of the two frames it was asked about last: selection asks for them next,
    and masks come a frame late (`model.steady`).

    Args:
        network: A fine-tuned network.
        device: Where it is to run.
        max_pixels: As it was fine-tuned with (`FinetuneSettings.max_pixels`): larger images are
            reduced to this for the network, and its scores enlarged.
    """

    def __init__(
        self, network: Segmenter, device: str | torch.device = "cpu", *, max_pixels: int = 512 * 384
    ) -> None:
        self._device = torch.device(device)
        self._network = network_on(network, self._device)
        self._max_pixels = max_pixels
        self._last: deque[tuple[NDArray[np.uint8], NDArray[np.float32]]] = deque(maxlen=2)

    @torch.no_grad()
    def __call__(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (K, H, W) float32 probabilities for an (H, W, 3) uint8 image."""
        prepared = self._prepare(image)
        with precision(self._device):
            logits, features = self._network.logits_and_features(prepared)
        self._last.append((image, _array(features)))
        logits = logits.float()
        if logits.shape[2:] != image.shape[:2]:
            logits = F.interpolate(
                logits, size=image.shape[:2], mode="bilinear", align_corners=False
            )
        return _array(logits.softmax(dim=1))

    @torch.no_grad()
    def feature_map(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Describe a frame place by place, by the network's features (HVSA, Eq. 7, their mean).

        Costs nothing for the very arrays it was last asked about.

        Returns:
            (C, h, w) float32, smaller than the image.
        """
        for known, features in self._last:
            if known is image:
                return features
        prepared = self._prepare(image)
        with precision(self._device):
            features = _array(self._network.features(prepared))
        self._last.append((image, features))
        return features

    def _prepare(self, image: NDArray[np.uint8]) -> torch.Tensor:
        self._network.eval()
        height, width = training_size(image.shape, self._max_pixels)
        if (height, width) != image.shape[:2]:
            image = np.asarray(
                cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8
            )
        return images_on(to_tensor(image)[None], self._device)


def _array(batch: torch.Tensor) -> NDArray[np.float32]:
    """The only item of a batch."""
    item: NDArray[np.float32] = batch[0].float().cpu().contiguous().numpy()
    return item
