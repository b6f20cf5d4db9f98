"""Chains: flow from frame to neighbouring frame, strung together back to a key frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from model.flow import FlowEstimator, forward_backward_confidence
from model.warp import compose, identity_map, sample

__all__ = ["Chain", "Link", "Shelf", "shelf"]


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
        return (
            Link(there, forward_backward_confidence(there, back)),
            Link(back, forward_backward_confidence(back, there)),
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
    """Arrays put away under a name; beyond a limit of memory they go to files of a folder.

    Arrays are kept as float16: positions as displacements, which keeps them to within 1/16 pixel
    up to 128 pixels.
    """

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder = folder
        self._room = memory
        self._kept: dict[str, tuple[NDArray[np.float16], ...]] = {}

    def put(self, name: str, vectors: NDArray[np.float32], confidence: NDArray[np.float32]) -> None:
        """Put away (H, W, 2) and (H, W) arrays."""
        arrays = (vectors.astype(np.float16), confidence.astype(np.float16))
        size = sum(array.nbytes for array in arrays)
        if size <= self._room:
            self._room -= size
            self._kept[name] = arrays
        else:
            for part, array in zip("vc", arrays, strict=True):
                np.save(self._folder / f"{name}-{part}.npy", array)

    def take(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Take back what was put, and free its room."""
        arrays = self._kept.pop(name, None)
        if arrays is not None:
            self._room += sum(array.nbytes for array in arrays)
        else:
            files = [self._folder / f"{name}-{part}.npy" for part in "vc"]
            arrays = tuple(np.load(file) for file in files)
            for file in files:
                file.unlink()
        return arrays[0].astype(np.float32), arrays[1].astype(np.float32)

    def put_link(self, name: str, link: Link) -> None:
        """Put away a link."""
        self.put(name, link.flow, link.confidence)

    def take_link(self, name: str) -> Link:
        """Take back a link."""
        return Link(*self.take(name))

    def put_chain(self, name: str, chain: Chain) -> None:
        """Put away a chain, its positions as displacements."""
        identity = identity_map(*chain.confidence.shape)
        self.put(name, chain.positions - identity, chain.confidence)

    def take_chain(self, name: str, key: int) -> Chain:
        """Take back a chain that leads to key frame `key`."""
        displacement, confidence = self.take(name)
        return Chain(key, identity_map(*confidence.shape) + displacement, confidence)


@contextmanager
def shelf(memory: int) -> Iterator[Shelf]:
    """Give a `Shelf` that keeps up to `memory` bytes, its folder removed at the end."""
    with TemporaryDirectory(prefix="maskloop-chains-") as folder:
        yield Shelf(Path(folder), memory)
