"""Steadying: each frame's labels are averaged with those of the frames before and after it.

Every frame is labelled by itself, and its errors at outlines are its own. So those of the frames
beside it, carried along the flow, are added where flow returns and colours agree:

    p'_t(x) = (p_t(x) + λ Σ_s c_s(x) l_s(x) p_s(x + w_s(x))) / (1 + λ Σ_s c_s(x) l_s(x))

over s = t − 1 and t + 1, with w_s the flow t → s, c_s its soft forward-backward check and l_s the
likeness of colours (`model.side.colour_similarity`). Key frames are given, and steady their
neighbours. It is a filter of the result, after everything else: what is added is what the
neighbours had before, and nothing is recalled from it. It needs the frame after, so results come a
frame late.
"""

from __future__ import annotations

from collections.abc import Container, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.chain import Link
from model.clip import FrameSource
from model.flowstore import FlowStore
from model.keyframes import lab
from model.settings import PropagationSettings
from model.side import colour_similarity
from model.warp import identity_map, sample

__all__ = ["steadied"]

_SURE = 0.9
"""A pixel is left alone where the frame and its neighbours name one class with at least this: an
average would name it as well."""

_UNSURE = 255
"""Stands for no class in a map of classes; there are fewer of them."""

_FAINT = 0.002
"""Classes that no pixel in question has more of in any of the frames are not looked at."""

_MARGIN = 4
"""Pixels around the pixels in question that colours are compared on: what they are blurred by."""

_ROW = 1024
"""`cv2.remap` takes at most 32,767 rows or columns, so a list of places is folded."""


@dataclass
class _Seen:
    """A result, with what is looked at twice."""

    result: FrameResult
    source: FrameSource

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        kept = self.result.image
        return self.source.read(self.result.index) if kept is None else kept

    @cached_property
    def lab(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 Lab."""
        return lab(self.image)

    @cached_property
    def sure(self) -> NDArray[np.uint8]:
        """(H, W) uint8: the class of pixels that are sure of it, `_UNSURE` elsewhere."""
        out = np.full(self.result.probabilities.shape[1:], _UNSURE, np.uint8)
        for label, plane in enumerate(self.result.probabilities):
            out[plane >= _SURE] = label
        return out


def steadied(
    results: Generator[FrameResult, None, None],
    given: Container[int],
    flows: FlowStore,
    source: FrameSource,
    settings: PropagationSettings,
) -> Generator[FrameResult, None, None]:
    """Average each frame with its neighbours along the flow.

    Args:
        results: Frames in order; a neighbour that is missing is done without. Closed at the end.
        given: Frames that are not to be changed, as a person labelled them or a part of them.
        flows: The flow between neighbouring frames of the clip.
        source: The clip.
        settings: λ (`steady`; where it is 0 the results are returned as they are) and σ.

    Returns:
        The frames in the same order, with `propagated` where they were changed.
    """
    if settings.steady == 0:
        return results
    return _one_late(results, given, flows, source, settings)


def _one_late(
    results: Generator[FrameResult, None, None],
    given: Container[int],
    flows: FlowStore,
    source: FrameSource,
    settings: PropagationSettings,
) -> Generator[FrameResult, None, None]:
    """Hold back each frame until the next one is there."""
    before: tuple[_Seen, Link] | None = None
    now: _Seen | None = None
    with closing(results):
        for result in results:
            next_one = _Seen(result, source)
            after = None
            behind = None
            if now is not None:
                if now.result.index + 1 == result.index:
                    there, back = flows.links(now.result.index, source.read)
                    after, behind = (next_one, there), (now, back)
                yield _averaged(now, [before, after], given, settings)
            before, now = behind, next_one
        if now is not None:
            yield _averaged(now, [before], given, settings)


def _averaged(
    seen: _Seen,
    found: list[tuple[_Seen, Link] | None],
    given: Container[int],
    settings: PropagationSettings,
) -> FrameResult:
    """The frame averaged with those neighbours that there are."""
    result = seen.result
    if result.index in given:
        return result
    grid = identity_map(*seen.sure.shape)
    ways = [(one[0], one[1], grid + one[1].flow) for one in found if one is not None]
    asked = np.zeros(seen.sure.shape, bool)
    for other, _, positions in ways:
        asked |= seen.sure != sample(other.sure, positions, "nearest")
    asked |= seen.sure == _UNSURE
    at = np.flatnonzero(asked)
    if not (at.size and ways):
        return result
    y, x = np.flatnonzero(asked.any(axis=1)), np.flatnonzero(asked.any(axis=0))
    height, width = asked.shape
    rows = slice(max(0, int(y[0]) - _MARGIN), min(height, int(y[-1]) + _MARGIN + 1))
    columns = slice(max(0, int(x[0]) - _MARGIN), min(width, int(x[-1]) + _MARGIN + 1))
    part = np.ascontiguousarray(seen.lab[rows, columns])
    within = np.flatnonzero(asked[rows, columns])
    shares, places = [], []
    for other, link, positions in ways:
        there = sample(other.lab, np.ascontiguousarray(positions[rows, columns]))
        alike = colour_similarity(part, there, settings.colour_sigma).take(within)
        shares.append(np.float32(settings.steady) * link.confidence.take(at) * alike)
        places.append(_folded(positions.reshape(-1, 2).take(at, axis=0)))
    total = 1 + np.sum(shares, axis=0, dtype=np.float32)
    probabilities = result.probabilities.copy()
    flat = probabilities.reshape(len(probabilities), -1)
    new = flat.take(at, axis=1)
    for label, own in enumerate(new):
        carried = [
            sample(other.result.probabilities[label], there).ravel()[: at.size]
            for (other, _, _), there in zip(ways, places, strict=True)
        ]
        if max(float(values.max()) for values in (own, *carried)) > _FAINT:
            for share, values in zip(shares, carried, strict=True):
                own += share * values
        own /= total
    new /= new.sum(axis=0)
    for plane, values in zip(flat, new, strict=True):
        plane[at] = values
    told = result.probabilities if result.propagated is None else result.propagated
    return replace(result, probabilities=probabilities, propagated=told, image=seen.image)


def _folded(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 2) places as a position map of rows of equal length, the last filled up with zeros."""
    count = -(-len(places) // _ROW) * _ROW
    out = np.zeros((count, 2), np.float32)
    out[: len(places)] = places
    return out.reshape(-1, _ROW, 2)
