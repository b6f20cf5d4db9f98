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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from model.warp import sample

__all__ = ["OFFSETS", "MatchSettings", "Source", "Votes", "match", "patch_differences", "vote"]

_STEPS = (1, 3, 6)
OFFSETS = tuple(sorted({(s * i, s * j) for s in _STEPS for i in (-1, 0, 1) for j in (-1, 0, 1)}))
"""(x, y) pixels: the pixel itself, and rings of eight at three distances."""

_SQUARED = tuple(x * x + y * y for x, y in OFFSETS)

_REACH = max(_STEPS)

_CHUNK = 4096
"""Pixels counted at a time: what is looked at then stays in the processor's cache."""

_Number = TypeVar("_Number", np.float32, np.intp)

_Counting = Callable[[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32]], None]
"""Called with (offsets, n) weights, n corners of windows and (n, K) votes, which it adds to."""

_TINY = np.float32(1e-30)
_UNIT = 4.0
"""Patch differences are kept as uint8 in quarters of a unit of CIE Lab."""

_LIGHT = float(np.float32(np.sqrt(0.5) * 100 / 255 * _UNIT))
"""What a step of L counts in these quarters; a step of a or b counts 4."""


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
        warped: (H, W, 3) uint8, `lab` at `positions`, where it was looked up already.
        classes: (H, W) uint8, `mask` at `positions`, likewise.
        lead: (H, W) float32, of two classes: `mask` as −1 and 1, where that is at hand.
    """

    mask: NDArray[np.uint8]
    margin: NDArray[np.float32] | None
    lab: NDArray[np.uint8]
    positions: NDArray[np.float32]
    confidence: NDArray[np.float32]
    weight: float
    warped: NDArray[np.uint8] | None = None
    classes: NDArray[np.uint8] | None = None
    lead: NDArray[np.float32] | None = None


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
        shares = self._shares(side)
        out = np.empty((shares.shape[1], *self.settled.shape), np.float32)
        for label, plane in enumerate(out):
            np.equal(self.settled, label, out=plane, casting="unsafe")
            plane.reshape(-1)[self.places] = shares[:, label]
        return out

    def rows(self) -> NDArray[np.intp]:
        """(H·W,) for each pixel its column of a `table`."""
        rows = self.settled.ravel().astype(np.intp) + len(self.places)
        rows[self.places] = np.arange(len(self.places))
        return rows

    def table(self, side: int) -> NDArray[np.float32]:
        """One side's votes without repetition: (K, N + K) float32, the contested pixels first,
        then one for each class that pixels are settled on."""
        shares = self._shares(side)
        return np.concatenate([shares.T, np.eye(shares.shape[1], dtype=np.float32)], axis=1)

    def _shares(self, side: int | None) -> NDArray[np.float32]:
        counts = self.counts.sum(axis=0) if side is None else self.counts[side]
        shares: NDArray[np.float32] = counts / np.maximum(counts.sum(axis=1, keepdims=True), _TINY)
        return shares


def match(
    frame: NDArray[np.uint8], sources: Sequence[Source], count: int, settings: MatchSettings
) -> NDArray[np.float32]:
    """Let sources that are all on one side vote on a frame's pixels; see `vote`.

    Returns:
        (K, H, W) float32 probabilities.
    """
    return vote(frame, [sources], count, settings).probabilities()


def vote(
    frame: NDArray[np.uint8],
    sides: Sequence[Sequence[Source]],
    count: int,
    settings: MatchSettings,
) -> Votes:
    """Let the sources vote on a frame's pixels, and keep the sides apart.

    Args:
        frame: (H, W, 3) uint8 Lab.
        sides: The sources of each side, at least one; where all agree, the first one's class is
            taken.
        count: K, the number of classes.
        settings: How votes are weighed.

    Returns:
        The votes.
    """
    masks = [
        sample(source.mask, source.positions, "nearest")
        if source.classes is None
        else source.classes
        for sources in sides
        for source in sources
    ]
    places = np.flatnonzero(_contested(masks))
    counts = np.zeros((len(sides), places.size, count), np.float32)
    if places.size:
        booth = _Booth(frame, places, count, settings)
        for sources, votes in zip(sides, counts, strict=True):
            for source in sources:
                booth.add(source, votes)
    return Votes(masks[0], places, counts)


def _contested(masks: list[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Pixels where sources differ, or that have a second class within reach."""
    window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    contested = np.zeros(masks[0].shape, bool)
    for mask in masks:
        contested |= mask != masks[0]
        contested |= cv2.dilate(mask, window) != cv2.erode(mask, window)
    return contested


class _Booth:
    """The contested pixels of a frame, where sources vote."""

    def __init__(
        self,
        frame: NDArray[np.uint8],
        places: NDArray[np.intp],
        count: int,
        settings: MatchSettings,
    ) -> None:
        y, x = np.divmod(places, frame.shape[1])
        self._box = (slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1))
        self._frame = np.ascontiguousarray(frame[self._box])
        self._settings = settings
        width = self._frame.shape[1]
        y -= self._box[0].start
        x -= self._box[1].start
        self._inner = y * width + x
        stride = width + 2 * _REACH
        # In the padded box: the upper left corner of each pixel's window, and from there each
        # offset.
        self._corner = y * stride + x
        self._starts = [(_REACH + y) * stride + _REACH + x for x, y in OFFSETS]
        differences = np.arange(256, dtype=np.float32) / (_UNIT * settings.colour)
        self._likeness = np.exp(-differences) + np.float32(settings.colour_floor)
        self._slots = np.arange(_CHUNK) * count

    def add(self, source: Source, votes: NDArray[np.float32]) -> None:
        """Add a source's votes to (N, K) float32 `votes`."""
        confidence = source.confidence[self._box].ravel().take(self._inner)
        differences = self._differences(source)
        count = self._count_two if votes.shape[1] == 2 else self._count_more
        counting = count(source)
        for start in range(0, len(votes), _CHUNK):
            part = slice(start, start + _CHUNK)
            weights = self._weights(source.weight, confidence[part], differences[:, part])
            counting(weights, self._corner[part], votes[part])

    def _differences(self, source: Source) -> NDArray[np.uint8]:
        """How much the patches differ, (offsets, N) uint8."""
        if source.warped is None:
            warped = sample(source.lab, self._positions(source))
        else:
            warped = source.warped[self._box]
        out = np.empty((len(OFFSETS), self._inner.size), np.uint8)
        for row, difference in zip(out, patch_differences(self._frame, warped), strict=True):
            difference.reshape(-1).take(self._inner, out=row, mode="clip")
        return out

    def _weights(
        self, weight: float, confidence: NDArray[np.float32], differences: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """How much each offset counts on some of the pixels, (offsets, n) float32."""
        base = (confidence + np.float32(self._settings.confidence_floor)) * np.float32(weight)
        spread = self._settings.radius + self._settings.search * (1 - confidence)
        fall = np.float32(-0.5) / (spread * spread)
        nearness = {far: base * np.exp(fall * np.float32(far)) for far in set(_SQUARED)}
        weights = np.asarray(cv2.LUT(differences, self._likeness), np.float32)
        for row, far in zip(weights, _SQUARED, strict=True):
            row *= nearness[far]
        return weights

    def _count_two(self, source: Source) -> _Counting:
        """Between two classes a vote is a lead of the one over the other."""
        lead = _pad(sample(_lead(source), self._positions(source))).ravel()

        def counting(
            weights: NDArray[np.float32], corner: NDArray[np.intp], votes: NDArray[np.float32]
        ) -> None:
            leads = self._around(lead, corner)
            leads *= weights
            balance = leads.sum(axis=0)
            total = np.abs(leads, out=leads).sum(axis=0)
            votes[:, 0] += (total - balance) / 2
            votes[:, 1] += (total + balance) / 2

        return counting

    def _count_more(self, source: Source) -> _Counting:
        """Among more classes the nearest pixel's has the vote."""
        if source.classes is None:
            classes = sample(source.mask, self._positions(source), "nearest")
        else:
            classes = source.classes[self._box]
        padded = _pad(classes).ravel().astype(np.intp)
        shares = None
        if source.margin is not None:
            shares = _pad(sample(source.margin, self._positions(source))).ravel()

        def counting(
            weights: NDArray[np.float32], corner: NDArray[np.intp], votes: NDArray[np.float32]
        ) -> None:
            if shares is not None:
                weights *= self._around(shares, corner)
            flat = votes.reshape(-1)
            slots = self._around(padded, corner)
            slots += self._slots[: len(votes)]
            for slot, weight in zip(slots, weights, strict=True):
                flat[slot] += weight

        return counting

    def _around(self, padded: NDArray[_Number], corner: NDArray[np.intp]) -> NDArray[_Number]:
        """What is in a padded box at each offset from some of the pixels, (offsets, n)."""
        out = np.empty((len(OFFSETS), corner.size), padded.dtype)
        for row, start in zip(out, self._starts, strict=True):
            padded[start:].take(corner, out=row, mode="clip")
        return out

    def _positions(self, source: Source) -> NDArray[np.float32]:
        return np.ascontiguousarray(source.positions[self._box])


def patch_differences(
    frame: NDArray[np.uint8], other: NDArray[np.uint8]
) -> Iterator[NDArray[np.uint8]]:
    """Compare the 3 × 3 patches of two images, for each of the `OFFSETS`.

    Args:
        frame: (H, W, 3) uint8 Lab.
        other: (H, W, 3) uint8 Lab; beyond its border the nearest border pixel.

    Yields:
        (H, W) uint8, d(x, x + o) in quarters of a unit of CIE Lab, 255 for all above; valid until
        the next is asked for.
    """
    height, width = frame.shape[:2]
    light, a, b = cv2.split(frame)
    others = cv2.split(_pad(other))
    first, second, out = (np.empty((height, width), np.uint8) for _ in range(3))
    for x, y in OFFSETS:
        rows = slice(_REACH + y, _REACH + y + height)
        columns = slice(_REACH + x, _REACH + x + width)
        there = [plane[rows, columns] for plane in others]
        # Sums of bytes that stop at 255 go many at a time, a weighted sum of channels does not.
        cv2.absdiff(a, there[1], dst=first)
        cv2.absdiff(b, there[2], dst=second)
        cv2.add(first, second, dst=first)
        cv2.add(first, first, dst=first)
        cv2.add(first, first, dst=first)
        cv2.absdiff(light, there[0], dst=second)
        cv2.convertScaleAbs(second, dst=second, alpha=_LIGHT)
        cv2.add(first, second, dst=first)
        yield np.asarray(cv2.blur(first, (3, 3), dst=out), np.uint8)


def _lead(source: Source) -> NDArray[np.float32]:
    """By how much class 1 leads class 0 in a source of two classes, −1 to 1.

    Between two classes the outline is so placed to a fraction of a pixel. Among more, the nearest
    pixel decides, which is quicker.
    """
    lead = source.lead
    if lead is None:
        lead = source.mask.astype(np.float32) * 2 - 1
    return lead if source.margin is None else lead * source.margin


def _pad(image: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(
        cv2.copyMakeBorder(image, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_REPLICATE)
    )
