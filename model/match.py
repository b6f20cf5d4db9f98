"""Local matching: around each warped position, the pixels that look alike vote for their class.

Warping is right about where things are to within a few pixels, and wrong by those pixels at
outlines. So each pixel compares its 3 × 3 patch with those around its place in every source, and
takes the classes of the ones that look like it:

    v(x) = Σ_s Σ_o  w_s (c_s + ε) · (exp(−d(x, x + o) / δ) + η) · exp(−|o|² / 2ρ²) · g_s(x + o)

over sources s and offsets o: d is the mean absolute Lab difference of the patches (weights 0.71,
1, 1 on CIE's scale), g_s what the source says there (its class, by the margin of that class), c_s
its confidence, and ρ = ρ₀ + ρ₁ (1 − c_s): the less sure the warp, the further afield. This is the
read-out of a memory by local affinity (MAMP) with colours for features. Only pixels whose window
holds more than one class are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.warp import sample

__all__ = ["MatchSettings", "Source", "Votes", "match", "vote"]

_STEPS = (1, 3, 6)
OFFSETS = tuple(sorted({(s * i, s * j) for s in _STEPS for i in (-1, 0, 1) for j in (-1, 0, 1)}))
"""(x, y) pixels: the pixel itself, and rings of eight at three distances."""

_REACH = max(_STEPS)
_TINY = np.float32(1e-30)
_UNIT = 4.0
"""Patch differences are kept as uint8 in quarters of a unit of CIE Lab."""

_LAB_WEIGHTS = np.array([[np.sqrt(0.5) * 100 / 255 * _UNIT, _UNIT, _UNIT]], np.float32)


@dataclass(frozen=True)
class MatchSettings:
    """How local matching weighs what it finds.

    Attributes:
        colour: δ, in units of CIE Lab.
        colour_floor: η.
        confidence_floor: ε.
        radius: ρ₀ in pixels, where the warp is sure.
        search: ρ₁, what the radius grows by where it is not.
    """

    colour: float = 4.0
    colour_floor: float = 1e-4
    confidence_floor: float = 0.02
    radius: float = 1.5
    search: float = 8.0


@dataclass(frozen=True)
class Source:
    """A labelled image, and where a frame's pixels are in it.

    Attributes:
        mask: (H, W) uint8 classes.
        margin: (H, W) float32, 0 to 1: by how much each pixel's class leads the next; None where
            a person labelled all of it.
        lab: (H, W, 3) uint8, the image in Lab.
        positions: (H, W, 2) float32, position map frame → this image.
        confidence: (H, W) float32, how sure that is, on the frame's pixels.
        weight: How much its word counts.
    """

    mask: NDArray[np.uint8]
    margin: NDArray[np.float32] | None
    lab: NDArray[np.uint8]
    positions: NDArray[np.float32]
    confidence: NDArray[np.float32]
    weight: float


@dataclass(frozen=True)
class Votes:
    """What the sources of a frame voted, by side.

    Attributes:
        settled: (H, W) uint8, the class of the pixels that were not voted on.
        places: (N,) the contested pixels, as indices into the flat frame.
        counts: (S, N, K) float32, the votes of each side's sources on them.
    """

    settled: NDArray[np.uint8]
    places: NDArray[np.intp]
    counts: NDArray[np.float32]

    def probabilities(self, side: int | None = None) -> NDArray[np.float32]:
        """One side's votes, or all, as (K, H, W) float32 probabilities."""
        counts = self.counts.sum(axis=0) if side is None else self.counts[side]
        classes = counts.shape[1]
        settled = np.arange(classes, dtype=np.uint8) == self.settled[..., None]
        out = settled.astype(np.float32).reshape(-1, classes)
        out[self.places] = counts / np.maximum(counts.sum(axis=1, keepdims=True), _TINY)
        return np.ascontiguousarray(np.moveaxis(out.reshape(*self.settled.shape, classes), 2, 0))


def match(
    frame: NDArray[np.uint8], sources: Sequence[Source], count: int, settings: MatchSettings
) -> NDArray[np.float32]:
    """Let the sources vote on a frame's pixels; arguments are those of `vote`.

    Returns:
        (K, H, W) float32 probabilities.
    """
    return vote(frame, sources, count, settings).probabilities()


def vote(
    frame: NDArray[np.uint8],
    sources: Sequence[Source],
    count: int,
    settings: MatchSettings,
    sides: Sequence[int] | None = None,
) -> Votes:
    """Let the sources vote on a frame's pixels, and keep the sides apart.

    Args:
        frame: (H, W, 3) uint8 Lab.
        sources: At least one; where all agree, the first one's class is taken.
        count: K, the number of classes.
        settings: How votes are weighed.
        sides: The side that each source is on, from 0; None puts all on one.

    Returns:
        The votes.
    """
    sides = sides or [0] * len(sources)
    width = frame.shape[1]
    masks = [sample(source.mask, source.positions, "nearest") for source in sources]
    places = np.flatnonzero(_contested(masks))
    if not places.size:
        return Votes(masks[0], places, np.zeros((max(sides) + 1, 0, count), np.float32))
    y, x = np.divmod(places, width)
    box = (slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1))
    counter = _VoteCounter(frame, box, y, x, count, max(sides) + 1, settings)
    for source, side in zip(sources, sides, strict=True):
        counter.add(source, side)
    return Votes(masks[0], places, counter.result())


def _contested(masks: list[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Pixels where sources differ, or that have a second class within reach."""
    window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    contested = np.zeros(masks[0].shape, bool)
    for mask in masks:
        contested |= mask != masks[0]
        contested |= cv2.dilate(mask, window) != cv2.erode(mask, window)
    return contested


class _VoteCounter:
    """Collects the votes of one source after another on the contested pixels of a frame."""

    def __init__(
        self,
        frame: NDArray[np.uint8],
        box: tuple[slice, slice],
        y: NDArray[np.intp],
        x: NDArray[np.intp],
        count: int,
        sides: int,
        settings: MatchSettings,
    ) -> None:
        self._frame = np.ascontiguousarray(frame[box])
        self._box = box
        self._settings = settings
        height, width = self._frame.shape[:2]
        top, left = y - box[0].start, x - box[1].start
        self._inner = top * width + left
        self._stride = width + 2 * _REACH
        self._padded = (top + _REACH) * self._stride + left + _REACH
        self._size = (height, width)
        differences = np.arange(256, dtype=np.float32) / (_UNIT * settings.colour)
        self._likeness = np.exp(-differences) + np.float32(settings.colour_floor)
        self._count = count
        self._slots = np.arange(self._inner.size) * count
        self._votes = np.zeros((sides, self._inner.size * count), np.float32)

    def add(self, source: Source, side: int) -> None:
        """Add a source's votes to those of its side."""
        votes = self._votes[side].reshape(-1, self._count)
        positions = np.ascontiguousarray(source.positions[self._box])
        if self._count == 2:
            lead = _pad(_warp_lead(source, positions)).ravel()
            total, balance = np.zeros((2, self._inner.size), np.float32)
            for there, weight in self._likenesses(source, positions):
                leads = lead.take(there)
                leads *= weight
                balance += leads
                total += np.abs(leads, out=leads)
            votes[:, 0] += (total - balance) / 2
            votes[:, 1] += (total + balance) / 2
            return
        classes = _pad(sample(source.mask, positions, "nearest")).ravel()
        shares = None
        if source.margin is not None:
            shares = _pad(sample(source.margin, positions)).ravel()
        flat = votes.reshape(-1)
        for there, weight in self._likenesses(source, positions):
            if shares is not None:
                weight *= shares.take(there)
            flat[classes.take(there) + self._slots] += weight

    def _likenesses(
        self, source: Source, positions: NDArray[np.float32]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """For each offset: the places compared with, in the padded box, and their weights."""
        height, width = self._size
        image = _pad(sample(source.lab, positions))
        confidence = source.confidence[self._box].ravel().take(self._inner)
        base = (confidence + np.float32(self._settings.confidence_floor)) * np.float32(
            source.weight
        )
        spread = self._settings.radius + self._settings.search * (1 - confidence)
        fall = np.float32(-0.5) / (spread * spread)
        nearness: dict[int, NDArray[np.float32]] = {}
        for x, y in OFFSETS:
            squared = x * x + y * y
            if squared not in nearness:
                nearness[squared] = base * np.exp(fall * np.float32(squared))
            shifted = image[_REACH + y : _REACH + y + height, _REACH + x : _REACH + x + width]
            difference = cv2.transform(cv2.absdiff(self._frame, shifted), _LAB_WEIGHTS)
            difference = cv2.blur(difference, (3, 3))
            weight = self._likeness.take(difference.ravel().take(self._inner))
            weight *= nearness[squared]
            yield self._padded + (y * self._stride + x), weight

    def result(self) -> NDArray[np.float32]:
        """(S, N, K) float32: the votes."""
        return self._votes.reshape(len(self._votes), self._inner.size, self._count)


def _warp_lead(source: Source, positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """By how much class 1 leads class 0 at `positions`, −1 to 1, of a source of two classes.

    Between two classes the outline is so placed to a fraction of a pixel. Among more, the nearest
    pixel decides, which is quicker.
    """
    sign = source.mask.astype(np.float32) * 2 - 1
    return sample(sign if source.margin is None else sign * source.margin, positions)


def _pad(image: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(
        cv2.copyMakeBorder(image, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_REPLICATE)
    )
