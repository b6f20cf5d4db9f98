"""A small clip that is made up: a bright square and a dark bar that move over a textured ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CLASS_NAMES = ("background", "square", "bar")


class MovingClip:
    """Frames of 64 × 48 pixels, with masks; counts what is read."""

    def __init__(self, frames: int = 12, seed: int = 0, size: tuple[int, int] = (48, 64)) -> None:
        rng = np.random.default_rng(seed)
        self.height, self.width = size
        self._ground = cv2.GaussianBlur(
            rng.integers(60, 160, (*size, 3)).astype(np.uint8), (0, 0), 1.5
        )
        self._things = rng.integers(0, 40, (*size, 3)).astype(np.uint8)
        self._frames = frames
        self.reads: list[int] = []

    def __len__(self) -> int:
        return self._frames

    def _boxes(self, index: int) -> list[tuple[slice, slice]]:
        left = 6 + 2 * index
        top = 30 - index
        return [
            (slice(8, 24), slice(left, left + 16)),
            (slice(top, top + 6), slice(20, 44)),
        ]

    def mask(self, index: int) -> NDArray[np.uint8]:
        mask = np.zeros((self.height, self.width), np.uint8)
        for label, box in enumerate(self._boxes(index), start=1):
            mask[box] = label
        return mask

    def read(self, index: int) -> NDArray[np.uint8]:
        if not 0 <= index < self._frames:
            raise IndexError(index)
        self.reads.append(index)
        image = self._ground.copy()
        mask = self.mask(index)
        image[mask == 1] = (220, 190, 40) + self._things[mask == 1] // 2
        image[mask == 2] = (30, 30, 150) + self._things[mask == 2]
        return image


def share_right(clip: MovingClip, predicted: dict[int, NDArray[np.uint8]]) -> float:
    """Mean IoU over the classes and the frames given."""
    hits, unions = np.zeros(3), np.zeros(3)
    for index, mask in predicted.items():
        truth = clip.mask(index)
        for label in range(3):
            hits[label] += ((mask == label) & (truth == label)).sum()
            unions[label] += ((mask == label) | (truth == label)).sum()
    return float((hits / unions).mean())
