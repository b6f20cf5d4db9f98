"""What the refining network learns from: windows around a frame's contested pixels.

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

__all__ = ["CLASS_CHANNELS", "PRESENT", "SHARED_CHANNELS", "Shared", "Window", "windows"]

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
"""A window is there for the contested pixels of its core; the halo is what lies around it."""

PRESENT = 0.02
"""A class is looked at where its probability exceeds this somewhere in the window."""

_LAB_SCALE = np.array([100 / 255 / 20, 1 / 20, 1 / 20], np.float32)
_SCALED = (np.arange(256, dtype=np.float32)[:, None] * _LAB_SCALE)[:, None]
_SURROUNDINGS = 6.0
_FAINT = 1e-4
_FAR = _SIDE + int(4 * _SURROUNDINGS)
"""Pixels from a contested one to where no window and no window's surroundings reach."""


@dataclass(frozen=True)
class Window:
    """A square of a frame, and K' classes that are there.

    Attributes:
        place: Rows and columns of the frame.
        classes: (K',) the classes.
        probabilities: (K', h, w), as fused so far.
        by_class: (K', `CLASS_CHANNELS`, h, w).
        shared: (`SHARED_CHANNELS`, h, w).
        contested: (h, w) bool.
    """

    place: tuple[slice, slice]
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
) -> Iterator[Window]:
    """Cut a frame into windows that cover its contested pixels.

    Args:
        clues: What was found out about the frame.
        probabilities: (K, H, W) float32, as fused so far.
        evidence: (K, H, W) float32, a network's word.
        weight: How much it counted in fusion, 0 to 1.
    """
    shape = clues.lab.shape[:2]
    contested = np.zeros(shape, bool)
    contested.ravel()[clues.votes.places] = True
    if not contested.any():
        return
    heard = probabilities if evidence is None else evidence
    votes = [clues.votes.probabilities(side) for side in range(len(clues.distance))]
    masks = [clues.warped(side) for side in range(len(clues.distance))]
    everywhere = np.arange(contested.size).reshape(shape)
    seen = Shared(clues, 0.0 if evidence is None else weight).at(everywhere)
    shared = np.ascontiguousarray(np.moveaxis(seen, 2, 0))
    present = probabilities > PRESENT
    if evidence is not None:
        present |= evidence > PRESENT
    for place in _squares(contested):
        window = (slice(None), *place)
        classes = np.flatnonzero(present[window].any(axis=(1, 2)))
        fused = probabilities[window][classes]
        stacked = np.empty((len(classes), CLASS_CHANNELS, *contested[place].shape), np.float32)
        stacked[:, [0, 1, 2, 3, 4]] = fused[:, None]  # What a side that is missing says as well.
        for side, says in enumerate(votes):
            stacked[:, 1 + side] = says[window][classes]
        for side, warped in enumerate(masks):
            there = np.moveaxis(warped[place][..., classes], 2, 0)
            np.multiply(there, np.float32(1 / 255), out=stacked[:, 3 + side])
        stacked[:, 5] = heard[window][classes]
        yield Window(
            place,
            classes,
            torch.from_numpy(fused),
            torch.logit(torch.from_numpy(stacked), eps=PRESENT).div_(4),
            torch.from_numpy(shared[window]),
            torch.from_numpy(contested[place]),
        )


class Shared:
    """What is seen of a frame that is the same for all classes.

    Args:
        clues: What was found out about the frame.
        heard: The weight of a network's word, 0 to 1.
    """

    def __init__(self, clues: Clues, heard: float) -> None:
        self._clues = clues
        self._heard = heard
        size = clues.votes.settled.size
        self._contested = np.zeros(size, np.float32)
        self._contested[clues.votes.places] = 1
        self._weights = []
        for side in range(len(clues.distance)):
            total = clues.votes.counts[side].sum(axis=1)
            weight = np.zeros(size, np.float32)
            weight[clues.votes.places] = np.log10(total + np.float32(_FAINT)) / 4
            self._weights.append(weight)
        self._colours = _against_surroundings(clues.lab, clues.votes.places).reshape(size, 3)

    def at(self, places: NDArray[np.intp]) -> NDArray[np.float32]:
        """Look at places, indices into the flat frame: (…, `SHARED_CHANNELS`) float32."""
        clues = self._clues
        out = np.zeros((*places.shape, SHARED_CHANNELS), np.float32)
        out[..., 6:8] = 1
        apart = max(sum(clues.distance), 1)
        for side, distance in enumerate(clues.distance):
            out[..., side] = clues.confidence[side].reshape(-1).take(places)
            out[..., 2 + side] = clues.likeness[side].reshape(-1).take(places)
            out[..., 4 + side] = self._weights[side].take(places)
            out[..., 6 + side] = distance / apart
        out[..., 8:11] = self._colours.take(places, axis=0)
        out[..., 11] = self._heard
        out[..., 12] = self._contested.take(places)
        return out


def _against_surroundings(lab: NDArray[np.uint8], places: NDArray[np.intp]) -> NDArray[np.float32]:
    """How colours differ from their surroundings, (H, W, 3) float32; 0 far from all places."""
    height, width = lab.shape[:2]
    out = np.zeros((height, width, 3), np.float32)
    if places.size:
        y, x = np.divmod(places, width)
        box = (
            slice(max(0, int(y.min()) - _FAR), int(y.max()) + _FAR + 1),
            slice(max(0, int(x.min()) - _FAR), int(x.max()) + _FAR + 1),
        )
        scaled = np.asarray(cv2.LUT(np.ascontiguousarray(lab[box]), _SCALED), np.float32)
        blurred = np.asarray(cv2.GaussianBlur(scaled, (0, 0), _SURROUNDINGS), np.float32)
        np.subtract(scaled, blurred, out=out[box])
    return out


def _squares(contested: NDArray[np.bool_]) -> Iterator[tuple[slice, slice]]:
    """Windows whose cores cover the contested pixels; moved inwards at the frame's borders."""
    height, width = contested.shape
    for top in range(0, height, _CORE):
        for left in range(0, width, _CORE):
            if contested[top : top + _CORE, left : left + _CORE].any():
                yield _span(top, height), _span(left, width)


def _span(start: int, length: int) -> slice:
    first = max(0, min(start - _HALO, length - _SIDE))
    return slice(first, min(first + _SIDE, length))
