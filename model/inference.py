"""A fine-tuned network's word on a frame: class probabilities, and a descriptor."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.batches import to_tensor, training_size
from model.devices import images_on, network_on, precision
from model.networks import Segmenter

__all__ = ["NetworkEvidence", "embed", "feature_map", "network_evidence", "predict"]


@torch.no_grad()
def predict(
    network: Segmenter,
    image: NDArray[np.uint8],
    *,
    max_pixels: int,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """Return a network's probabilities for an image.

    Args:
        network: The network, on `device`.
        image: (H, W, 3) uint8 RGB.
        max_pixels: A larger image is reduced to this for the network; the scores are enlarged.
        device: Where the network is.

    Returns:
        (K, H, W) float32, summing to 1 over the classes.
    """
    network.eval()
    device = torch.device(device)
    with precision(device):
        logits = network.logits(images_on(_prepare(image, max_pixels), device))
    return _probabilities(logits, image.shape)


def _probabilities(logits: torch.Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
    logits = logits.float()
    if logits.shape[2:] != shape[:2]:
        logits = F.interpolate(logits, size=shape[:2], mode="bilinear", align_corners=False)
    probabilities: NDArray[np.float32] = logits[0].softmax(dim=0).cpu().contiguous().numpy()
    return probabilities


def _prepare(image: NDArray[np.uint8], max_pixels: int) -> torch.Tensor:
    height, width = training_size(image.shape, max_pixels)
    if (height, width) != image.shape[:2]:
        image = np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    return to_tensor(image)[None]


def _array(features: torch.Tensor) -> NDArray[np.float32]:
    described: NDArray[np.float32] = features[0].float().cpu().contiguous().numpy()
    return described


class NetworkEvidence:
    """A network as the `Evidence` that `propagate` asks for each frame.

    Remembers the features of the frame it was asked about last: selection asks for them next.

    Args:
        network: A fine-tuned network.
        device: Where it is to run.
        max_pixels: As it was fine-tuned with (`FinetuneSettings.max_pixels`).
    """

    def __init__(
        self, network: Segmenter, device: str | torch.device = "cpu", *, max_pixels: int = 512 * 384
    ) -> None:
        self._device = torch.device(device)
        self._network = network_on(network, self._device)
        self._max_pixels = max_pixels
        self._last: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None

    @torch.no_grad()
    def __call__(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (K, H, W) float32 probabilities for an (H, W, 3) uint8 image."""
        self._network.eval()
        prepared = images_on(_prepare(image, self._max_pixels), self._device)
        with precision(self._device):
            logits, features = self._network.logits_and_features(prepared)
        self._last = (image, _array(features))
        return _probabilities(logits, image.shape)

    def feature_map(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what `feature_map` does, at no cost for the very array it was last asked about."""
        if self._last is not None and self._last[0] is image:
            return self._last[1]
        return feature_map(self._network, image, max_pixels=self._max_pixels, device=self._device)


def network_evidence(
    network: Segmenter, device: str | torch.device = "cpu", *, max_pixels: int = 512 * 384
) -> NetworkEvidence:
    """Make a network the evidence that `propagate` asks for each frame; see `NetworkEvidence`."""
    return NetworkEvidence(network, device, max_pixels=max_pixels)


@torch.no_grad()
def embed(
    network: Segmenter,
    image: NDArray[np.uint8],
    *,
    max_pixels: int = 512 * 384,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """Describe a frame by the network's features, averaged over its pixels (HVSA, Eq. 7).

    Returns:
        (C,) float32.
    """
    places = feature_map(network, image, max_pixels=max_pixels, device=device)
    return np.asarray(places.mean(axis=(1, 2)), dtype=np.float32)


@torch.no_grad()
def feature_map(
    network: Segmenter,
    image: NDArray[np.uint8],
    *,
    max_pixels: int = 512 * 384,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """Describe a frame place by place, by the network's features.

    Returns:
        (C, h, w) float32, smaller than the image.
    """
    network.eval()
    device = torch.device(device)
    with precision(device):
        features = network.features(images_on(_prepare(image, max_pixels), device))
    return _array(features)
