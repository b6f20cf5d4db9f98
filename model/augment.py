"""Random changes of a labelled frame, so that a few of them teach more."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Augmentation", "Motion", "draw_motion", "recolour"]


@dataclass(frozen=True)
class Augmentation:
    """By how much a labelled frame is changed before the network sees it.

    Attributes:
        flip: Probability of a left-right flip.
        scale: Least and most enlargement.
        shift: Largest shift, as a share of the image's size.
        rotation: Largest rotation, degrees.
        colour: Largest change of brightness, contrast and of each channel, as a share.
    """

    flip: float = 0.0
    scale: tuple[float, float] = (0.9, 1.2)
    shift: float = 0.05
    rotation: float = 2.0
    colour: float = 0.05


@dataclass(frozen=True)
class Motion:
    """An affine motion of the image plane, for everything that belongs to a frame.

    Attributes:
        matrix: (2, 3) float64, from places before to places after, x first.
    """

    matrix: NDArray[np.float64]

    def picture(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Move an (H, W, 3) image; what comes from outside is reflected."""
        moved = cv2.warpAffine(
            image,
            self.matrix,
            image.shape[1::-1],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        return np.asarray(moved, dtype=np.uint8)

    def map(self, values: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Move an (H, W) map of values that cannot be mixed, `outside` where there was none."""
        size = values.shape[1::-1]
        moved = cv2.warpAffine(
            values, self.matrix, size, flags=cv2.INTER_NEAREST, borderValue=outside
        )
        return np.asarray(moved, dtype=np.uint8)

    def flow(self, flow: NDArray[np.float32]) -> NDArray[np.float32]:
        """Move an (H, W, 2) flow between two frames that are both moved so."""
        size = flow.shape[1::-1]
        moved = cv2.warpAffine(flow, self.matrix, size, flags=cv2.INTER_LINEAR)
        return np.asarray(moved @ self.matrix[:, :2].T, dtype=np.float32)


def draw_motion(shape: tuple[int, ...], how: Augmentation, rng: np.random.Generator) -> Motion:
    """Draw a motion of an image of `shape`, whose first two are height and width."""
    height, width = shape[:2]
    scale = float(np.exp(rng.uniform(*np.log(how.scale))))
    angle = float(rng.uniform(-how.rotation, how.rotation))
    shift = rng.uniform(-how.shift, how.shift, size=2)
    flip = rng.random() < how.flip
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, angle, scale), dtype=np.float64)
    matrix[:, 2] += shift * (width, height)
    if flip:
        matrix[0] *= -1
        matrix[0, 2] += width - 1
    return Motion(matrix)


def recolour(
    image: NDArray[np.uint8], how: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Change the colours of an (H, W, 3) image at random."""
    gains = 1.0 + rng.uniform(-how.colour, how.colour, 3) + rng.uniform(-how.colour, how.colour)
    offset = 255.0 * rng.uniform(-how.colour, how.colour)
    changed = np.clip(image.astype(np.float32) * gains.astype(np.float32) + offset, 0, 255)
    return changed.astype(np.uint8)
