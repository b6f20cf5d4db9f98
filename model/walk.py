"""The pass over a clip that chains flow from its key frames and yields frames in order."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.blend import blend
from model.chain import Chain, Link, Shelf, shelf
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.keyframes import KeyFrame, check_keys, lab, read_frame

__all__ = ["FrameResult", "PropagationSettings", "Walk"]


@dataclass(frozen=True)
class PropagationSettings:
    """How propagation weighs its sources.

    Attributes:
        decay: τ, frames over which a key frame's word falls to 1/e.
        colour_sigma: σ, in units of CIE Lab.
        floor: ε, what is left to a source that both checks reject.
        evidence_range: Least and most share of the network's evidence in a pixel, before
            `evidence_weight`; between them the share is 1 − confidence.
        held_out: The most key frames that `held_out_evidence_weight` tries.
        memory: Bytes of chains kept in memory; what exceeds them goes to a temporary folder.
    """

    decay: float = 10.0
    colour_sigma: float = 6.0
    floor: float = 0.02
    evidence_range: tuple[float, float] = (0.1, 0.6)
    held_out: int = 4
    memory: int = 256 * 2**20


@dataclass(frozen=True)
class FrameResult:
    """One frame's labels.

    Attributes:
        index: The frame.
        probabilities: (K, H, W) float32, summing to 1 over the classes.
        confidence: (H, W) float32, 0 to 1: how far the best source can be trusted. 1 where a
            person labelled the pixel.
        is_key: Whether a person labelled the frame.
    """

    index: int
    probabilities: NDArray[np.float32]
    confidence: NDArray[np.float32]
    is_key: bool

    @property
    def mask(self) -> NDArray[np.uint8]:
        """(H, W) uint8: the most probable class."""
        return np.asarray(self.probabilities.argmax(axis=0), dtype=np.uint8)


class Walk:
    """A clip with its key frames, walked a stretch between two key frames at a time.

    In each stretch the chain to the key frame after it is built backwards and put on a shelf,
    with the links that the chain to the key frame before it needs; then the frames are yielded
    forwards. Each pair of neighbours is matched once, each frame read at most twice.

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        estimator: Optical flow.
        settings: How sources are weighed.

    Raises:
        ValueError: See `model.keyframes.check_keys`.
    """

    def __init__(
        self,
        source: FrameSource,
        keys: Mapping[int, NDArray[np.uint8]],
        num_classes: int,
        estimator: FlowEstimator,
        settings: PropagationSettings,
    ) -> None:
        self.source = source
        self.length = len(source)
        self.masks = check_keys(keys, num_classes, self.length)
        height, width = next(iter(self.masks.values())).shape
        self.shape = (height, width)
        self.num_classes = num_classes
        self.settings = settings
        self._estimator = estimator

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index`, checked to be of the masks' size."""
        return read_frame(self.source, index, self.shape)

    def frames(self, wanted: Container[int]) -> Iterator[FrameResult]:
        """Yield the wanted frames in order; stretches without any are passed over."""
        ends: list[int | None] = [None, *self.masks, None]
        before: KeyFrame | None = None
        arrived: Chain | None = None
        with shelf(self.settings.memory) as store:
            for start, stop in pairwise(ends):
                first = 0 if start is None else start
                last = self.length if stop is None else stop
                if not any(index in wanted for index in range(first, last + 1)):
                    before, arrived = None, None
                    continue
                if before is None and start is not None:
                    before = self._key(start)
                after = None if stop is None else self._key(stop)
                arrived = yield from self._stretch(store, before, after, wanted, arrived)
                before = after

    def _key(self, index: int) -> KeyFrame:
        return KeyFrame.prepare(index, self.masks[index], self.read(index), self.num_classes)

    def _stretch(
        self,
        store: Shelf,
        before: KeyFrame | None,
        after: KeyFrame | None,
        wanted: Container[int],
        arrived: Chain | None,
    ) -> Generator[FrameResult, None, Chain | None]:
        """Yield `before` and the frames up to, not including, `after`.

        Args:
            store: Where the backward chain waits.
            before: The key frame that the stretch starts with, if any.
            after: The key frame behind its end, if any.
            wanted: The frames to yield.
            arrived: The chain from the last key frame to `before`.

        Returns:
            The chain from `before` to `after`.
        """
        stop = self.length if after is None else after.index
        back = None if after is None else self._shelve(store, before, after)
        chain = None
        if before is not None:
            if before.index in wanted:
                yield self._key_result(before, [c for c in (arrived, back) if c is not None])
            chain = Chain.start(before.index, self.shape)
        previous = None if before is None or after is not None else self.read(before.index)
        for index in range(0 if before is None else before.index + 1, stop):
            image = self.read(index)
            sources: list[tuple[KeyFrame, Chain]] = []
            if before is not None and chain is not None:
                if previous is not None:
                    link, _ = Link.both(image, previous, self._estimator)
                    previous = image
                else:
                    link = store.take_link(f"link-{index}")
                chain = chain.extend(link)
                sources.append((before, chain))
            if after is not None:
                sources.append((after, store.take_chain(f"chain-{index}", after.index)))
            if index in wanted:
                yield self._blended(index, image, sources)
        if after is None or chain is None:
            return None
        return chain.extend(store.take_link(f"link-{after.index}"))

    def _shelve(self, store: Shelf, before: KeyFrame | None, after: KeyFrame) -> Chain | None:
        """Put away the chains to `after`, and the links back to `before`; return the last chain."""
        chain = Chain.start(after.index, self.shape)
        image = self.read(after.index)
        for index in range(after.index - 1, -1 if before is None else before.index - 1, -1):
            following, image = image, self.read(index)
            there, back = Link.both(image, following, self._estimator)
            chain = chain.extend(there)
            if before is not None:
                store.put_link(f"link-{index + 1}", back)
            if before is None or index > before.index:
                store.put_chain(f"chain-{index}", chain)
        return chain

    def _blended(
        self, index: int, image: NDArray[np.uint8], sources: list[tuple[KeyFrame, Chain]]
    ) -> FrameResult:
        settings = self.settings
        probabilities, confidence = blend(
            index,
            lab(image),
            sources,
            decay=settings.decay,
            colour_sigma=settings.colour_sigma,
            floor=settings.floor,
        )
        return FrameResult(index, probabilities, confidence, is_key=False)

    def _key_result(self, key: KeyFrame, chains: list[Chain]) -> FrameResult:
        """The key frame as labelled; its ignored pixels as the other key frames have them."""
        probabilities = np.moveaxis(key.onehot, 2, 0).astype(np.float32) / np.float32(255)
        confidence = key.labelled.astype(np.float32)
        if key.trust is not None and chains:
            others = [(self._key(chain.key), chain) for chain in chains]
            filled = self._blended(key.index, self.read(key.index), others)
            np.copyto(probabilities, filled.probabilities, where=~key.labelled)
            np.copyto(confidence, filled.confidence, where=~key.labelled)
        return FrameResult(key.index, probabilities, confidence, is_key=True)
