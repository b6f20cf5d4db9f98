"""What the refining network sees of a frame: windows around the pixels that are contested.

In each window only the classes that are there are looked at. Everything about a class is a channel
of its own, so that a network which looks at one class at a time can be used with any number of
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.clues import Clues

__all__ = ["CLASS_CHANNELS", "SHARED_CHANNELS", "Window", "windows"]

CLASS_CHANNELS = 6
"""Fused probability, votes of both sides, warped masks of both sides, the network's word."""

SHARED_CHANNELS = 13
"""Confidence, likeness and weight of both sides' votes, how far off each is compared with the
other, the frame's Lab against its surroundings, the weight of a network's word, and whether pixels
are contested. How far off in frames is not told: what matters of it shows in the other channels,
and clips to come may have wider gaps than any learnt from."""

_CORE = 40
_HALO = 4
_SIDE = _CORE + 2 * _HALO
"""A window decides on its core; the halo is what the network sees around it."""

_PRESENT = 0.02
"""A class is looked at where its probability exceeds this somewhere in the window."""

_LAB_SCALE = np.array([100 / 255 / 20, 1 / 20, 1 / 20], np.float32)
_SURROUNDINGS = 6.0
_FAINT = 1e-4


@dataclass(frozen=True)
class Window:
    """A square of a frame, and K' classes that are there.

    Attributes:
        place: Rows and columns of the frame.
        core: Rows and columns of the window that it decides on.
        classes: (K',) the classes.
        probabilities: (K', h, w), as fused so far.
        by_class: (K', `CLASS_CHANNELS`, h, w).
        shared: (`SHARED_CHANNELS`, h, w).
        contested: (h, w) bool.
    """

    place: tuple[slice, slice]
    core: tuple[slice, slice]
    classes: NDArray[np.intp]
    probabilities: Tensor
    by_class: Tensor
    shared: Tensor
    contested: Tensor


def windows(
    clues: Clues,
    probabilities: NDArray[np.float32],
    evidence: NDArray[np.float32] | None = None,
    weight: float = 0.0,
    *,
    decided: bool = False,
) -> Iterator[Window]:
    """Cut a frame into the windows that hold contested pixels.

    Args:
        clues: What was found out about the frame.
        probabilities: (K, H, W) float32, as fused so far.
        evidence: (K, H, W) float32, a network's word.
        weight: How much it counted in fusion, 0 to 1.
        decided: Whether to look only at classes that are there on pixels to decide on, instead of
            anywhere in the window: fewer by a third where there are many.
    """
    shape = clues.lab.shape[:2]
    contested = np.zeros(shape, bool)
    contested.ravel()[clues.votes.places] = True
    if not contested.any():
        return
    heard = probabilities if evidence is None else evidence
    votes = [clues.votes.probabilities(side) for side in range(len(clues.distance))]
    shared = _shared(clues, contested, 0.0 if evidence is None else weight)
    present = probabilities > _PRESENT
    if evidence is not None:
        present |= evidence > _PRESENT
    if decided:
        present &= contested
    for place, core in _squares(contested):
        window = (slice(None), *place)
        looked = present[window][:, core[0], core[1]] if decided else present[window]
        classes = np.flatnonzero(looked.any(axis=(1, 2)))
        fused = probabilities[window][classes]
        stacked = np.empty((len(classes), CLASS_CHANNELS, *contested[place].shape), np.float32)
        stacked[:, [0, 1, 2, 3, 4]] = fused[:, None]  # What a side that is missing says as well.
        for side, says in enumerate(votes):
            stacked[:, 1 + side] = says[window][classes]
        for side, warped in enumerate(clues.warped):
            there = np.moveaxis(warped[place][..., classes], 2, 0)
            np.multiply(there, np.float32(1 / 255), out=stacked[:, 3 + side])
        stacked[:, 5] = heard[window][classes]
        yield Window(
            place,
            core,
            classes,
            torch.from_numpy(fused),
            torch.logit(torch.from_numpy(stacked), eps=_PRESENT).div_(4),
            torch.from_numpy(shared[window]),
            torch.from_numpy(contested[place]),
        )


def _shared(clues: Clues, contested: NDArray[np.bool_], heard: float) -> NDArray[np.float32]:
    shape = contested.shape
    out = np.zeros((SHARED_CHANNELS, *shape), np.float32)
    out[6:8] = 1
    apart = max(sum(clues.distance), 1)
    weight = np.zeros(contested.size, np.float32)
    for side, distance in enumerate(clues.distance):
        out[side] = clues.confidence[side]
        out[2 + side] = clues.likeness[side]
        total = clues.votes.counts[side].sum(axis=1)
        weight[clues.votes.places] = np.log10(total + np.float32(_FAINT)) / 4
        out[4 + side] = weight.reshape(shape)
        out[6 + side] = distance / apart
    scaled = clues.lab.astype(np.float32) * _LAB_SCALE
    surroundings = np.asarray(cv2.GaussianBlur(scaled, (0, 0), _SURROUNDINGS), np.float32)
    out[8:11] = np.moveaxis(scaled - surroundings, 2, 0)
    out[11] = heard
    out[12] = contested
    return out


def _squares(
    contested: NDArray[np.bool_],
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Windows whose cores cover the contested pixels; moved inwards at the frame's borders."""
    height, width = contested.shape
    for top in range(0, height, _CORE):
        for left in range(0, width, _CORE):
            if contested[top : top + _CORE, left : left + _CORE].any():
                y, inner_y = _span(top, height)
                x, inner_x = _span(left, width)
                yield (y, x), (inner_y, inner_x)


def _span(start: int, length: int) -> tuple[slice, slice]:
    first = max(0, min(start - _HALO, length - _SIDE))
    stop = min(start + _CORE, length)
    return slice(first, min(first + _SIDE, length)), slice(start - first, stop - first)
