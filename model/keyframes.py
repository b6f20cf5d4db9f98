"""Key frames: human masks made ready to be carried to other frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from model.clip import ClipError, FrameSource
from model.warp import sample

__all__ = ["IGNORE", "KeyFrame", "check_keys", "lab", "read_frame"]

IGNORE = 255
"""The class index of pixels that nobody labelled."""

_REACH = 8.0
"""Pixels over which the trust in an unlabelled pixel's filled-in class falls to 1/e."""


def check_keys(
    keys: Mapping[int, NDArray[np.uint8]], num_classes: int, frames: int
) -> dict[int, NDArray[np.uint8]]:
    """Return the key frames that carry a label, in frame order.

    Args:
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: Classes are 0 to num_classes - 1; 1 to 254.
        frames: The clip's length.

    Raises:
        ValueError: A mask is no mask of these classes, sizes differ, an index is outside the
            clip, or no pixel is labelled at all.
    """
    if not 1 <= num_classes < IGNORE:
        raise ValueError(f"num_classes must be 1 to {IGNORE - 1}, not {num_classes}")
    if not keys:
        raise ValueError("propagation needs at least one labelled frame, and there is none")
    shape = None
    checked = {}
    for index in sorted(keys):
        mask = np.asarray(keys[index])
        if not 0 <= index < frames:
            raise ValueError(
                f"frame {index} is labelled, but the clip's frames are 0 to {frames - 1}"
            )
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise ValueError(
                f"the mask of frame {index} must be (H, W) uint8, not {mask.shape} {mask.dtype}"
            )
        shape = shape or mask.shape
        if mask.shape != shape:
            raise ValueError(
                f"the mask of frame {index} is {_size(mask.shape)}, but that of frame"
                f" {min(keys)} is {_size(shape)}; a clip's masks are all of one size"
            )
        labelled = mask != IGNORE
        if labelled.any():
            highest = int(mask[labelled].max())
            if highest >= num_classes:
                raise ValueError(
                    f"the mask of frame {index} names class {highest}, but there are"
                    f" {num_classes} classes, 0 to {num_classes - 1}"
                )
            checked[index] = mask
    if not checked:
        raise ValueError("propagation needs labels, and every labelled frame is all 'ignore'")
    return checked


def read_frame(source: FrameSource, index: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a frame that must be of the masks' (H, W); raises `ClipError` where it is not."""
    image = source.read(index)
    if image.shape[:2] != shape:
        raise ClipError(
            f"frame {index} is {_size(image.shape)}, but the labelled frames' masks are"
            f" {_size(shape)}; make the clip's frames all of one size"
        )
    return image


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"


def lab(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert RGB to Lab in OpenCV's 8-bit scale; (H, W, 3) uint8."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), dtype=np.uint8)


@dataclass(frozen=True)
class KeyFrame:
    """A labelled frame, ready to be warped.

    Attributes:
        index: Its place in the clip.
        mask: (H, W) uint8, ignored pixels filled with the class of the nearest labelled pixel.
        labelled: (H, W) bool, what a person labelled.
        trust: (H, W) float32, 1 where labelled and falling with the distance from there; None
            where every pixel is labelled.
        onehot: (H, W, K) uint8, 0 or 255.
        image: (H, W, 3) uint8 RGB.
        lab: (H, W, 3) uint8, the image in Lab.
    """

    index: int
    mask: NDArray[np.uint8]
    labelled: NDArray[np.bool_]
    trust: NDArray[np.float32] | None
    onehot: NDArray[np.uint8]
    image: NDArray[np.uint8]
    lab: NDArray[np.uint8]

    @classmethod
    def prepare(
        cls, index: int, mask: NDArray[np.uint8], image: NDArray[np.uint8], num_classes: int
    ) -> KeyFrame:
        """Fill the ignored pixels of `mask` and precompute what warping needs."""
        labelled = np.asarray(mask != IGNORE)
        trust = None
        if not labelled.all():
            distance, nearest = cv2.distanceTransformWithLabels(
                (~labelled).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
            )
            classes = np.zeros(int(nearest.max()) + 1, np.uint8)
            classes[nearest[labelled]] = mask[labelled]
            mask = classes[nearest]
            trust = np.exp(-distance.astype(np.float32) / _REACH)
        onehot = np.where(mask[..., None] == np.arange(num_classes), np.uint8(255), np.uint8(0))
        return cls(index, mask, labelled, trust, onehot, image, lab(image))

    @cached_property
    def lead(self) -> NDArray[np.float32]:
        """(H, W) float32, of two classes: 1 where it is class 1, −1 where it is class 0."""
        return self.mask.astype(np.float32) * 2 - 1

    @cached_property
    def planes(self) -> NDArray[np.uint8]:
        """(K, H, W) uint8: `onehot`, class by class."""
        return np.ascontiguousarray(np.moveaxis(self.onehot, 2, 0))

    def warp(self, positions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mask's probabilities at `positions`, (K, H, W) float32."""
        warped = sample(self.onehot, positions).astype(np.float32)
        warped *= 1 / 255
        return np.ascontiguousarray(np.moveaxis(warped, 2, 0))
