"""How far a network's word is to be taken, told by labelled frames that it has not seen.

A network praises itself on frames it was trained on, so its judge must be others: on a first fit
some key frames are kept from it for the first part of the time; later, the key frames that were
labelled since it was last trained judge it before it learns them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

__all__ = ["frames_named", "judges"]


def judges(
    keys: Iterable[int],
    trained_on: Collection[int] = (),
    *,
    most: int = 4,
    frames: float = math.inf,
) -> tuple[int, ...]:
    """Choose the key frames to judge a network by.

    Only frames between two others are taken: at the ends of the clip, propagation would have to
    do with one side and look worse than it is. Neighbours are not taken both, for each is
    predicted from the other.

    Args:
        keys: All labelled frames.
        trained_on: Those that the network has learnt already.
        most: How many to take at most.
        frames: To predict a frame, flow goes from one of its neighbours to the other; this many
            frames may be passed in all. Those with the farthest neighbours are left first.

    Returns:
        Frame indices in order, evenly spread over the clip; empty where there is none fit.
    """
    ordered = sorted(set(keys))
    spans: dict[int, int] = {}
    previous = -2
    for place, key in enumerate(ordered):
        if 0 < place < len(ordered) - 1 and place - previous > 1 and key not in trained_on:
            spans[key] = ordered[place + 1] - ordered[place - 1]
            previous = place
    fit = list(spans)
    if len(fit) > most:
        step = len(fit) / max(most, 1)
        fit = [fit[int((number + 0.5) * step)] for number in range(most)]
    while sum(spans[key] for key in fit) > frames:
        fit.remove(max(fit, key=lambda key: spans[key]))
    return tuple(fit)


def frames_named(indices: Sequence[int]) -> str:
    """Name frames for people: "frame 3", "frames 3, 6 and 9"."""
    if len(indices) == 1:
        return f"frame {indices[0]}"
    return f"frames {', '.join(map(str, indices[:-1]))} and {indices[-1]}"
