"""What a fine-tuning step minimises: cross-entropy on labels, and consistency along the flow.

The loss is HVSA's (WACV 2023), L = L_supervised + λ · L_consistency. Labels carried over to other
frames by propagation (`selftraining`) count as labels, weighed by how far they are sure. Where
there are such, consistency is `losses.temporal_overlap` and `losses.flicker` of those frames with
the ones beside them; where there are none, HVSA's own, `losses.flow_consistency` of a random pair.
The labelled frames that a step sees are the same whatever λ is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from model.batches import ClipBatches
from model.devices import images_on, precision
from model.losses import (
    IGNORE,
    bootstrapped_cross_entropy,
    dice,
    flicker,
    flow_consistency,
    temporal_overlap,
    weighted_cross_entropy,
)
from model.presets import FinetuneSettings
from model.samples import Batch, Pair

__all__ = ["Objective"]

Logits = Callable[[Tensor], Tensor]
"""(B, 3, H, W) → (B, K, H, W)."""

_TRUSTED = 0.5
"""Labels that can be trusted less than this do not count in Dice, which knows no weights."""


_OVERLAP, _FLICKER = 0.24, 5.0
"""What `losses.temporal_overlap` and `losses.flicker` count at λ = 1, where cross-entropy counts 1:
the one is for what wavers much, small classes first, the other for what is nearly steady."""


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
        nothing = (0.0,) * num_classes
        self._off = torch.tensor(self.generosity() or nothing, device=device)

    def _balance(self, num_classes: int) -> Tensor | None:
        """(K,) weights that a class's pixels count, shares^−balance, 1 on the average pixel."""
        if self._settings.class_balance == 0:
            return None
        shares = self._batches.class_shares(num_classes)
        weights = np.maximum(shares, 1e-4) ** -self._settings.class_balance
        weights /= (weights * shares).sum()
        return torch.tensor(weights, dtype=torch.float32, device=self._device)

    def generosity(self) -> tuple[float, ...]:
        """By how much the scores of a trained network are to be lowered (`Segmenter.lower`).

        Balance has a network learn p_k ∝ w_k P_k where the truth is P_k; a share a of it taken
        back, `FinetuneSettings.balance_taken_back`, is p_k w_k^−a, so a log w_k off each score.

        Returns:
            K values; empty where classes are not balanced, or nothing is taken back.
        """
        share = self._settings.balance_taken_back
        if self._class_weights is None or share == 0:
            return ()
        return tuple(float(value) for value in share * self._class_weights.log())

    def losses(self, logits: Logits, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw frames and score the network on them.

        Args:
            logits: The network.
            done: Share of the training that is done before this step.

        Returns:
            What is to be minimised, and each loss by name; scalars.
        """
        settings = self._settings
        batch = self._batches.batch(settings.batch, settings.self_training)
        batch = batch.to(self._device)
        steady = settings.consistency > 0 and done >= settings.consistency_from
        if steady and self._batches.carries:
            scores = self._scores(logits, batch.images)
            agreed = self._steady(logits, scores, batch)
        elif steady:
            scores, agreed = self._with_pair(logits, batch.images)
        else:
            scores, agreed = self._scores(logits, batch.images), None
        total = self._supervised(scores, batch.labels, batch.weights, done)
        named = {"supervised": total}
        if agreed is not None:
            named["consistency"] = agreed
            total = total + settings.consistency * agreed
        return total, named

    def _scores(self, logits: Logits, images: Tensor) -> Tensor:
        with precision(self._device):
            scores = logits(images_on(images, self._device))
        return scores.float()

    def _steady(self, logits: Logits, scores: Tensor, batch: Batch) -> Tensor | None:
        """Consistency with the frames beside the batch's, which teach and do not learn.

        It is about what will be said in the end: scores as `generosity` lowers them. Frames that
        people labelled are left out: what is to be said there is known.
        """
        told = [i for i, index in enumerate(batch.indices) if index not in self._batches.labelled]
        learning = batch.of(told)
        beside = self._batches.neighbours(learning) if told else None
        if beside is None:
            return None
        beside = beside.to(self._device)
        with torch.no_grad():
            other = self._scores(logits, beside.images)
        off = self._off[:, None, None]
        along = (scores[told] - off, other - off, beside.flow, beside.seen)
        overlap = temporal_overlap(*along, (learning.labels, learning.weights), stride=2)
        agreed = _OVERLAP * overlap + _FLICKER * flicker(*along, stride=2)
        return len(told) / len(batch.indices) * agreed

    def _with_pair(self, logits: Logits, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores of images, and the flow consistency of a pair that goes with them."""
        pair = self._batches.pair()
        if pair is None:
            return self._scores(logits, images), None
        pair = pair.to(self._device)
        scores = self._scores(logits, torch.cat([images, pair.images]))
        return scores[: len(images)], _pair_consistency(scores[len(images) :], pair)

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


def _pair_consistency(scores: Tensor, pair: Pair) -> Tensor:
    """Flow consistency on every second pixel each way, which tells as much in a quarter of it."""
    before, after = scores[:, :, ::2, ::2].softmax(dim=1).chunk(2)
    forward, backward = (flow[:, ::2, ::2] / 2 for flow in (pair.forward, pair.backward))
    seen = (seen[:, ::2, ::2] for seen in (pair.seen_forward, pair.seen_backward))
    return flow_consistency(before, after, forward, backward, *seen)
