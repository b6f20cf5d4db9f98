"""What a fine-tuning step is given: labelled frames, the frames beside them, and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.augment import Motion

__all__ = ["Batch", "Neighbours", "Pair"]


@dataclass(frozen=True)
class Batch:
    """Frames with labels, each changed at random.

    Attributes:
        images: (B, 3, H, W) float32.
        labels: (B, H, W) int64, 255 = ignore.
        weights: (B, H, W) float32, 0 to 1, how far the labels can be trusted.
        indices: The B frames.
        motions: How each was moved.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    indices: tuple[int, ...]
    motions: tuple[Motion, ...]

    def to(self, device: torch.device) -> Batch:
        """Move to a device."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            weights=self.weights.to(device),
        )

    def of(self, places: Sequence[int]) -> Batch:
        """Return some of the frames, by their places in the batch."""
        return Batch(
            self.images[places],
            self.labels[places],
            self.weights[places],
            tuple(self.indices[place] for place in places),
            tuple(self.motions[place] for place in places),
        )


@dataclass(frozen=True)
class Neighbours:
    """The frames beside a batch's, each moved as the batch's own.

    Attributes:
        images: (B, 3, H, W) float32.
        flow: (B, H, W, 2) float32, from the batch's frames to these.
        seen: (B, H, W) bool, pixels of the batch's frames whose flow passes the check.
    """

    images: Tensor
    flow: Tensor
    seen: Tensor

    def to(self, device: torch.device) -> Neighbours:
        """Move to a device."""
        return Neighbours(self.images.to(device), self.flow.to(device), self.seen.to(device))


@dataclass(frozen=True)
class Pair:
    """Two consecutive frames and the flow between them, as `losses.flow_consistency` takes it.

    Attributes:
        images: (2, 3, H, W) float32, frames t−1 and t.
        forward: (1, H, W, 2) float32, t−1 → t.
        backward: (1, H, W, 2) float32, t → t−1.
        seen_forward: (1, H, W) bool, pixels of t−1 that pass the check.
        seen_backward: (1, H, W) bool, pixels of t that pass.
    """

    images: Tensor
    forward: Tensor
    backward: Tensor
    seen_forward: Tensor
    seen_backward: Tensor

    def to(self, device: torch.device) -> Pair:
        """Move to a device."""
        return Pair(
            self.images.to(device),
            self.forward.to(device),
            self.backward.to(device),
            self.seen_forward.to(device),
            self.seen_backward.to(device),
        )
