"""How far flow leads back to a labelled frame, told by its weakest link.

`Chain.confidence` is the *product* of the checks of all links. That says where a frame may be
matched with the key frame itself, but after some twenty links it is next to nothing everywhere: a
thing that merely comes nearer, each link a little unsure, looks like what a moving thing has just
uncovered, from where no link leads back. The *least* of the checks keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.flowstore import FlowStore
from model.warp import identity_map, sample

__all__ = ["weakest_links"]


def weakest_links(
    flows: FlowStore,
    keys: Sequence[int],
    length: int,
    read: Callable[[int], NDArray[np.uint8]],
) -> dict[int, NDArray[np.uint8]]:
    """Follow the flow outwards of each key frame, as far as the next one or the clip's end.

    With c_i the forward-backward check of the link from frame i to the frame before it on the way,
    w_i the flow of that link, and w_k = 1 on the key frame k,

        t_i(x) = min(c_i(x), t_(i ∓ 1)(x + w_i(x))).

    Args:
        flows: The flow between neighbours.
        keys: The labelled frames, in order; at least one.
        length: Frames of the clip.
        read: Gives frames by index, (H, W, 3) uint8; asked only where the flow is not kept.

    Returns:
        Frame index → (H, W) uint8, 0 to 255: the weakest link of the better of the ways to the key
        frames beside it. Key frames themselves are left out.

    Raises:
        ClipError: A frame cannot be read.
    """
    found: dict[int, NDArray[np.uint8]] = {}
    ends = [-1, *keys, length]
    for (before, key), after in zip(pairwise(ends), ends[2:], strict=False):
        for way in (range(key + 1, after), range(key - 1, before, -1)):
            for index, trust in _outwards(flows, way, read):
                rounded = np.asarray(np.rint(trust * 255), dtype=np.uint8)
                known = found.get(index)
                found[index] = rounded if known is None else np.maximum(known, rounded)
    return found


def _outwards(
    flows: FlowStore, way: range, read: Callable[[int], NDArray[np.uint8]]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each frame of a way that starts beside a key frame, with the trust that is left there."""
    trust: NDArray[np.float32] | None = None
    for index in way:
        there, back = flows.links(min(index, index - way.step), read)
        link = back if way.step > 0 else there
        if trust is None:
            trust = link.confidence
        else:
            positions = identity_map(*trust.shape) + link.flow
            trust = np.minimum(link.confidence, sample(trust, positions))
        yield index, trust
