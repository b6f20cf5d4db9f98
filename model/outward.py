"""Going outwards from the first or the last key frame, where there is none on the other side.

Each frame is labelled from the key frame and from the frame before on this way, so behind the last
key frame it goes forwards, and before the first one backwards, from there to the clip's beginning.
As results are wanted forwards there too, they are kept until then. They take much room: 0.2 GB a
frame at 1080p with 21 classes. So where all of them would take too much, the way is gone once to
know where each *block* of it begins, and then again, block by block, the last one first. The
results are the same; it takes up to twice the time.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.ahead import run_ahead
from model.blend import Blender, FrameResult, Recalled
from model.chain import Chain, Link, Shelf
from model.flowstore import FlowStore
from model.keyframes import KeyFrame
from model.settings import PropagationSettings
from model.sparse import fade

__all__ = ["Outward"]

_LINKS_AHEAD = 3
"""Links made ahead while frames are blended."""

_ROOM = 4 * 2**30
"""Bytes of results that are kept at once, at most: 800 frames of 480p with two classes."""


@dataclass(frozen=True)
class _Standing:
    """Where one stands on the way, before a frame.

    Attributes:
        image: (H, W, 3) uint8 RGB, the frame before.
        chain: From there to the key frame.
        recalled: What `Blender` recalls of it.
    """

    image: NDArray[np.uint8]
    chain: Chain
    recalled: Recalled | None = None


class Outward:
    """The way outwards from a key frame.

    Args:
        key: The key frame.
        read: Gives frames by index, (H, W, 3) uint8.
        flows: The clip's flow.
        settings: How sources are weighed.
        correct: Improves on what the key frame says; the frames that follow start from that.
    """

    def __init__(
        self,
        key: KeyFrame,
        read: Callable[[int], NDArray[np.uint8]],
        flows: FlowStore,
        settings: PropagationSettings,
        correct: Callable[[FrameResult], FrameResult] | None = None,
    ) -> None:
        self._key = key
        self._read = read
        self._flows = flows
        self._settings = settings
        self._correct = correct
        height, width = key.mask.shape
        self._begin = _Standing(key.image, Chain.start(key.index, (height, width)))

    def after(self, length: int, wanted: Container[int]) -> Iterator[FrameResult]:
        """Yield the wanted frames behind the key frame in a clip of this length."""
        for _, result in self._go(range(self._key.index + 1, length), wanted, self._begin):
            if result is not None:
                yield result

    def before(self, store: Shelf, wanted: Container[int]) -> Iterator[FrameResult]:
        """Yield the wanted frames before the key frame, forwards."""
        *early, last = self._blocks(store, wanted)
        since = self._begin
        for number, block in enumerate(early):
            self._put(store, f"since-{number}", since)
            for standing, _ in self._go(block, (), since):
                since = standing
        yield from self._turned(store, last, wanted, since)
        for number, block in reversed(list(enumerate(early))):
            since = self._take(store, f"since-{number}")
            yield from self._turned(store, block, wanted, since)

    def _blocks(self, store: Shelf, wanted: Container[int]) -> list[range]:
        """The way backwards, in as many parts as there is no room for all at once."""
        indices = range(self._key.index - 1, -1, -1)
        height, width, classes = self._key.onehot.shape
        size = height * width * (5 + 2 * classes * (1 if self._correct is None else 2))
        frames = max(1, min(store.room(), _ROOM) // size)
        if sum(index in wanted for index in indices) <= frames:
            return [indices]
        return [indices[start : start + frames] for start in range(0, len(indices), frames)]

    def _go(
        self, indices: range, wanted: Container[int], since: _Standing
    ) -> Iterator[tuple[_Standing, FrameResult | None]]:
        """Pass the frames one by one: where one stands then, and the result if it is wanted."""
        chain, key = since.chain, self._key
        blender = Blender(self._settings, self._flows)
        blender.recalled = since.recalled
        depth = _LINKS_AHEAD if self._settings.ahead else 0
        with closing(run_ahead(self._links(indices, since.image), depth)) as links:
            for index, image, link in links:
                chain = chain.extend(link)
                result = None
                if index in wanted or blender.recalls:
                    result = blender.blend(index, image, [(key, chain)], link)
                    result = replace(fade(result, [(key, chain)]), image=image)
                    if self._correct is not None:
                        result = self._correct(result)
                        blender.remember(result)
                standing = _Standing(image, chain, blender.recalled)
                yield standing, result if index in wanted else None

    def _links(
        self, indices: range, before: NDArray[np.uint8]
    ) -> Iterator[tuple[int, NDArray[np.uint8], Link]]:
        """Each frame with the link to the one before."""
        for index in indices:
            image = self._read(index)
            known = {index: image, index - indices.step: before}
            there, back = self._flows.links(min(known), known.__getitem__)
            yield index, image, back if indices.step > 0 else there
            before = image

    def _turned(
        self, store: Shelf, block: range, wanted: Container[int], since: _Standing
    ) -> Iterator[FrameResult]:
        """Go backwards through a block, and yield it forwards."""
        for _, result in self._go(block, wanted, since):
            if result is None:
                continue
            kept: list[NDArray[Any]] = [
                result.probabilities.astype(np.float16),
                result.confidence,
            ]
            if result.propagated is not None:
                kept.append(result.propagated.astype(np.float16))
            if result.word is not None:
                kept.append(result.word)
            store.put(f"head-{result.index}", *kept)
        for index in reversed(block):
            if index in wanted:
                rough, confidence, *more = store.take(f"head-{index}")
                yield FrameResult(
                    index,
                    _whole(rough),
                    confidence,
                    is_key=False,
                    propagated=_whole(more[0]) if more else None,
                    word=more[1] if len(more) > 1 else None,
                )

    def _put(self, store: Shelf, name: str, standing: _Standing) -> None:
        chain = standing.chain
        recalled = standing.recalled or ()
        store.put(name, standing.image, chain.positions, chain.confidence, *recalled)

    def _take(self, store: Shelf, name: str) -> _Standing:
        image, positions, confidence, *more = store.take(name)
        recalled = None
        if more:
            mask, lead, lab = more
            recalled = (mask, lead, lab)
        return _Standing(image, Chain(self._key.index, positions, confidence), recalled)


def _whole(kept: NDArray[np.float16]) -> NDArray[np.float32]:
    """Probabilities kept as float16, summing to 1 again."""
    out: NDArray[np.float32] = kept.astype(np.float32)
    out /= out.sum(axis=0)
    return out
