"""Which key frames a frame's labels come from, so that what has not changed is not worked out anew.

Propagation labels a frame from the key frames next to it on both sides, and from nothing else, as
long as every key frame is labelled as a whole. A new key frame then changes one stretch of the
clip; all other frames come out as they did, bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.keyframes import IGNORE
from model.walk import GAPS

__all__ = ["neighbours"]


def neighbours(keys: Mapping[int, NDArray[np.uint8]], length: int) -> list[tuple[int, ...]] | None:
    """Find the key frames that each frame's labels depend on.

    Args:
        keys: Frame index → (H, W) uint8 mask, 255 = ignore; at least one.
        length: Frames of the clip.

    Returns:
        For each frame the nearest key frames before and after it; −1 and `length` where there is
        none. For a key frame itself alone where every pixel is labelled; with a few ignored pixels
        (before, itself, after). None where a key frame is labelled in part only, so that the word
        of others comes through it.

    Raises:
        ValueError: A key frame lies outside the clip.
    """
    marks = sorted(keys)
    if not marks or marks[0] < 0 or marks[-1] >= length:
        raise ValueError(f"the key frames must be frames 0 to {length - 1}; got {marks}")
    void = {index: float((keys[index] == IGNORE).mean()) for index in marks}
    if max(void.values()) > GAPS:
        return None
    ends = [-1, *marks, length]
    found: list[tuple[int, ...]] = [()] * length
    for left, right in pairwise(ends):
        found[left + 1 : right] = [(left, right)] * (right - left - 1)
    for before, index, after in zip(ends, marks, ends[2:], strict=False):
        found[index] = (before, index, after) if void[index] else (index,)
    return found
