"""What refinement goes by: each source's word on a frame, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.match import Votes

__all__ = ["Clues"]


@dataclass(frozen=True)
class Clues:
    """What was found out about a frame while it was labelled; sides are the nearest first.

    Attributes:
        votes: The votes; row 0 and 1 are the sides, any other row is counted in the sum only.
        warped: For each side, (H, W, K) uint8: its mask's probabilities (255 = 1), warped.
        confidence: For each side, (H, W) float32, 0 to 1: the forward-backward checks.
        likeness: For each side, (H, W) float32, 0 to 1: the photometric check.
        distance: For each side, frames to its key frame.
        lab: (H, W, 3) uint8, the frame in Lab.
    """

    votes: Votes
    warped: tuple[NDArray[np.uint8], ...]
    confidence: tuple[NDArray[np.float32], ...]
    likeness: tuple[NDArray[np.float32], ...]
    distance: tuple[int, ...]
    lab: NDArray[np.uint8]
