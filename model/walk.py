"""The pass over a clip that chains flow from its key frames and yields frames in order."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.ahead import run_ahead
from model.blend import Blender, FrameResult
from model.chain import Chain, Link, Shelf, shelf
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.flowstore import FlowStore
from model.keyframes import KeyFrame, check_keys, read_frame
from model.settings import PropagationSettings

__all__ = ["Walk"]

_LINKS_AHEAD = 3
"""Links made ahead while frames are blended, going outwards from a key frame."""


class Walk:
    """A clip with its key frames, walked a stretch between two key frames at a time.

    In each stretch the chain to the key frame after it is built backwards and put on a shelf,
    with the links that the chain to the key frame before it needs; then the frames are yielded
    forwards, while a thread builds the next stretch. Each pair of neighbours is matched once, each
    frame read once.

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        estimator: Optical flow; a `FlowStore` spares what another pass has worked out.
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
        if not isinstance(estimator, FlowStore):
            estimator = FlowStore(estimator, limit=0)
        self._flows = estimator

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index`, checked to be of the masks' size."""
        return read_frame(self.source, index, self.shape)

    def frames(self, wanted: Container[int]) -> Iterator[FrameResult]:
        """Yield the wanted frames in order; stretches without any are passed over."""
        indices = list(self.masks)
        stretches = [
            (start, stop)
            for start, stop in pairwise(indices)
            if any(index in wanted for index in range(start, stop + 1))
        ]
        with shelf(self.settings.memory) as store:
            if any(index in wanted for index in range(indices[0])):
                yield from self._head(store, self._key(indices[0]), wanted)
            last: _Stretch | None = None
            with closing(run_ahead(self._stretches(store, stretches, wanted), 1)) as built:
                for stretch in built:
                    follows = last is not None and last.after.index == stretch.before.index
                    yield from self._stretch(store, stretch, wanted, last if follows else None)
                    last = stretch
            if any(index in wanted for index in range(indices[-1], self.length)):
                if last is None or last.after.index != indices[-1]:
                    last = None
                yield from self._tail(last.after if last else self._key(indices[-1]), wanted, last)

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
        self, key: KeyFrame, wanted: Container[int], last: _Stretch | None
    ) -> Iterator[FrameResult]:
        """The last key frame and the frames after it."""
        if key.index in wanted:
            yield self._key_result(key, [] if last is None else [last.arrived()])
        yield from self._outward(key, range(key.index + 1, self.length), wanted)

    def _outward(
        self, key: KeyFrame, indices: range, wanted: Container[int]
    ) -> Iterator[FrameResult]:
        """Go from one key frame away, each frame from it and from the frame before."""
        chain = Chain.start(key.index, self.shape)
        blender = Blender(self.settings, self._flows)
        with closing(run_ahead(self._links(key, indices), _LINKS_AHEAD)) as links:
            for index, image, link in links:
                chain = chain.extend(link)
                if index in wanted or blender.recalls:
                    result = blender.blend(index, image, [(key, chain)], link)
                    if index in wanted:
                        yield replace(result, image=image)

    def _links(
        self, key: KeyFrame, indices: range
    ) -> Iterator[tuple[int, NDArray[np.uint8], Link]]:
        """Each frame with the link to the one before, going outwards from a key frame."""
        before = key.image
        for index in indices:
            image = self.read(index)
            known = {index: image, index - indices.step: before}
            there, back = self._flows.links(min(known), known.__getitem__)
            yield index, image, back if indices.step > 0 else there
            before = image

    def _stretches(
        self, store: Shelf, stretches: list[tuple[int, int]], wanted: Container[int]
    ) -> Iterator[_Stretch]:
        """Build one stretch after another."""
        after: KeyFrame | None = None
        for start, stop in stretches:
            before = after if after is not None and after.index == start else self._key(start)
            after = self._key(stop)
            yield _Stretch(before, after, self._shelve(store, before, after, wanted))

    def _stretch(
        self,
        store: Shelf,
        stretch: _Stretch,
        wanted: Container[int],
        last: _Stretch | None,
    ) -> Iterator[FrameResult]:
        """Yield the key frame that a stretch starts with, and the frames up to the next one.

        Args:
            store: Where the backward chain waits.
            stretch: The stretch; its forward chain is complete when all is yielded.
            wanted: The frames to yield.
            last: The stretch that ends with this one's first key frame, if there is one.
        """
        before, after = stretch.before, stretch.after
        if before.index in wanted:
            others = [] if last is None else [last.arrived()]
            yield self._key_result(before, [*others, (after, stretch.back)])
        chain = Chain.start(before.index, self.shape)
        blender = Blender(self.settings, self._flows)
        for index in range(before.index + 1, after.index):
            chain = chain.extend(store.take_link(f"link-{index}"))
            other = store.take_chain(f"chain-{index}", after.index)
            if index in wanted:
                (image,) = store.take(f"frame-{index}")
                result = blender.blend(index, image, [(before, chain), (after, other)])
                yield replace(result, image=image)
        stretch.forth = chain.extend(store.take_link(f"link-{after.index}"))

    def _shelve(
        self, store: Shelf, before: KeyFrame, after: KeyFrame, wanted: Container[int]
    ) -> Chain:
        """Put away chains to `after`, links back and wanted frames; return the last chain."""
        frames = {before.index: before.image, after.index: after.image}

        def read(index: int) -> NDArray[np.uint8]:
            if index not in frames:
                frames[index] = self.read(index)
            return frames[index]

        chain = Chain.start(after.index, self.shape)
        for index in range(after.index - 1, before.index - 1, -1):
            there, back = self._flows.links(index, read)
            chain = chain.extend(there)
            store.put_link(f"link-{index + 1}", back)
            frames.pop(index + 1, None)
            if index > before.index:
                store.put_chain(f"chain-{index}", chain)
                if index in wanted:
                    store.put(f"frame-{index}", read(index))
        return chain

    def _key_result(self, key: KeyFrame, others: list[tuple[KeyFrame, Chain]]) -> FrameResult:
        """The key frame as labelled; its ignored pixels as the other key frames have them."""
        probabilities = np.moveaxis(key.onehot, 2, 0).astype(np.float32) / np.float32(255)
        confidence = key.labelled.astype(np.float32)
        if key.trust is not None and others:
            blender = Blender(self.settings, self._flows)
            filled = blender.blend(key.index, key.image, others)
            np.copyto(probabilities, filled.probabilities, where=~key.labelled)
            np.copyto(confidence, filled.confidence, where=~key.labelled)
        return FrameResult(key.index, probabilities, confidence, is_key=True, image=key.image)


@dataclass
class _Stretch:
    """Two key frames one after the other, and the chains between them.

    Attributes:
        before: The first.
        after: The second.
        back: From `before` to `after`.
        forth: From `after` to `before`, once the stretch has been walked.
    """

    before: KeyFrame
    after: KeyFrame
    back: Chain
    forth: Chain | None = None

    def arrived(self) -> tuple[KeyFrame, Chain]:
        """The first key frame, and the chain to it from the second."""
        if self.forth is None:
            raise RuntimeError(f"the stretch from frame {self.before.index} was not walked")
        return self.before, self.forth
