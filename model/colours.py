"""What colours classes have about a place in a clip's key frames, and how well a region fits them.

A wrong label is told by colours in two ways: the region looks like another class does about there
in the key frames around, and it sticks out from what its own class looks like, in its own frame
too. Both are histograms of Lab colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.clip import FrameSource
from model.keyframes import IGNORE, lab, read_frame

__all__ = ["Colours", "Fit", "labels_of"]

_BINS = 16
"""Of each Lab channel."""

_CODES = _BINS**3

_FLAT = 0.02
"""Share of a class's colours that may be anything."""

_FEW = 30
"""Pixels from which a class's colours are known."""

_AROUND = 24
"""Pixels around a region, at least, in which the classes' colours are learnt."""

_NEAREST = 4
"""Key frames, besides the one looked at, that colours are learnt from."""

_MOST = 3.0
"""Log-odds that one pixel's colour counts at most."""

_BLUR = (7, 7)
"""Pixels over which colours are averaged where regions are looked for by them."""

_STICKS_OUT = 0.3
"""Mean log-odds from which pixels look like another class than theirs."""

Window = tuple[slice, slice]


class Fit(NamedTuple):
    """How a region's colours fit the class that it may be, rather than the one it is said to be.

    Attributes:
        odds: Mean log-odds over its pixels, -3 to 3; 3 where only the former is seen nearby.
        alike: Overlap of its histogram with that of the former, 0 to 1.
    """

    odds: float
    alike: float


class Colours:
    """What colours the classes have about a place, in a key frame and in those nearest to it.

    A few key frames about the one looked at last are kept, 4 bytes a pixel each.

    Args:
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        source: The clip.
    """

    def __init__(self, keys: Mapping[int, NDArray[np.uint8]], source: FrameSource) -> None:
        self._keys = keys
        self._source = source
        self._labels = sorted({label for mask in keys.values() for label in labels_of(mask)})
        self._near: tuple[int, list[int]] | None = None
        self._kept: dict[int, NDArray[np.int32]] = {}

    def fits(
        self, index: int, window: Window, inside: NDArray[np.bool_], labelled: int
    ) -> dict[int, Fit]:
        """Compare a region's colours with those of the class that it is said to be, and of others.

        Args:
            index: The key frame.
            window: The region's rows and columns.
            inside: (h, w) bool, the region in there.
            labelled: The class that it is said to be.

        Returns:
            How it fits each other class that is seen nearby.

        Raises:
            ClipError: A frame cannot be read.
        """
        counts = self._counts(index, window)
        own = np.bincount(self._read(index)[window][inside] % _CODES, minlength=_CODES)
        counts[self._labels.index(labelled)] -= own
        known = _shares(counts)
        if not known:  # Labelled in parts, key frames may show nothing about this place.
            return {}
        shares = own / own.sum()
        alike = np.minimum(_smooth(shares[None]), list(known.values())).sum(axis=1)
        said = known.get(self._labels.index(labelled))
        return {
            self._labels[place]: Fit(
                _MOST if said is None else float(_odds(one, said) @ shares), float(overlap)
            )
            for (place, one), overlap in zip(known.items(), alike, strict=True)
            if self._labels[place] != labelled
        }

    def likelier(
        self, index: int, window: Window, inside: NDArray[np.bool_], labelled: int
    ) -> NDArray[np.uint8]:
        """Tell which class a region's pixels look like: its own, unless another clearly does.

        Arguments as for `fits`. What the region's own class looks like is learnt from the other
        key frames, and from the rest of its own.

        Returns:
            (h, w) uint8; `labelled` outside the region.
        """
        counts = self._counts(index, window)
        codes = self._read(index)[window]
        counts[self._labels.index(labelled)] -= np.bincount(
            codes[inside] % _CODES, minlength=_CODES
        )
        out = np.full(inside.shape, labelled, np.uint8)
        known = _shares(counts)
        own = known.pop(self._labels.index(labelled), None)
        if own is None:
            return out
        weight = inside.astype(np.float32)
        about = np.maximum(cv2.blur(weight, _BLUR), np.float32(1e-6))
        best = np.full(inside.shape, _STICKS_OUT, np.float32)
        for place, shares in known.items():
            odds = _odds(shares, own).astype(np.float32)[codes % _CODES] * weight
            mean = np.asarray(cv2.blur(odds, _BLUR)) / about
            better = inside & (mean > best)
            out[better], best[better] = self._labels[place], mean[better]
        return out

    def _counts(self, index: int, window: Window) -> NDArray[np.float64]:
        """How often each class has each colour about a place, (classes in use, colours)."""
        place = self._grown(window)
        if self._near is None or self._near[0] != index:
            order = sorted(self._keys, key=lambda other: abs(other - index))
            self._near = index, order[: 1 + _NEAREST]
            self._kept = {i: codes for i, codes in self._kept.items() if i in self._near[1]}
        count = len(self._labels) + 1
        total = np.zeros(count * _CODES)
        for other in self._near[1]:
            total += np.bincount(self._read(other)[place].ravel(), minlength=count * _CODES)
        return total.reshape(count, _CODES)[:-1]

    def _read(self, index: int) -> NDArray[np.int32]:
        """(H, W) int32: each pixel's class, by its place among those in use, and its colour."""
        if index not in self._kept:
            mask = self._keys[index]
            bins = (lab(read_frame(self._source, index, _size(mask))) // (256 // _BINS)).astype(
                np.int32
            )
            places = np.full(IGNORE + 1, len(self._labels), np.int32)
            places[self._labels] = np.arange(len(self._labels))
            codes = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
            self._kept[index] = places[mask] * _CODES + codes
        return self._kept[index]

    def _grown(self, window: Window) -> Window:
        """Half as far again on each side, for what moves."""
        height, width = _size(next(iter(self._keys.values())))
        rows, columns = (
            slice(max(0, side.start - more), min(size, side.stop + more))
            for side, size in zip(window, (height, width), strict=True)
            for more in (max(_AROUND, (side.stop - side.start) // 2),)
        )
        return rows, columns


def labels_of(mask: NDArray[np.uint8]) -> list[int]:
    """The classes that a mask has, in order; 255 is none."""
    return [int(label) for label in np.flatnonzero(np.bincount(mask.ravel())[:IGNORE])]


def _size(mask: NDArray[np.uint8]) -> tuple[int, int]:
    return mask.shape[0], mask.shape[1]


def _shares(counts: NDArray[np.float64]) -> dict[int, NDArray[np.float64]]:
    """Place of a class → its histogram of colours, summing to 1, where enough of it is seen."""
    totals = counts.sum(axis=1)
    places = np.flatnonzero(totals >= _FEW)
    shares = _smooth(counts[places] / totals[places, None])
    return {int(place): share for place, share in zip(places, shares, strict=True)}


def _odds(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each colour, the log-odds that it is of one class rather than of the other."""
    flat = _FLAT / _CODES
    out: NDArray[np.float64] = np.clip(np.log((one + flat) / (other + flat)), -_MOST, _MOST)
    return out


def _smooth(histograms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread histograms, (n, colours), a little along each of the three axes of colour."""
    cubes: NDArray[np.float64] = histograms.reshape(-1, _BINS, _BINS, _BINS)
    for axis in (1, 2, 3):
        width = [(1, 1) if other == axis else (0, 0) for other in range(4)]
        padded = np.moveaxis(np.pad(cubes, width, "edge"), axis, 0)
        spread = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
        cubes = np.moveaxis(spread, 0, axis)
    out: NDArray[np.float64] = cubes.reshape(histograms.shape)
    return out
