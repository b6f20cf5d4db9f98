"""The pass over a clip that chains flow from its key frames and yields frames in order."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from model.ahead import run_ahead, work_ahead
from model.blend import Blender, FrameResult
from model.chain import Chain, Shelf, shelf
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.flowstore import FlowStore
from model.keyframes import IGNORE, KeyFrame, check_keys, read_frame
from model.outward import Outward
from model.settings import PropagationSettings
from model.sparse import complete, fade, faded, merge

__all__ = ["GAPS", "Walk", "others_about"]

_THROUGH = 8
"""Key frames labelled in part through which the word of others comes to what is wanted."""

GAPS = 0.1
"""Share without a label above which a key frame is completed from others; what is less is void, or
forgotten, and not worth the time."""

_STRETCHES_AHEAD = 1

_BLENDED_AT_ONCE = 2
"""Frames between key frames that are blended at once."""


def others_about(keys: Mapping[int, NDArray[np.uint8]], index: int) -> dict[int, NDArray[np.uint8]]:
    """The key frames that a `Walk` without key frame `index` labels that frame from.

    There are so many at most, however many key frames the clip has.

    Args:
        keys: Frame index → (H, W) uint8 mask, 255 = ignore; each with a label.
        index: The frame to do without.
    """
    before = [key for key in sorted(keys) if key < index]
    after = [key for key in sorted(keys) if key > index]
    near = before[-_THROUGH - 1 :] + after[: _THROUGH + 1]
    return {key: keys[key] for key in near}


class Walk:
    """A clip with its key frames, walked a stretch between two key frames at a time.

    In each stretch the chain to the key frame after it is built backwards and put on a shelf,
    with the links that the chain to the key frame before it needs; then the frames are yielded
    forwards, two blended at once, while a thread builds the next stretch
    (`PropagationSettings.ahead`). Each pair of neighbours is matched once, each frame read once.
    Where key frames are labelled in part, the flow between them is followed once in each direction
    before that, to complete them (`model.sparse`).

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        estimator: Optical flow; a `FlowStore` spares what another pass has worked out.
        settings: How sources are weighed.
        correct: Improves on what key frames say of a frame that is none; outwards of the key
            frames, the frames that follow start from what it says.

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
        correct: Callable[[FrameResult], FrameResult] | None = None,
    ) -> None:
        self.source = source
        self.length = len(source)
        self.masks = check_keys(keys, num_classes, self.length)
        self._partial = {
            index for index, mask in self.masks.items() if (mask == IGNORE).mean() > GAPS
        }
        height, width = next(iter(self.masks.values())).shape
        self.shape = (height, width)
        self.num_classes = num_classes
        self.settings = settings
        if not isinstance(estimator, FlowStore):
            estimator = FlowStore(estimator, limit=0)
        self._flows = estimator
        self._correct = correct

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index`, checked to be of the masks' size."""
        return read_frame(self.source, index, self.shape)

    def frames(self, wanted: Container[int]) -> Generator[FrameResult, None, None]:
        """Yield the wanted frames in order; stretches without any are passed over."""
        indices = list(self.masks)
        stretches = [
            (start, stop)
            for start, stop in pairwise(indices)
            if any(index in wanted for index in range(start, stop + 1))
        ]
        with shelf(self.settings.memory) as store:
            if self._partial:
                self._complete(store, wanted)
            if any(index in wanted for index in range(indices[0])):
                yield from self._outward(self._key(store, indices[0])).before(store, wanted)
            last: _Stretch | None = None
            depth = _STRETCHES_AHEAD if self.settings.ahead else 0
            coming = self._stretches(store, stretches, wanted)
            with closing(run_ahead(coming, depth)) as built:
                for stretch in built:
                    follows = last is not None and last.after.index == stretch.before.index
                    yield from self._stretch(store, stretch, wanted, last if follows else None)
                    last = stretch
            if any(index in wanted for index in range(indices[-1], self.length)):
                if last is None or last.after.index != indices[-1]:
                    last = None
                final = last.after if last else self._key(store, indices[-1])
                yield from self._tail(final, wanted, last)

    def _key(self, store: Shelf, index: int) -> KeyFrame:
        """A key frame, completed where it is labelled in part."""
        key = self._prepare(index)
        return self._take(store, f"key-{index}", key, keep=True) if index in self._partial else key

    def _prepare(self, index: int) -> KeyFrame:
        return KeyFrame.prepare(index, self.masks[index], self.read(index), self.num_classes)

    def _complete(self, store: Shelf, wanted: Container[int]) -> None:
        """Put away key frames labelled in part, completed from those after and before them."""
        indices = list(self.masks)
        used = [
            place
            for place, (start, stop) in enumerate(pairwise([0, *indices, self.length - 1]))
            if any(index in wanted for index in range(start, stop + 1))
        ]
        if not used:
            return
        near = indices[max(used[0] - 1 - _THROUGH, 0) : used[-1] + 1 + _THROUGH]
        for index, key in self._passed_on(near[::-1]):
            if index in self._partial:
                self._put(store, f"later-{index}", key)
        for index, key in self._passed_on(near):
            if index in self._partial:
                later = self._take(store, f"later-{index}", key)
                self._put(store, f"key-{index}", merge(key, later))

    def _passed_on(self, indices: Sequence[int]) -> Iterator[tuple[int, KeyFrame]]:
        """Key frames, each completed from the one before it in this order."""
        other: KeyFrame | None = None
        for index in indices:
            key = self._prepare(index)
            if other is not None and index in self._partial:
                blender = Blender(self.settings, self._flows)
                key = complete(key, other, self._chain(other.index, index), blender)
            yield index, key
            other = key

    def _chain(self, start: int, stop: int) -> Chain:
        """From key frame `stop` to key frame `start`, whichever is the earlier."""
        step = 1 if stop > start else -1
        chain = Chain.start(start, self.shape)
        for index in range(start, stop, step):
            there, back = self._flows.links(min(index, index + step), self.read)
            chain = chain.extend(back if step > 0 else there)
        return chain

    def _put(self, store: Shelf, name: str, key: KeyFrame) -> None:
        assert key.trust is not None
        store.put(name, key.mask, key.trust, key.onehot)

    def _take(self, store: Shelf, name: str, key: KeyFrame, keep: bool = False) -> KeyFrame:
        """The key frame as it was put away under a name, where it stays if it is to be kept."""
        mask, trust, onehot = store.take(name)
        if keep:
            store.put(name, mask, trust, onehot)
        return replace(key, mask=mask, trust=trust, onehot=onehot)

    def _tail(
        self, key: KeyFrame, wanted: Container[int], last: _Stretch | None
    ) -> Iterator[FrameResult]:
        """The last key frame and the frames after it."""
        if key.index in wanted:
            yield self._key_result(key, [] if last is None else last.arrived())
        yield from self._outward(key).after(self.length, wanted)

    def _outward(self, key: KeyFrame) -> Outward:
        return Outward(key, self.read, self._flows, self.settings, self._correct)

    def _stretches(
        self, store: Shelf, stretches: list[tuple[int, int]], wanted: Container[int]
    ) -> Iterator[_Stretch]:
        """Build one stretch after another."""
        after: KeyFrame | None = None
        for start, stop in stretches:
            same = after is not None and after.index == start
            before = after if same and after is not None else self._key(store, start)
            after = self._key(store, stop)
            stretch = _Stretch.of(before, after, wanted)
            self._shelve(store, stretch, wanted)
            yield stretch

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
            stretch: The stretch; its forward chain is as long as it is needed when all is yielded.
            wanted: The frames to yield.
            last: The stretch that ends with this one's first key frame, if there is one.
        """
        before, after = stretch.before, stretch.after
        if before.index in wanted:
            others = [] if last is None else last.arrived()
            if stretch.back is not None:
                others.append((after, stretch.back))
            yield self._key_result(before, others)
        blenders: SimpleQueue[Blender] = SimpleQueue()
        threads = _BLENDED_AT_ONCE if self.settings.ahead else 0
        for _ in range(max(threads, 1)):
            blenders.put(Blender(self.settings, self._flows))

        def blended(place: _Place) -> FrameResult:
            blender = blenders.get()
            try:
                result = blender.blend(place.index, place.image, place.sources)
            finally:
                blenders.put(blender)
            return replace(fade(result, place.sources), image=place.image)

        places = self._between(store, stretch, wanted)
        with closing(work_ahead(blended, places, threads)) as results:
            for result in results:
                yield result if self._correct is None else self._correct(result)

    def _between(self, store: Shelf, stretch: _Stretch, wanted: Container[int]) -> Iterator[_Place]:
        """Give the wanted frames between a stretch's key frames; follow its forward chain."""
        before, after = stretch.before, stretch.after
        chain = Chain.start(before.index, self.shape)
        for index in range(before.index + 1, stretch.last + 1):
            chain = chain.extend(store.take_link(f"link-{index}"))
            if index == after.index:
                stretch.forth = chain
            elif index in wanted:
                other = store.take_chain(f"chain-{index}", after.index)
                (image,) = store.take(f"frame-{index}")
                yield _Place(index, image, ((before, chain), (after, other)))

    def _shelve(self, store: Shelf, stretch: _Stretch, wanted: Container[int]) -> None:
        """Put away links back, and wanted frames with their chains to the key frame after them."""
        before, after = stretch.before, stretch.after
        frames = {before.index: before.image, after.index: after.image}

        def read(index: int) -> NDArray[np.uint8]:
            if index not in frames:
                frames[index] = self.read(index)
            return frames[index]

        chain = Chain.start(after.index, self.shape)
        for index in range(after.index - 1, before.index - 1, -1):
            backwards, forwards = index >= stretch.first, index < stretch.last
            if not backwards and not forwards:
                continue
            there, back = self._flows.links(index, read)
            if backwards:
                chain = chain.extend(there)
            if forwards:
                store.put_link(f"link-{index + 1}", back)
            frames.pop(index + 1, None)
            if index == before.index:
                stretch.back = chain if backwards else None
            elif index in wanted:
                store.put_chain(f"chain-{index}", chain)
                store.put(f"frame-{index}", read(index))

    def _key_result(self, key: KeyFrame, others: list[tuple[KeyFrame, Chain]]) -> FrameResult:
        """The key frame as labelled; its ignored pixels as the other key frames have them."""
        probabilities = np.moveaxis(key.onehot, 2, 0).astype(np.float32) / np.float32(255)
        confidence = key.labelled.astype(np.float32)
        if key.trust is not None:
            probabilities = faded(probabilities, key.trust)
        if key.trust is not None and others:
            blender = Blender(self.settings, self._flows)
            filled = fade(blender.blend(key.index, key.image, others), others)
            np.copyto(probabilities, filled.probabilities, where=~key.labelled)
            np.copyto(confidence, filled.confidence, where=~key.labelled)
        whole = key.trust is None
        return FrameResult(key.index, probabilities, confidence, is_key=whole, image=key.image)


@dataclass(frozen=True)
class _Place:
    """A frame between two key frames, and its chains to them."""

    index: int
    image: NDArray[np.uint8]
    sources: tuple[tuple[KeyFrame, Chain], tuple[KeyFrame, Chain]]


@dataclass
class _Stretch:
    """Two key frames one after the other, and the chains between them.

    Attributes:
        before: The first.
        after: The second.
        first: The first frame that the chain to `after` is needed on; `after` for none.
        last: The last frame that the chain to `before` is needed on; `before` for none.
        back: From `before` to `after`, where `before` is to be filled.
        forth: From `after` to `before`, where `after` is to be filled, once the stretch has been
            walked.
    """

    before: KeyFrame
    after: KeyFrame
    first: int
    last: int
    back: Chain | None = None
    forth: Chain | None = None

    @classmethod
    def of(cls, before: KeyFrame, after: KeyFrame, wanted: Container[int]) -> _Stretch:
        """As far as it takes to label the wanted frames, and to fill the wanted key frames."""
        between = [i for i in range(before.index + 1, after.index) if i in wanted]
        filled = [key.index in wanted and key.trust is not None for key in (before, after)]
        first = before.index if filled[0] else min(between, default=after.index)
        last = after.index if filled[1] else max(between, default=before.index)
        return cls(before, after, first, last)

    def arrived(self) -> list[tuple[KeyFrame, Chain]]:
        """The first key frame, and the chain to it from the second, where that is needed."""
        return [] if self.forth is None else [(self.before, self.forth)]
