"""What refinement goes by: each source's word on a frame, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.match import Votes
from model.warp import sample

__all__ = ["Clues"]


@dataclass(frozen=True)
class Clues:
    """What was found out about a frame while it was labelled; sides are the nearest first.

    Attributes:
        votes: The votes; row 0 and 1 are the sides, any other row is counted in the sum only.
        labels: For each side, (K, H, W) uint8: its key frame's mask, 255 for the class.
        positions: For each side, (H, W, 2) float32, position map frame → key frame.
        confidence: For each side, (H, W) float32, 0 to 1: the forward-backward checks.
        likeness: For each side, (H, W) float32, 0 to 1: the photometric check.
        distance: For each side, frames to its key frame.
        lab: (H, W, 3) uint8, the frame in Lab.
    """

    votes: Votes
    labels: tuple[NDArray[np.uint8], ...]
    positions: tuple[NDArray[np.float32], ...]
    confidence: tuple[NDArray[np.float32], ...]
    likeness: tuple[NDArray[np.float32], ...]
    distance: tuple[int, ...]
    lab: NDArray[np.uint8]

    def warped(self, side: int) -> NDArray[np.uint8]:
        """(H, W, K) uint8: a side's mask as probabilities (255 = 1), warped."""
        return sample(np.moveaxis(self.labels[side], 0, 2), self.positions[side])
