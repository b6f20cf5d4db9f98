"""Flow between neighbouring frames, worked out once for all passes over a clip.

A round goes over a clip several times: key frames are predicted from one another to judge a
network and to know what quality to expect, and in the end every frame is labelled. Each pass needs
the same flow, and flow is what takes the time.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from model.chain import Link
from model.flow import FlowEstimator
from model.halves import halved, whole

__all__ = ["FlowStore"]

_BYTES = 2 * 2**30
"""Flow kept on disk, at most: about 400 pairs of frames of 480p."""

_DISK_SHARE = 4
"""At most one part in so many of what is free on the disk is taken."""

_PASSING = 4
"""One part in so many is for the pairs that came last: a frame's neighbours are asked for again
when it is steadied (`model.steady`)."""


class FlowStore:
    """A flow estimator that remembers the flow between numbered frames of one clip.

    Flow is rounded to float16 whether it is kept or not, so that results do not depend on it. What
    is kept lies in a nameless temporary file, which is gone when the store or the process is. The
    pairs that are asked for first stay; once there is no more room, the others pass through a part
    of it. It may be asked from several threads; the estimator works for one at a time.

    Args:
        estimator: Works out what is not kept yet.
        limit: The most bytes to keep; 0 keeps nothing.

    Attributes:
        name: The estimator's.
        misses: Pairs that were worked out.
    """

    def __init__(self, estimator: FlowEstimator, limit: int = _BYTES) -> None:
        self.name = estimator.name
        self.misses = 0
        self._estimator = estimator
        self._limit = limit
        self._working = Lock()
        self._filing = Lock()
        self._file: BinaryIO | None = None
        self._end = 0
        self._places: dict[int, tuple[int, tuple[tuple[int, ...], ...]]] = {}
        self._passing: deque[int] = deque()

    def flow(
        self,
        source: NDArray[np.uint8],
        target: NDArray[np.uint8],
        initial: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the estimator's flow between any two images; see `FlowEstimator.flow`."""
        with self._working:
            return self._estimator.flow(source, target, initial)

    def links(self, index: int, read: Callable[[int], NDArray[np.uint8]]) -> tuple[Link, Link]:
        """Return the links from frame `index` to the next one, and back.

        Args:
            index: The earlier frame.
            read: Gives frames by index, (H, W, 3) uint8; asked only where the flow is not kept.
        """
        kept = self._take(index)
        if kept is None:
            with self._working:
                self.misses += 1
                links = Link.both(read(index), read(index + 1), self._estimator)
            kept = tuple(halved(array) for link in links for array in (link.flow, link.confidence))
            self._put(index, kept)
        there, sure, back, sure_back = (whole(array) for array in kept)
        return Link(there, sure), Link(back, sure_back)

    def _take(self, index: int) -> tuple[NDArray[np.float16], ...] | None:
        with self._filing:
            place = self._places.get(index)
            if place is None or self._file is None:
                return None
            start, shapes = place
            arrays = tuple(np.empty(shape, np.float16) for shape in shapes)
            self._file.seek(start)
            for array in arrays:
                self._file.readinto(array.data)  # type: ignore[attr-defined]
        return arrays

    def _put(self, index: int, arrays: tuple[NDArray[np.float16], ...]) -> None:
        size = sum(array.nbytes for array in arrays)
        with self._filing:
            if size > self._limit or index in self._places:
                return
            try:
                if self._file is None:
                    free = shutil.disk_usage(tempfile.gettempdir()).free
                    self._limit = min(self._limit, free // _DISK_SHARE)
                    if size > self._limit:
                        return
                    self._file = tempfile.TemporaryFile(prefix="maskloop-flow-")  # noqa: SIM115
                    weakref.finalize(self, self._file.close)
                start = self._room(size)
                if start is None:
                    return
                self._file.seek(start)
                for array in arrays:
                    self._file.write(array.data)
            except OSError:  # A full disk costs time, not the round.
                self._limit = 0
                return
            self._places[index] = (start, tuple(array.shape for array in arrays))
            if start + size > self._limit - self._limit // _PASSING // size * size:
                self._passing.append(index)

    def _room(self, size: int) -> int | None:
        """Where a pair of `size` bytes may be written; all of a clip's are of one size."""
        if self._end + size <= self._limit:
            self._end += size
            return self._end - size
        return self._places.pop(self._passing.popleft())[0] if self._passing else None
