"""Fine-tuned networks on disk."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from model.networks import NetworkError, Segmenter, build

__all__ = [
    "CheckpointError",
    "load_checkpoint",
    "read_archive",
    "save_checkpoint",
    "write_archive",
]

_FORMAT = 1

_DAMAGE = (
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged archive raises."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the reason."""


def save_checkpoint(
    path: str | Path, network: Segmenter, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a network and what is known of it, beside `path` first and then renamed into place.

    Whoever reads `path` finds the old file or the new one, never a part of one.

    Args:
        path: The file; its folder is made where it is missing.
        network: The network; its weights are stored as on the CPU.
        metadata: JSON values.

    Raises:
        CheckpointError: `metadata` is not JSON, or the file cannot be written.
    """
    path = Path(path)
    try:
        described = json.dumps(dict(metadata or {}))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the metadata must be JSON values ({error})") from error
    content = {
        "format": _FORMAT,
        "network": network.name,
        "num_classes": network.num_classes,
        "options": json.dumps(dict(network.options())),
        "state": {name: value.detach().cpu() for name, value in network.state_dict().items()},
        "metadata": described,
        "lowered": list(network.lowered),
    }
    write_archive(path, content)


def write_archive(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values with `torch.save`, beside `path` and then renamed into place.

    Raises:
        CheckpointError: The file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            torch.save(dict(content), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: cannot be written ({error})") from error
    finally:
        beside.unlink(missing_ok=True)


def load_checkpoint(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[Segmenter, dict[str, Any]]:
    """Read a network that `save_checkpoint` wrote. Nothing in the file is executed.

    Returns:
        The network, ready to predict, and the metadata.

    Raises:
        CheckpointError: The file is missing, damaged, of another format, or of a network that
            is not installed.
    """
    path = Path(path)
    content = read_archive(path, device)
    try:
        if content["format"] != _FORMAT:
            raise CheckpointError(
                f"{path}: is of format {content['format']}, and this version reads {_FORMAT};"
                " fine-tune anew"
            )
        options = json.loads(content["options"])
        metadata: dict[str, Any] = json.loads(content["metadata"])
        network = build(content["network"], content["num_classes"], **options)
        network.load_state_dict(content["state"])
        network.lowered = _lowered(content, network.num_classes)
    except NetworkError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: does not hold a network as Maskloop writes it") from error
    return network.to(device).eval(), metadata


def _lowered(content: Mapping[str, Any], num_classes: int) -> tuple[float, ...]:
    """What the biases carry (`Segmenter.lower`); nothing in files from before there was such."""
    lowered = tuple(float(value) for value in content.get("lowered", ()))
    if lowered and len(lowered) != num_classes:
        raise ValueError(f"{len(lowered)} values for {num_classes} classes")
    return lowered


def read_archive(path: Path, device: str | torch.device = "cpu") -> Any:
    """Read what `write_archive` wrote. Nothing in the file is executed.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        # torch.load itself does not compare the checksums, and so would read a damaged weight.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise EOFError(damaged)
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such checkpoint") from None
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: is damaged or no checkpoint; the one before it can be used instead"
        ) from error
