"""Fine-tuning on several GPUs: one process for each, as `torchrun` starts them.

Every process draws batches of its own; gradients are averaged (DistributedDataParallel), so all
take the same step. The first process decides for all: how many steps there is time for, and when
to stop.

`torchrun` tells a process its place in environment variables and no other way, so this module
reads them (`WORLD_SIZE`, `LOCAL_RANK`; `torch.distributed` the rest).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model.networks import Segmenter

__all__ = ["Crew", "Place", "joined"]


@dataclass(frozen=True)
class Place:
    """A process among those that `torchrun` started.

    Attributes:
        rank: Its number, from 0.
        size: How many there are.
        device: Where its network runs.
    """

    rank: int
    size: int
    device: str

    @property
    def first(self) -> bool:
        """Whether this is the process that reports and saves."""
        return self.rank == 0


@contextmanager
def joined() -> Iterator[Place]:
    """Join the processes that `torchrun` started, for as long as the context lasts.

    Started without it, the process is alone, and nothing is joined.

    Yields:
        This process's place.
    """
    cuda = torch.cuda.is_available()
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    device = f"cuda:{local}" if cuda else "cpu"
    if size == 1:
        yield Place(0, 1, device)
        return
    if cuda:
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Place(dist.get_rank(), size, device)
    finally:
        dist.destroy_process_group()


class Crew:
    """The processes that train one network together; a single one where none were joined."""

    def __init__(self, device: torch.device) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.size = dist.get_world_size() if together else 1
        self._device = device

    @property
    def first(self) -> bool:
        """Whether this process is the one that keeps and reports."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """Return this process's own seed; the first one's is `seed`."""
        return seed + 1_000_003 * self.rank

    def wrap(self, network: Segmenter) -> nn.Module:
        """Return what is called for logits, so that the gradients of all are averaged."""
        if self.size == 1:
            return network
        there = [self._device.index] if self._device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=there)

    def all(self, agreed: Tensor) -> bool:
        """Whether all processes say so; a scalar bool of each."""
        if self.size == 1:
            return bool(agreed)
        votes = agreed.to(self._device, torch.int32)
        dist.all_reduce(votes, dist.ReduceOp.MIN)
        return bool(votes)

    def decided(self, number: int) -> int:
        """Return the first process's number."""
        if self.size == 1:
            return number
        told = torch.tensor(number, dtype=torch.int64, device=self._device)
        dist.broadcast(told, src=0)
        return int(told)
