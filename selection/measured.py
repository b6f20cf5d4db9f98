"""What the reach of a clip foretells, weighed by how uncertain its masks turned out to be.

Reach is told from colours alone. Once a clip has labels, its masks show where that was too hopeful
or too careful: between two labels the loss counts √(measured / foretold) times, both in shares of
what they are over all clips. The root, as either is known roughly: on nine clips, four windows
each, it gave more quality for the clicks than the whole ratio or none.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from selection.reach import Reach

__all__ = ["Ends", "stakes"]

Ends = tuple[int, int, int]
"""A clip and two neighbouring labelled frames of it; −1 and N where there is none."""

_POWER = 0.5
_BOUNDS = (0.2, 5.0)
"""Of the ratio, so that a gap of a few frames does not outweigh all others."""


def stakes(
    reaches: Mapping[int, Reach],
    labelled: Mapping[int, Sequence[int]],
    uncertainty: Mapping[int, NDArray[np.floating]],
) -> dict[Ends, float]:
    """How much the loss between neighbouring labels counts for.

    Args:
        reaches: Each clip's reach.
        labelled: The labelled frames of each clip.
        uncertainty: How uncertain each frame's mask is, by clip and frame, ≥ 0; NaN is not known
            and counts as foretold.

    Returns:
        A factor for each gap with something to say; 1 for all others.
    """
    foretold: dict[Ends, float] = {}
    measured: dict[Ends, float] = {}
    for clip, values in uncertainty.items():
        marks = sorted(set(labelled.get(clip, ())))
        if not marks or clip not in reaches:
            continue
        seen = np.asarray(values, dtype=np.float64)
        for left, right in itertools.pairwise([-1, *marks, len(reaches[clip])]):
            own = seen[left + 1 : right]
            known = own[np.isfinite(own)]
            loss = float(reaches[clip].gaps(left, right))
            if len(known) and loss > 0:
                foretold[clip, left, right] = loss
                measured[clip, left, right] = float(known.mean()) * len(own)
    overall = sum(measured.values()) / sum(foretold.values()) if foretold else 0.0
    if overall <= 0:
        return {}
    return {
        ends: float(np.clip(measured[ends] / loss / overall, *_BOUNDS) ** _POWER)
        for ends, loss in foretold.items()
    }
