"""The pass over a clip that chains flow from its key frames and yields frames in order."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterator, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.blend import Blender, FrameResult
from model.chain import Chain, Link, Shelf, shelf
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.keyframes import KeyFrame, check_keys, read_frame
from model.settings import PropagationSettings

__all__ = ["Walk"]


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
        indices = list(self.masks)
        with shelf(self.settings.memory) as store:
            if any(index in wanted for index in range(indices[0])):
                yield from self._head(store, self._key(indices[0]), wanted)
            before: KeyFrame | None = None
            arrived: Chain | None = None
            for start, stop in pairwise(indices):
                if not any(index in wanted for index in range(start, stop + 1)):
                    before, arrived = None, None
                    continue
                before, after = before or self._key(start), self._key(stop)
                arrived = yield from self._stretch(store, before, after, wanted, arrived)
                before = after
            last = indices[-1]
            if any(index in wanted for index in range(last, self.length)):
                yield from self._tail(before or self._key(last), wanted, arrived)

    def _key(self, index: int) -> KeyFrame:
        return KeyFrame.prepare(index, self.masks[index], self.read(index), self.num_classes)

    def _head(self, store: Shelf, key: KeyFrame, wanted: Container[int]) -> Iterator[FrameResult]:
        """The frames before the first key frame: worked out backwards, yielded forwards."""
        for result in self._outward(key, range(key.index - 1, -1, -1), wanted):
            probabilities = result.probabilities.astype(np.float16)
            store.put(f"head-{result.index}", probabilities, result.confidence)
        for index in range(key.index):
            if index in wanted:
                kept, confidence = store.take(f"head-{index}")
                full: NDArray[np.float32] = kept.astype(np.float32)
                full /= full.sum(axis=0)
                yield FrameResult(index, full, confidence, is_key=False)

    def _tail(
        self, key: KeyFrame, wanted: Container[int], arrived: Chain | None
    ) -> Iterator[FrameResult]:
        """The last key frame and the frames after it."""
        if key.index in wanted:
            yield self._key_result(key, [] if arrived is None else [arrived])
        yield from self._outward(key, range(key.index + 1, self.length), wanted)

    def _outward(
        self, key: KeyFrame, indices: range, wanted: Container[int]
    ) -> Iterator[FrameResult]:
        """Go from one key frame away, each frame from it and from the frame before."""
        chain = Chain.start(key.index, self.shape)
        image = self.read(key.index)
        blender = Blender(self.settings, self._estimator)
        for index in indices:
            before, image = image, self.read(index)
            link, _ = Link.both(image, before, self._estimator)
            chain = chain.extend(link)
            if index in wanted or blender.recalls:
                result = blender.blend(index, image, [(key, chain)], link)
                if index in wanted:
                    yield result

    def _stretch(
        self,
        store: Shelf,
        before: KeyFrame,
        after: KeyFrame,
        wanted: Container[int],
        arrived: Chain | None,
    ) -> Generator[FrameResult, None, Chain]:
        """Yield `before` and the frames up to, not including, `after`.

        Args:
            store: Where the backward chain waits.
            before: The key frame that the stretch starts with.
            after: The key frame behind its end.
            wanted: The frames to yield.
            arrived: The chain from the last key frame to `before`.

        Returns:
            The chain from `before` to `after`.
        """
        back = self._shelve(store, before, after)
        if before.index in wanted:
            yield self._key_result(before, [back] if arrived is None else [arrived, back])
        chain = Chain.start(before.index, self.shape)
        blender = Blender(self.settings, self._estimator)
        for index in range(before.index + 1, after.index):
            chain = chain.extend(store.take_link(f"link-{index}"))
            other = store.take_chain(f"chain-{index}", after.index)
            if index in wanted:
                yield blender.blend(index, self.read(index), [(before, chain), (after, other)])
        return chain.extend(store.take_link(f"link-{after.index}"))

    def _shelve(self, store: Shelf, before: KeyFrame, after: KeyFrame) -> Chain:
        """Put away the chains to `after`, and the links back to `before`; return the last chain."""
        chain = Chain.start(after.index, self.shape)
        image = self.read(after.index)
        for index in range(after.index - 1, before.index - 1, -1):
            following, image = image, self.read(index)
            there, back = Link.both(image, following, self._estimator)
            chain = chain.extend(there)
            store.put_link(f"link-{index + 1}", back)
            if index > before.index:
                store.put_chain(f"chain-{index}", chain)
        return chain

    def _key_result(self, key: KeyFrame, chains: list[Chain]) -> FrameResult:
        """The key frame as labelled; its ignored pixels as the other key frames have them."""
        probabilities = np.moveaxis(key.onehot, 2, 0).astype(np.float32) / np.float32(255)
        confidence = key.labelled.astype(np.float32)
        if key.trust is not None and chains:
            others = [(self._key(chain.key), chain) for chain in chains]
            blender = Blender(self.settings, self._estimator)
            filled = blender.blend(key.index, self.read(key.index), others)
            np.copyto(probabilities, filled.probabilities, where=~key.labelled)
            np.copyto(confidence, filled.confidence, where=~key.labelled)
        return FrameResult(key.index, probabilities, confidence, is_key=True)
