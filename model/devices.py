"""Which device networks run on, and the number format and the memory layout that it is good at."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from model.networks import Segmenter

__all__ = ["check_device", "has_amx", "images_on", "network_on", "precision"]

_CPUINFO = Path("/proc/cpuinfo")
"""Where Linux says what a processor can do."""

_AMX = {"amx_bf16", "amx_tile"}
"""What it calls the units that multiply matrices of bfloat16."""


def check_device(name: str) -> torch.device:
    """Return the device of this name, if networks can run on it here.

    There is no falling back: what is meant to run on a card would take many times as long without
    one, and nobody would be told.

    Args:
        name: "cpu", "cuda" or, where there are several cards, "cuda:1", …

    Raises:
        ValueError: There is no such device, with the reason and what to set instead.
    """
    if name == "cpu":
        return torch.device(name)
    match = re.fullmatch(r"cuda(?::([0-9]{1,3}))?", name)
    if match is None:
        raise ValueError(f"the device must be cpu, cuda, or cuda:1 and so on, not {name!r}")
    if torch.version.cuda is None and torch.version.hip is None:
        raise ValueError(
            f"the device is {name!r}, but this PyTorch ({torch.__version__}) is built without"
            " CUDA; use cpu, or install a build of torch with CUDA"
        )
    if not torch.cuda.is_available():
        raise ValueError(
            f"the device is {name!r}, but PyTorch finds no CUDA card; check that nvidia-smi lists"
            " one here (a container needs --gpus all), or use cpu"
        )
    count = torch.cuda.device_count()
    if match[1] is not None and int(match[1]) >= count:
        raise ValueError(
            f"the device is {name!r}, but the cards here are"
            f" {', '.join(f'cuda:{number}' for number in range(count))}"
        )
    return torch.device(name)


def precision(device: torch.device) -> torch.autocast:
    """Return the context in which a network runs on a device.

    That is bfloat16 on CUDA where the card knows it, and on a processor that has units for it
    (AMX): its range is that of float32, so losses need no scaling. Elsewhere everything stays
    float32; without such units bfloat16 takes a processor longer.
    """
    if device.type == "cuda":
        fit = torch.cuda.is_bf16_supported()
    else:
        fit = device.type == "cpu" and has_amx()
    return torch.autocast(device.type, torch.bfloat16, enabled=fit)


@lru_cache(maxsize=1)
def has_amx() -> bool:
    """Whether this processor has units that multiply matrices of bfloat16, and PyTorch uses them.

    PyTorch has no public answer in the versions that are supported, so Linux is asked; False on
    other systems.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return flags is not None and _AMX.issubset(flags[1].split())


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
