"""A clip with its frames made smaller, for what need not see them at full size."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from model.batches import reduced_masks, training_size
from model.clip import FrameSource

__all__ = ["SmallerClip", "smaller"]

Labels = Mapping[int, NDArray[np.uint8]]


class SmallerClip:
    """The frames of a clip, reduced when they are read.

    Args:
        source: The clip.
        size: (height, width) that its frames are to have.
    """

    def __init__(self, source: FrameSource, size: tuple[int, int]) -> None:
        self._source = source
        self._size = size

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index`, (height, width, 3) uint8; raises what the clip raises."""
        image = self._source.read(index)
        small = cv2.resize(image, self._size[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.uint8)


def smaller(source: FrameSource, labels: Labels, most: int) -> tuple[FrameSource, Labels]:
    """Reduce a clip and its labels to at most `most` pixels a frame.

    Args:
        source: The clip.
        labels: Frame index → (H, W) uint8 mask, 255 = ignore; at least one.
        most: H · W of what is wanted.

    Returns:
        The clip and the labels; the very ones that were given where they are small enough.
    """
    shape = next(iter(labels.values())).shape
    size = training_size(shape, most)
    if size == shape:
        return source, labels
    return SmallerClip(source, size), reduced_masks(labels, size)
