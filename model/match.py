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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.warp import sample

__all__ = ["MatchSettings", "Source", "match"]

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


def match(
    frame: NDArray[np.uint8], sources: Sequence[Source], count: int, settings: MatchSettings
) -> NDArray[np.float32]:
    """Let the sources vote on a frame's pixels.

    Args:
        frame: (H, W, 3) uint8 Lab.
        sources: At least one; where all agree, the first one's class is taken.
        count: K, the number of classes.
        settings: How votes are weighed.

    Returns:
        (K, H, W) float32 probabilities.
    """
    height, width = frame.shape[:2]
    masks = [sample(source.mask, source.positions, "nearest") for source in sources]
    settled = np.arange(count, dtype=np.uint8) == masks[0][..., None]
    probabilities = settled.astype(np.float32).reshape(-1, count)
    places = np.flatnonzero(_contested(masks))
    if places.size:
        y, x = np.divmod(places, width)
        box = (slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1))
        voting = _Booth(frame, box, y, x, count, settings)
        for source in sources:
            voting.hear(source)
        probabilities[places] = voting.result()
    return np.ascontiguousarray(np.moveaxis(probabilities.reshape(height, width, count), 2, 0))


def _contested(masks: list[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Pixels where sources differ, or that have a second class within reach."""
    window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    contested = np.zeros(masks[0].shape, bool)
    for mask in masks:
        contested |= mask != masks[0]
        contested |= cv2.dilate(mask, window) != cv2.erode(mask, window)
    return contested


class _Booth:
    """Collects the votes of one source after another on the contested pixels of a frame."""

    def __init__(
        self,
        frame: NDArray[np.uint8],
        box: tuple[slice, slice],
        y: NDArray[np.intp],
        x: NDArray[np.intp],
        count: int,
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
        self._votes = np.zeros(self._inner.size * count, np.float32)

    def hear(self, source: Source) -> None:
        """Add a source's votes."""
        height, width = self._size
        positions = np.ascontiguousarray(source.positions[self._box])
        image = _pad(sample(source.lab, positions))
        labels, margin = _warp_labels(source, positions, self._count)
        classes = _pad(labels).ravel()
        shares = None if margin is None else _pad(margin).ravel()
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
            there = self._padded + (y * self._stride + x)
            if shares is not None:
                weight *= shares.take(there)
            self._votes[classes.take(there) + self._slots] += weight

    def result(self) -> NDArray[np.float32]:
        """(N, K) float32: the votes as probabilities."""
        votes = self._votes.reshape(self._inner.size, -1)
        out: NDArray[np.float32] = votes / np.maximum(votes.sum(axis=1, keepdims=True), _TINY)
        return out


def _warp_labels(
    source: Source, positions: NDArray[np.float32], count: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """A source's classes and margins at `positions`.

    Between two classes the outline is placed to a fraction of a pixel, by interpolating the
    margin with the class for its sign. Among more, the nearest pixel decides, which is quicker.
    """
    if count == 2:
        sign = source.mask.astype(np.float32) * 2 - 1
        lead = sample(sign if source.margin is None else sign * source.margin, positions)
        return (lead > 0).view(np.uint8), np.abs(lead)
    labels = sample(source.mask, positions, "nearest")
    return labels, None if source.margin is None else sample(source.margin, positions)


def _pad(image: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(
        cv2.copyMakeBorder(image, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_REPLICATE)
    )
