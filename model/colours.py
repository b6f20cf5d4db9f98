"""What colours classes have about a place in other frames, and how well a region's fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.clip import FrameSource
from model.keyframes import lab, read_frame

__all__ = ["Colours"]

_BINS = 16
"""Of each Lab channel, for histograms of colours."""

_KERNEL = np.array([0.25, 0.5, 0.25])

_FLAT = 0.02
"""Share of a class's colours that may be anything."""

_FEW = 30
"""Pixels from which a class's colours are known."""

_AROUND = 24
"""Pixels around a region, at least, in which the classes' colours are learnt."""


class Colours:
    """What colours the classes have about a place in the neighbouring key frames.

    Args:
        index: The key frame whose regions are looked at.
        neighbours: Other key frames.
        keys: Frame index → (H, W) uint8 mask.
        source: The clip.

    Raises:
        ClipError: A frame cannot be read.
    """

    def __init__(
        self,
        index: int,
        neighbours: Sequence[int],
        keys: Mapping[int, NDArray[np.uint8]],
        source: FrameSource,
    ) -> None:
        self._shape = (keys[index].shape[0], keys[index].shape[1])
        self._codes = _codes(read_frame(source, index, self._shape))
        self._others = [
            (keys[other], _codes(read_frame(source, other, self._shape))) for other in neighbours
        ]

    def compare(
        self, window: tuple[slice, slice], inside: NDArray[np.bool_], expected: int, labelled: int
    ) -> tuple[float, float]:
        """Tell how a region's colours fit two classes.

        Args:
            window: The region's rows and columns.
            inside: The region in there.
            expected: The class that it may be.
            labelled: The class that it is said to be.

        Returns:
            The share of its pixels whose colour is likelier of `expected` than of `labelled` (1
            where the latter is not seen nearby); and the overlap of its histogram with that of
            `expected`, 0 to 1.
        """
        place = self._grown(window)
        codes = self._codes[window][inside]
        known = {label: self._histogram(place, label) for label in (expected, labelled)}
        own = _smooth(np.bincount(codes, minlength=_BINS**3).astype(np.float64))
        one, other = known[expected], known[labelled]
        if one is None:
            return 0.0, 0.0
        alike = float(np.minimum(own / own.sum(), one).sum())
        if other is None:
            return 1.0, alike
        return float((_likely(one, codes) > _likely(other, codes)).mean()), alike

    def _grown(self, window: tuple[slice, slice]) -> tuple[slice, slice]:
        """Half as far again on each side, for what moves."""
        grown = []
        for side, size in zip(window, self._shape, strict=True):
            more = max(_AROUND, (side.stop - side.start) // 2)
            grown.append(slice(max(0, side.start - more), min(size, side.stop + more)))
        return grown[0], grown[1]

    def _histogram(self, place: tuple[slice, slice], label: int) -> NDArray[np.float64] | None:
        """The class's colours in a part of the neighbours, summing to 1; None where unknown."""
        total = np.zeros(_BINS**3)
        for mask, codes in self._others:
            total += np.bincount(codes[place][mask[place] == label], minlength=_BINS**3)
        return _smooth(total / total.sum()) if total.sum() >= _FEW else None


def _likely(histogram: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = histogram[codes] + _FLAT / _BINS**3
    return out


def _codes(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(H, W) int32: the bin of each pixel's colour."""
    bins = (lab(image) // (256 // _BINS)).astype(np.int32)
    out: NDArray[np.int32] = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    return out


def _smooth(histogram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread a histogram a little along each of its three axes."""
    cube = histogram.reshape(_BINS, _BINS, _BINS)
    for axis in range(3):
        padded = np.pad(cube, [(1, 1) if other == axis else (0, 0) for other in range(3)], "edge")
        parts = [np.take(padded, range(step, step + _BINS), axis) for step in range(3)]
        cube = sum((w * part for w, part in zip(_KERNEL, parts, strict=True)), np.zeros_like(cube))
    return cube.ravel()
