"""Test-time fine-tuning: a network learns one clip from its few labelled frames.

The loss is HVSA's (WACV 2023), L = L_supervised + λ · L_consistency: cross-entropy on what is
labelled, and flow consistency between consecutive frames of the whole clip. Labels carried over
to other frames by propagation (`selftraining`) count as labels, weighed by how far they are sure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.batches import ClipBatches
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.inference import embed, network_evidence
from model.losses import flow_consistency, weighted_cross_entropy
from model.networks import Segmenter
from model.optimizers import make_optimizer
from model.presets import FinetuneSettings
from model.resume import TrainingFile, fingerprint

__all__ = [
    "FinetuneProgress",
    "FinetuneReport",
    "FinetuneSettings",
    "embed",
    "finetune",
    "network_evidence",
]


_CARRYING = 0.2
"""Share of the time in which labels may be carried over."""

_WARM_UP = 3
"""Steps that are slower than the rest: memory is taken, frames are read for the first time."""


@dataclass(frozen=True)
class FinetuneProgress:
    """Where fine-tuning stands.

    Attributes:
        epoch: Epochs done.
        epochs: Epochs planned, as far as the time allows.
        losses: The last epoch's mean of each loss, by name.
        seconds_left: Expected time to the end.
    """

    epoch: int
    epochs: int
    losses: dict[str, float]
    seconds_left: float


@dataclass(frozen=True)
class FinetuneReport:
    """What fine-tuning did.

    Attributes:
        steps: Steps taken.
        planned: Steps that the settings asked for.
        seconds: Time taken.
        losses: The last epoch's mean of each loss, by name.
        stopped: "done" (all planned steps), "time", or "diverged" (a loss was not finite: the
            weights are those of the last epoch whose losses were).
        notes: Sentences for people on what was out of the ordinary.
    """

    steps: int
    planned: int
    seconds: float
    losses: dict[str, float]
    stopped: str
    notes: tuple[str, ...] = ()


def finetune(
    network: Segmenter,
    source: FrameSource,
    labels: Mapping[int, NDArray[np.uint8]],
    *,
    flow: FlowEstimator,
    settings: FinetuneSettings,
    resume: Path | None = None,
    progress: Callable[[FinetuneProgress], None] | None = None,
) -> FinetuneReport:
    """Fine-tune `network` in place on one clip.

    Args:
        network: The network, of as many classes as the masks name.
        source: The clip; a single frame is enough (there is then no flow to be consistent with).
        labels: Frame index → (H, W) uint8 mask, 255 = ignore; one labelled frame is enough.
        flow: Estimates the flow of consecutive frames.
        settings: How.
        resume: Where the state is kept after each epoch, for the caller to remove in the end.
            Where the same training was interrupted before, it goes on from there, and ends as it
            would have.
        progress: Called after each epoch.

    Returns:
        What was done. The network is left in evaluation mode on `settings.device`.

    Raises:
        ValueError: The labels do not fit the clip or the network.
        ClipError: A frame cannot be read.
    """
    return _Training(network, source, labels, flow, settings, resume).run(progress)


class _Training:
    def __init__(
        self,
        network: Segmenter,
        source: FrameSource,
        labels: Mapping[int, NDArray[np.uint8]],
        flow: FlowEstimator,
        settings: FinetuneSettings,
        resume: Path | None,
    ) -> None:
        self.started = time.monotonic()
        self.settings = settings
        self.device = torch.device(settings.device)
        self.network = network.to(self.device)
        self.amp = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        self.batches = ClipBatches(
            source,
            labels,
            network.num_classes,
            flow=flow,
            max_pixels=settings.max_pixels,
            augmentation=settings.augmentation,
            rng=np.random.default_rng(settings.seed),
        )
        self.weights = self._class_weights()
        self.optimizer = make_optimizer(
            settings.optimizer, network, settings.learning_rate, settings.weight_decay
        )
        self.kept: TrainingFile | None = None
        if resume is not None:
            what = repr(replace(settings, device="", seconds=0))
            self.kept = TrainingFile(resume, fingerprint(network, labels, what))
        self.pace = self.elapsed = 0.0
        self.per_epoch = settings.steps_per_epoch or math.ceil(len(source) / settings.batch)
        self.planned = settings.epochs * self.per_epoch

    def _class_weights(self) -> Tensor | None:
        """(K,) weights that a class's pixels count, shares^−balance, 1 on the average pixel."""
        if self.settings.class_balance == 0:
            return None
        shares = self.batches.class_shares(self.network.num_classes)
        weights = np.maximum(shares, 1e-4) ** -self.settings.class_balance
        weights /= (weights * shares).sum()
        return torch.tensor(weights, dtype=torch.float32, device=self.device)

    def run(self, progress: Callable[[FinetuneProgress], None] | None) -> FinetuneReport:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.settings.seed)
            self.network.train()
            try:
                return self._run(progress)
            finally:
                self.network.eval()

    def _run(self, progress: Callable[[FinetuneProgress], None] | None) -> FinetuneReport:
        wanted = self.planned
        per_epoch = self.per_epoch
        losses: dict[str, float] = {}
        sums: dict[str, list[float]] = {}
        if self.settings.self_training > 0:
            self.batches.carry_labels(self.settings.carried_frames, self._carried_enough)
        step = since = 0
        if self.kept is not None and (kept := self.kept.take_up(self.network, self.optimizer)):
            chance, counts = kept
            self.batches.set_chance(chance)
            step, self.planned = int(counts["step"]), int(counts["planned"])
            self.started -= counts["elapsed"]
        good = self._snapshot()
        stopped, notes = "done", []
        while step < self.planned:
            taken = self._step(step)
            if taken is None:
                self.network.load_state_dict(good)
                stopped = "diverged"
                notes.append(
                    f"training diverged at step {step + 1} of {self.planned} (a loss was not"
                    f" finite); the weights are those of step {step - since}"
                )
                break
            step += 1
            since += 1
            for name, value in taken.items():
                sums.setdefault(name, []).append(value)
            elapsed = time.monotonic() - self.started
            self._keep_pace(step, elapsed)
            self._replan(step, wanted, elapsed)
            if since == per_epoch or step >= self.planned:
                if self._finite():
                    good = self._snapshot()
                    self._keep(step)
                losses = {name: sum(values) / len(values) for name, values in sums.items()}
                sums, since = {}, 0
                if progress is not None:
                    progress(
                        FinetuneProgress(
                            math.ceil(step / per_epoch),
                            math.ceil(self.planned / per_epoch),
                            losses,
                            self.pace * (self.planned - step),
                        )
                    )
        if stopped == "done" and step < wanted:
            stopped = "time"
        elapsed = time.monotonic() - self.started
        return FinetuneReport(step, wanted, elapsed, losses, stopped, tuple(notes))

    def _keep(self, step: int) -> None:
        if self.kept is not None:
            self.kept.write(
                self.network,
                self.optimizer,
                self.batches.chance(),
                step=step,
                planned=self.planned,
                elapsed=time.monotonic() - self.started,
            )

    def _keep_pace(self, step: int, elapsed: float) -> None:
        taken, self.elapsed = elapsed - self.elapsed, elapsed
        self.pace = taken if step <= _WARM_UP else self.pace + 0.1 * (taken - self.pace)

    def _replan(self, step: int, wanted: int, elapsed: float) -> None:
        """Plan as many of the wanted steps as there is time for, at the recent steps' pace."""
        left = self.settings.seconds - elapsed
        if left <= 0:
            self.planned = step
        elif step > _WARM_UP:
            self.planned = min(wanted, step + 1 + int(min(left / max(self.pace, 1e-9), wanted)))

    def _step(self, step: int) -> dict[str, float] | None:
        """Take one step and return its losses; None where it may not be taken."""
        settings = self.settings
        self._set_learning_rate(step)
        paired = settings.consistency > 0 and step % settings.consistency_every == 0
        pair = self.batches.pair() if paired else None
        pair = None if pair is None else pair.to(self.device)
        if pair is not None and pair.labels is not None and pair.weights is not None:
            # The pair is a batch in itself: consistency then costs next to nothing.
            images, labels, weights = pair.images, pair.labels, pair.weights
        else:
            drawn = self.batches.batch(settings.batch, settings.self_training)
            images, labels, weights = (part.to(self.device) for part in drawn)
            if pair is not None:
                images = torch.cat([images, pair.images])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self.network.logits(images)
        logits = logits.float()
        total = weighted_cross_entropy(logits[: len(labels)], labels, weights, self.weights)
        losses = {"supervised": total}
        if pair is not None:
            before, after = logits[-2:].softmax(dim=1).chunk(2)
            losses["consistency"] = flow_consistency(
                before, after, pair.forward, pair.backward, pair.seen_forward, pair.seen_backward
            )
            often = settings.consistency_every * settings.consistency
            total = total + often * losses["consistency"]
        self.optimizer.zero_grad(set_to_none=True)
        if not bool(torch.isfinite(total)):
            return None
        total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        if not bool(torch.isfinite(norm)):
            return None
        self.optimizer.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _set_learning_rate(self, step: int) -> None:
        """Rise over the warm-up, and fall by the "poly" policy."""
        settings = self.settings
        rise = min(1.0, (step + 1) / (settings.warm_up + 1))
        rate = settings.learning_rate * rise * (1 - step / self.planned) ** 0.9
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]

    def _carried_enough(self) -> bool:
        elapsed = time.monotonic() - self.started
        return elapsed > _CARRYING * self.settings.seconds

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.network.parameters())
