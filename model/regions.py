"""Regions of a key frame that may have been given another class than theirs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.colours import Colours, labels_of
from model.keyframes import IGNORE

__all__ = ["Region", "regions_of"]

_SMALLEST = 16
"""Pixels below which a region is none."""

_SHARE_OF_FRAME = 0.001
"""The same, as a share of the frame."""

_LEAST_PART = 0.003
"""Share of the frame below which a region that had to be cut out of another is none."""

_AGREED, _SURE = 0.9, 0.1
"""Mean probability of the label, and confidence, from which a region needs no other look."""

_THICK = np.ones((7, 7), np.uint8)
"""Where label and prediction differ by less than this, it is the outline that differs."""

Window = tuple[slice, slice]


class Region(NamedTuple):
    """Connected pixels of one label.

    Attributes:
        window: Rows and columns.
        inside: (h, w) bool, the pixels in there.
        label: The class that they are said to be.
        whole: Whether the outline is one of the labels' or of the prediction's; False where the
            region was cut out of a larger one of its label.
    """

    window: Window
    inside: NDArray[np.bool_]
    label: int
    whole: bool

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels, right and bottom not included."""
        rows, columns = self.window
        return columns.start, rows.start, columns.stop, rows.stop


def regions_of(mask: NDArray[np.uint8], result: FrameResult, colours: Colours) -> Iterator[Region]:
    """Regions of a key frame that may be misnamed.

    Args:
        mask: (H, W) uint8, the key frame's labels, 255 = ignore.
        result: Its prediction from the other key frames.
        colours: Of the clip's key frames.

    Raises:
        ClipError: A frame cannot be read.
    """
    for region in _outlined(mask, result.mask):
        rows, columns = region.window
        agreed = result.probabilities[region.label, rows, columns][region.inside].mean()
        sure = result.confidence[rows, columns][region.inside].mean()
        if agreed < _AGREED or sure < _SURE:
            yield region
    yield from _by_colours(mask, result.index, colours)


def _outlined(mask: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> Iterator[Region]:
    """Regions with the labels' or the prediction's outlines.

    First the connected regions of one class. A wrong region may have become one with its
    surroundings: so then those that are predicted as one class, as far as they have one other
    label; whole where that is most of them. Of the others the slivers along outlines, which are no
    mistakes of naming, are left out.
    """
    least = max(_SMALLEST, _SHARE_OF_FRAME * mask.size)
    for label in labels_of(mask):
        for window, inside in _connected(mask == label, least):
            yield Region(window, inside, label, whole=True)
    for other in labels_of(predicted):
        for window, inside in _connected(predicted == other, least):
            sizes = np.bincount(mask[window][inside], minlength=IGNORE + 1)[:IGNORE]
            for label in (int(value) for value in np.flatnonzero(sizes >= least) if value != other):
                part = inside & (mask[window] == label)
                whole = bool(sizes[label] >= inside.sum() / 2)
                for place, found in _connected(
                    part if whole else _thick(part), least if whole else _LEAST_PART * mask.size
                ):
                    yield Region(_within(window, place), found, label, whole)


def _by_colours(mask: NDArray[np.uint8], index: int, colours: Colours) -> Iterator[Region]:
    """Parts of regions that look like another class, wherever flow has led."""
    least = max(_SMALLEST, _LEAST_PART * mask.size)
    for label in labels_of(mask):
        for window, inside in _connected(mask == label, 2 * least):
            likelier = colours.likelier(index, window, inside, label)
            for other in labels_of(likelier):
                if other != label:
                    for place, found in _connected(_thick(likelier == other), least):
                        yield Region(_within(window, place), found, label, whole=False)


def _thick(where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without what is thin."""
    return np.asarray(cv2.dilate(cv2.erode(where.astype(np.uint8), _THICK), _THICK)) > 0


def _within(window: Window, place: Window) -> Window:
    rows, columns = (
        slice(outer.start + inner.start, outer.start + inner.stop)
        for outer, inner in zip(window, place, strict=True)
    )
    return rows, columns


def _connected(
    where: NDArray[np.bool_], least: float
) -> Iterator[tuple[Window, NDArray[np.bool_]]]:
    """The connected regions of at least so many pixels."""
    count, regions, stats, _ = cv2.connectedComponentsWithStats(
        where.astype(np.uint8), connectivity=4
    )
    for region in range(1, count):
        left, top, width, height, size = (int(value) for value in stats[region])
        if size >= least:
            window = (slice(top, top + height), slice(left, left + width))
            yield window, regions[window] == region
