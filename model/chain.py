"""Chains: flow from frame to neighbouring frame, strung together back to a key frame."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile, gettempdir
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from model.flow import FlowEstimator, forward_backward_confidence, round_trip_tolerance
from model.halves import halved, whole
from model.warp import compose, identity_map, sample

__all__ = ["Chain", "Link", "Shelf", "shelf"]

_DISK_SHARE = 4
"""One part in so many of what is free on the disk is room for files."""


@dataclass(frozen=True)
class Link:
    """What joins frame t to a neighbour s: where t's pixels are in s, and how sure that is.

    Attributes:
        flow: (H, W, 2) float32, t → s.
        confidence: (H, W) float32, the soft forward-backward check on t's pixels.
    """

    flow: NDArray[np.float32]
    confidence: NDArray[np.float32]

    @staticmethod
    def both(
        first: NDArray[np.uint8], second: NDArray[np.uint8], estimator: FlowEstimator
    ) -> tuple[Link, Link]:
        """Return the links first → second and second → first."""
        there = estimator.flow(first, second)
        back = estimator.flow(second, first)
        tolerance = round_trip_tolerance(there, back)
        return (
            Link(there, forward_backward_confidence(there, back, tolerance)),
            Link(back, forward_backward_confidence(back, there, tolerance)),
        )


@dataclass(frozen=True)
class Chain:
    """Where the pixels of a frame are in a key frame.

    Attributes:
        key: Index of the key frame.
        positions: (H, W, 2) float32, a position map frame → key frame.
        confidence: (H, W) float32, the product of the checks along the way.
    """

    key: int
    positions: NDArray[np.float32]
    confidence: NDArray[np.float32]

    @property
    def flow(self) -> NDArray[np.float32]:
        """(H, W, 2) float32: the positions as displacements."""
        out: NDArray[np.float32] = self.positions - identity_map(*self.confidence.shape)
        return out

    @classmethod
    def start(cls, key: int, shape: tuple[int, int]) -> Chain:
        """The chain of the key frame itself."""
        return cls(key, identity_map(*shape), np.ones(shape, np.float32))

    def extend(self, link: Link) -> Chain:
        """Add a frame at the end, joined by `link` to the frame this chain starts from."""
        ends = identity_map(*self.confidence.shape) + link.flow
        confidence = sample(self.confidence, ends) * link.confidence
        return Chain(self.key, compose(ends, self.positions), confidence)


class Shelf:
    """Arrays put away under a name; beyond a limit of memory they go to a nameless temporary file.

    The file is gone with the shelf or the process, however that ends. Chains and links are kept as
    float16: positions as displacements, which keeps them to within 1/16 pixel up to 128 pixels. One
    thread may put while another takes.

    Args:
        memory: Bytes that are kept in memory.
    """

    def __init__(self, memory: int) -> None:
        self._room = memory
        self._lock = Lock()
        self._kept: dict[str, tuple[NDArray[Any], ...]] = {}
        self._filing = Lock()
        self._file: BinaryIO | None = None
        self._end = 0
        self._filed: dict[str, tuple[int, list[tuple[tuple[int, ...], np.dtype[Any]]]]] = {}
        self._free: dict[int, list[int]] = {}

    def room(self) -> int:
        """Bytes that may be put away now: in memory, or in a file that takes a quarter of the
        disk's free space at most."""
        return max(self._room, shutil.disk_usage(gettempdir()).free // _DISK_SHARE)

    def put(self, name: str, *arrays: NDArray[Any]) -> None:
        """Put away arrays under one name."""
        size = sum(array.nbytes for array in arrays)
        with self._lock:
            if size <= self._room:
                self._room -= size
                self._kept[name] = arrays
                return
        with self._filing:
            if self._file is None:
                self._file = TemporaryFile(prefix="maskloop-chains-")  # noqa: SIM115
            free = self._free.get(size)
            start = free.pop() if free else self._end
            self._end = max(self._end, start + size)
            self._file.seek(start)
            for array in arrays:
                self._file.write(np.ascontiguousarray(array).data)
            self._filed[name] = start, [(array.shape, array.dtype) for array in arrays]

    def take(self, name: str) -> tuple[NDArray[Any], ...]:
        """Take back what was put, and free its room."""
        with self._lock:
            if name in self._kept:
                arrays = self._kept.pop(name)
                self._room += sum(array.nbytes for array in arrays)
                return arrays
        with self._filing:
            start, kinds = self._filed.pop(name)
            arrays = tuple(np.empty(shape, dtype) for shape, dtype in kinds)
            if self._file is not None:
                self._file.seek(start)
                for array in arrays:
                    self._file.readinto(array.data)  # type: ignore[attr-defined]
            self._free.setdefault(sum(array.nbytes for array in arrays), []).append(start)
        return arrays

    def close(self) -> None:
        """Let go of the file."""
        with self._filing:
            if self._file is not None:
                self._file.close()

    def put_link(self, name: str, link: Link) -> None:
        """Put away a link."""
        self.put(name, halved(link.flow), halved(link.confidence))

    def take_link(self, name: str) -> Link:
        """Take back a link."""
        flow, confidence = self.take(name)
        return Link(whole(flow), whole(confidence))

    def put_chain(self, name: str, chain: Chain) -> None:
        """Put away a chain, its positions as displacements."""
        self.put_link(name, Link(chain.flow, chain.confidence))

    def take_chain(self, name: str, key: int) -> Chain:
        """Take back a chain that leads to key frame `key`."""
        link = self.take_link(name)
        return Chain(key, identity_map(*link.confidence.shape) + link.flow, link.confidence)


@contextmanager
def shelf(memory: int) -> Iterator[Shelf]:
    """Give a `Shelf` that keeps up to `memory` bytes in memory, its file closed at the end."""
    with closing(Shelf(memory)) as store:
        yield store
