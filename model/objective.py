"""What a fine-tuning step minimises: cross-entropy on labels, and flow consistency of a pair.

The loss is HVSA's (WACV 2023), L = L_supervised + λ · L_consistency. Labels carried over to other
frames by propagation (`selftraining`) count as labels, weighed by how far they are sure.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from model.batches import ClipBatches, Pair
from model.devices import images_on, precision
from model.losses import (
    IGNORE,
    bootstrapped_cross_entropy,
    dice,
    flow_consistency,
    weighted_cross_entropy,
)
from model.presets import FinetuneSettings

__all__ = ["Objective"]

Logits = Callable[[Tensor], Tensor]
"""(B, 3, H, W) → (B, K, H, W)."""

_TRUSTED = 0.5
"""Labels that can be trusted less than this do not count in Dice, which knows no weights."""


class Objective:
    """Draws a step's frames and returns its losses.

    Args:
        batches: Where frames come from.
        num_classes: K.
        settings: How.
        device: Where the network is.
    """

    def __init__(
        self,
        batches: ClipBatches,
        num_classes: int,
        settings: FinetuneSettings,
        device: torch.device,
    ) -> None:
        self._batches = batches
        self._settings = settings
        self._device = device
        self._class_weights = self._balance(num_classes)

    def _balance(self, num_classes: int) -> Tensor | None:
        """(K,) weights that a class's pixels count, shares^−balance, 1 on the average pixel."""
        if self._settings.class_balance == 0:
            return None
        shares = self._batches.class_shares(num_classes)
        weights = np.maximum(shares, 1e-4) ** -self._settings.class_balance
        weights /= (weights * shares).sum()
        return torch.tensor(weights, dtype=torch.float32, device=self._device)

    def losses(self, logits: Logits, step: int, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw frames and score the network on them.

        Args:
            logits: The network.
            step: From 0.
            done: Share of the training that is done before it.

        Returns:
            What is to be minimised, and each loss by name; scalars.
        """
        settings = self._settings
        paired = (
            settings.consistency > 0
            and done >= settings.consistency_from
            and step % settings.consistency_every == 0
        )
        pair = self._batches.pair() if paired else None
        pair = None if pair is None else pair.to(self._device)
        if pair is not None and pair.labels is not None and pair.weights is not None:
            # The pair is a batch in itself: consistency then costs next to nothing.
            images, labels, weights = pair.images, pair.labels, pair.weights
        else:
            drawn = self._batches.batch(settings.batch, settings.self_training)
            images, labels, weights = (part.to(self._device) for part in drawn)
            if pair is not None:
                images = torch.cat([images, pair.images])
        with precision(self._device):
            scores = logits(images_on(images, self._device))
        scores = scores.float()
        total = self._supervised(scores[: len(labels)], labels, weights, done)
        named = {"supervised": total}
        if pair is not None:
            named["consistency"] = _consistency(scores[-2:], pair)
            often = settings.consistency_every / (1 - settings.consistency_from)
            total = total + often * settings.consistency * named["consistency"]
        return total, named

    def _supervised(self, scores: Tensor, labels: Tensor, weights: Tensor, done: float) -> Tensor:
        settings = self._settings
        if settings.hardest < 1:
            share = 1 - done * (1 - settings.hardest)
            total = bootstrapped_cross_entropy(scores, labels, share, weights, self._class_weights)
        else:
            total = weighted_cross_entropy(scores, labels, weights, self._class_weights)
        if settings.dice:
            trusted = labels.masked_fill(weights < _TRUSTED, IGNORE)
            total = total + settings.dice * dice(scores, trusted)
        return total


def _consistency(scores: Tensor, pair: Pair) -> Tensor:
    """Flow consistency on every second pixel each way, which tells as much in a quarter of it."""
    before, after = scores[:, :, ::2, ::2].softmax(dim=1).chunk(2)
    forward, backward = (flow[:, ::2, ::2] / 2 for flow in (pair.forward, pair.backward))
    seen = (seen[:, ::2, ::2] for seen in (pair.seen_forward, pair.seen_backward))
    return flow_consistency(before, after, forward, backward, *seen)
