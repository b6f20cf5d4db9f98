"""Training that was interrupted goes on from its last epoch: its state, kept in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import CheckpointError, read_archive, write_archive
from model.networks import Segmenter

__all__ = ["TrainingFile", "fingerprint"]


def fingerprint(network: Segmenter, labels: Mapping[int, NDArray[np.uint8]], settings: str) -> str:
    """Tell one training from another: by the network it starts from, its labels and settings.

    Args:
        network: Before its first step.
        labels: Frame index → mask.
        settings: Whatever else it depends on, as text.

    Returns:
        Hexadecimal digits.
    """
    digest = hashlib.sha256(settings.encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    for index in sorted(labels):
        digest.update(f"{index} {labels[index].shape}".encode())
        digest.update(np.ascontiguousarray(labels[index]).tobytes())
    return digest.hexdigest()


class TrainingFile:
    """Where a training's state is kept, to be written every epoch and taken up once.

    Args:
        path: The file; it need not exist.
        training: The training's `fingerprint`; the state of another is not taken up.
    """

    def __init__(self, path: Path, training: str) -> None:
        self._path = path
        self._training = training

    def write(
        self,
        network: Segmenter,
        optimizer: torch.optim.Optimizer,
        chance: Mapping[str, Any],
        **counts: float,
    ) -> None:
        """Keep the state: weights, optimiser, chance (JSON values), and counts by name."""
        write_archive(
            self._path,
            {
                "training": self._training,
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "torch": torch.get_rng_state(),
                "chance": json.dumps(dict(chance)),
                "counts": dict(counts),
            },
        )

    def take_up(
        self, network: Segmenter, optimizer: torch.optim.Optimizer
    ) -> tuple[dict[str, Any], dict[str, float]] | None:
        """Put network and optimiser where the training stopped.

        Returns:
            The chance and the counts that were kept; None (and nothing is changed) where there
            is no state, a damaged one, or one of another training.
        """
        try:
            content = read_archive(self._path)
            if content["training"] != self._training:
                return None
            chance: dict[str, Any] = json.loads(content["chance"])
            counts: dict[str, float] = dict(content["counts"])
            network.load_state_dict(content["network"])
            optimizer.load_state_dict(content["optimizer"])
            torch.set_rng_state(content["torch"].cpu())
        except (CheckpointError, KeyError, TypeError):
            return None
        return chance, counts
