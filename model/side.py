"""A key frame as one frame sees it: the ways to it, and how far each can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from model.chain import Chain
from model.keyframes import KeyFrame
from model.match import Source
from model.warp import sample

__all__ = ["Joined", "Side", "Way", "colour_similarity"]

_LAB_WEIGHTS = np.array([[0.5 * (100 / 255) ** 2, 1.0, 1.0]], np.float32)
"""½, 1, 1 on CIE's scale; OpenCV's 8-bit Lab stretches L from 0–100 to 0–255."""

_WINDOW = (5, 5)

_OUTLINE = np.ones((9, 9), np.uint8)


def colour_similarity(
    frame: NDArray[np.uint8], warped: NDArray[np.uint8], sigma: float
) -> NDArray[np.float32]:
    """exp(−D / 2σ²), D the weighted squared Lab difference averaged over 5 × 5 pixels.

    Args:
        frame: (H, W, 3) uint8 Lab.
        warped: (H, W, 3) uint8 Lab, another image in the frame's geometry.
        sigma: In units of CIE Lab.

    Returns:
        (H, W) float32, 0 to 1.
    """
    difference = cv2.absdiff(frame, warped).astype(np.float32)
    difference *= difference
    squared = cv2.transform(difference, _LAB_WEIGHTS)
    averaged: NDArray[np.float32] = np.asarray(cv2.blur(squared, _WINDOW), np.float32)
    averaged *= -0.5 / sigma**2
    out: NDArray[np.float32] = np.asarray(cv2.exp(averaged, dst=averaged))
    return out.reshape(frame.shape[:2])


@dataclass(frozen=True)
class Way:
    """One way from a frame to a key frame.

    Attributes:
        positions: (H, W, 2) float32, position map frame → key frame.
        trusted: (H, W) float32, 0 to 1: the forward-backward checks, times the trust in the labels.
        warped: (H, W, 3) uint8, the key frame's Lab at these positions.
        classes: (H, W) uint8, its mask there.
        likeness: (H, W) float32, 0 to 1: how much alike the colours are.
    """

    positions: NDArray[np.float32]
    trusted: NDArray[np.float32]
    warped: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    likeness: NDArray[np.float32]

    @classmethod
    def of(cls, key: KeyFrame, chain: Chain, frame: NDArray[np.uint8], sigma: float) -> Way:
        """Look up at a chain's end what there is to know.

        Args:
            key: Where the chain leads.
            chain: From the frame.
            frame: (H, W, 3) uint8 Lab.
            sigma: See `colour_similarity`.
        """
        trusted = chain.confidence
        if key.trust is not None:
            trusted = trusted * sample(key.trust, chain.positions)
        warped = sample(key.lab, chain.positions)
        classes = sample(key.mask, chain.positions, "nearest")
        likeness = colour_similarity(frame, warped, sigma)
        return cls(chain.positions, trusted, warped, classes, likeness)

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """(H, W) float32: both checks."""
        return self.trusted * self.likeness

    def mean_at_outlines(self, values: NDArray[np.float32]) -> float:
        """Mean of (H, W) values about the outlines of the warped mask; 1 where it has none."""
        edges = cv2.morphologyEx(self.classes, cv2.MORPH_GRADIENT, _OUTLINE) > 0
        return float(values[edges].mean()) if edges.any() else 1.0


@dataclass(frozen=True)
class Joined:
    """Of several ways the better one for each pixel; arrays as in `Way`."""

    positions: NDArray[np.float32]
    trusted: NDArray[np.float32]
    likeness: NDArray[np.float32]

    @classmethod
    def of(cls, ways: Sequence[Way]) -> Joined:
        """Take for each pixel the way of the highest confidence, the first one of equals."""
        first, *others = ways
        positions, trusted, likeness = first.positions, first.trusted, first.likeness
        best = first.confidence
        for way in others:
            better = way.confidence > best
            best = np.maximum(best, way.confidence)
            trusted = np.where(better, way.trusted, trusted)
            likeness = np.where(better, way.likeness, likeness)
            positions = np.where(better[..., None], way.positions, positions)
        return cls(positions, trusted, likeness)


@dataclass(frozen=True)
class Side:
    """A key frame, and the ways to it.

    Attributes:
        key: The key frame.
        ways: At least one.
    """

    key: KeyFrame
    ways: tuple[Way, ...]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(H, W) float32: that of the best way for each pixel."""
        out = self.ways[0].confidence
        for way in self.ways[1:]:
            out = np.maximum(out, way.confidence)
        return out

    def voters(self, weight: float) -> list[Source]:
        """The ways as sources of local matching."""
        return [
            Source(
                mask=self.key.mask,
                margin=None,
                lab=self.key.lab,
                positions=way.positions,
                confidence=way.trusted,
                weight=weight,
                warped=way.warped,
                classes=way.classes,
                lead=self.key.lead if self.key.onehot.shape[2] == 2 else None,
            )
            for way in self.ways
        ]
