"""What a device is good at: the number format and the memory layout that networks run in there."""

from __future__ import annotations

import torch
from torch import Tensor

from model.networks import Segmenter

__all__ = ["images_on", "network_on", "precision"]


def precision(device: torch.device) -> torch.autocast:
    """Return the context in which a network runs on a device.

    On CUDA that is bfloat16 where the card knows it: its range is that of float32, so losses need
    no scaling. Elsewhere everything stays float32.
    """
    fit = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fit)


def network_on(network: Segmenter, device: torch.device) -> Segmenter:
    """Move a network to a device, in place; on CUDA its channels go last, as tensor cores like."""
    if device.type != "cuda":
        return network.to(device)
    laid_out: Segmenter = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid_out


def images_on(images: Tensor, device: torch.device) -> Tensor:
    """Move (B, 3, H, W) images to a device, laid out as `network_on` lays out the network."""
    if device.type != "cuda":
        return images.to(device)
    return images.to(device, memory_format=torch.channels_last)
