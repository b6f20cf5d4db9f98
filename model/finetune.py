"""Test-time fine-tuning: a network learns one clip from its few labelled frames.

What each step minimises is `model.objective`'s; here is how many steps are taken, and how large.
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
from model.devices import network_on
from model.distributed import Crew
from model.earlystop import HeldOut
from model.flow import FlowEstimator
from model.networks import Segmenter
from model.objective import Objective
from model.optimizers import make_optimizer
from model.presets import FinetuneSettings
from model.resume import TrainingFile, fingerprint

__all__ = [
    "FinetuneProgress",
    "FinetuneReport",
    "FinetuneSettings",
    "finetune",
]


_CARRYING = 0.5
"""Share of the time in which labels may be carried over; the flow that takes most of it is taken
from there by the frames beside a batch, and by the parts of the training that follow."""

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
        stopped: "done" (all planned steps), "time", "held-out" (the held-out frames' mIoU rose no
            longer), or "diverged" (a loss was not finite: the weights are those of the last epoch
            whose losses were).
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
    held_out: Mapping[int, NDArray[np.uint8]] | None = None,
    resume: Path | None = None,
    progress: Callable[[FinetuneProgress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FinetuneReport:
    """Fine-tune `network` in place on one clip.

    Where `torchrun` started several processes (`model.distributed.joined`), all call this alike,
    and train one network together.

    Args:
        network: The network, of as many classes as the masks name.
        source: The clip; a single frame is enough (there is then no flow to be consistent with).
        labels: Frame index → (H, W) uint8 mask, 255 = ignore; one labelled frame is enough.
        flow: Estimates the flow of consecutive frames.
        settings: How.
        held_out: Labels as above, of frames that are not learnt from: once their mIoU has not
            risen for `FinetuneSettings.patience` epochs, the learning rate falls to zero within
            one more, and training ends.
        resume: Where the state is kept after each epoch, for the caller to remove in the end.
            Where the same training was interrupted before, it goes on from there, and ends as it
            would have.
        progress: Called after each epoch.
        clock: Tells the seconds that `settings.seconds` limits, from any start; measurements on a
            shared machine give `time.process_time`.

    Returns:
        What was done. The network is left in evaluation mode on `settings.device`, its scores
        lowered by what `settings.balance_taken_back` says.

    Raises:
        ValueError: The labels do not fit the clip or the network.
        ClipError: A frame cannot be read.
    """
    training = _Training(network, source, labels, flow, settings, held_out, resume, clock)
    return training.run(progress)


class _Training:
    def __init__(
        self,
        network: Segmenter,
        source: FrameSource,
        labels: Mapping[int, NDArray[np.uint8]],
        flow: FlowEstimator,
        settings: FinetuneSettings,
        held_out: Mapping[int, NDArray[np.uint8]] | None = None,
        resume: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.started = clock()
        self.settings = settings
        self.device = torch.device(settings.device)
        self.crew = Crew(self.device)
        self.network = network_on(network, self.device)
        self.network.lower(())
        self.batches = ClipBatches(
            source,
            labels,
            network.num_classes,
            flow=flow,
            max_pixels=settings.max_pixels,
            augmentation=settings.augmentation,
            rng=np.random.default_rng(self.crew.seed(settings.seed)),
        )
        self.objective = Objective(self.batches, network.num_classes, settings, self.device)
        self.held_out = None
        if held_out and settings.patience:
            self.held_out = HeldOut(
                self.batches.frame, held_out, network.num_classes, settings.patience
            )
        self.optimizer = make_optimizer(
            settings.optimizer, network, settings.learning_rate, settings.weight_decay
        )
        self.kept: TrainingFile | None = None
        if resume is not None:
            what = repr(replace(settings, device="", seconds=0, ahead=True))
            self.kept = TrainingFile(resume, fingerprint(network, labels, what))
        self.logits = self.crew.wrap(self.network)
        self.pace = self.elapsed = 0.0
        self.per_epoch = settings.steps_per_epoch or math.ceil(len(source) / settings.batch)
        self.wanted = self.planned = self.end = settings.epochs * self.per_epoch

    def run(self, progress: Callable[[FinetuneProgress], None] | None) -> FinetuneReport:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.crew.seed(self.settings.seed))
            self.network.train()
            try:
                report = self._run(progress if self.crew.first else None)
                self.network.lower(self.objective.generosity())
                return report
            finally:
                self.network.eval()

    def _run(self, progress: Callable[[FinetuneProgress], None] | None) -> FinetuneReport:
        losses: dict[str, float] = {}
        sums: dict[str, list[float]] = {}
        if self.settings.self_training > 0:
            self.batches.carry_labels(
                self.settings.carried_frames, self._carried_enough, ahead=self.settings.ahead
            )
        step, since = self._take_up(), 0
        good = self._snapshot()
        diverged, notes = False, []
        while step < self.planned:
            taken = self._step(step)
            if taken is None:
                self.network.load_state_dict(good)
                diverged = True
                notes.append(
                    f"training diverged at step {step + 1} of {self.planned} (a loss was not"
                    f" finite); the weights are those of step {step - since}"
                )
                break
            step += 1
            since += 1
            for name, value in taken.items():
                sums.setdefault(name, []).append(value)
            if since == self.per_epoch:
                self._look(step)
            self._replan(step)
            if since == self.per_epoch or step >= self.planned:
                if self._finite():
                    good = self._snapshot()
                    self._keep(step)
                losses = {name: sum(values) / len(values) for name, values in sums.items()}
                sums, since = {}, 0
                if progress is not None:
                    progress(self._progress(step, losses))
        elapsed = self.clock() - self.started
        stopped = self._stopped(step, diverged)
        return FinetuneReport(step, self.wanted, elapsed, losses, stopped, tuple(notes))

    def _take_up(self) -> int:
        """Go on where the same training was interrupted; the steps taken so far."""
        kept = self.kept.take_up(self.network, self.optimizer) if self.kept is not None else None
        if kept is None:
            return 0
        chance, counts = kept
        if self.crew.first:  # The others go on with chance of their own.
            self.batches.set_chance(chance)
        self.planned, self.end = int(counts["planned"]), int(counts["end"])
        self.started -= counts["elapsed"]
        if self.held_out is not None:
            self.held_out.best, self.held_out.stale = counts["best"], int(counts["stale"])
        return int(counts["step"])

    def _keep(self, step: int) -> None:
        if self.kept is not None and self.crew.first:
            self.kept.write(
                self.network,
                self.optimizer,
                self.batches.chance(),
                step=step,
                planned=self.planned,
                end=self.end,
                elapsed=self.clock() - self.started,
                best=self.held_out.best if self.held_out is not None else 0.0,
                stale=self.held_out.stale if self.held_out is not None else 0,
            )

    def _look(self, step: int) -> None:
        """See at an epoch's end whether held-out frames say that one more is enough."""
        if self.held_out is None or self.end < self.wanted:
            return
        if step + self.per_epoch >= self.wanted:  # one more is all there is
            return
        self.held_out.look(self.network, self.device)
        if self.held_out.enough:
            self.end = step + self.per_epoch

    def _replan(self, step: int) -> None:
        """Plan as many of the wanted steps as there is time for, at the recent steps' pace."""
        elapsed = self.clock() - self.started
        taken, self.elapsed = elapsed - self.elapsed, elapsed
        self.pace = taken if step <= _WARM_UP else self.pace + 0.1 * (taken - self.pace)
        left = self.settings.seconds - elapsed
        if left <= 0:
            self.planned = step
        elif step > _WARM_UP:
            fit = step + 1 + int(min(left / max(self.pace, 1e-9), self.wanted))
            self.planned = min(self.end, fit)
        self.planned = self.crew.decided(self.planned)

    def _progress(self, step: int, losses: dict[str, float]) -> FinetuneProgress:
        done, planned = step / self.per_epoch, self.planned / self.per_epoch
        left = self.pace * (self.planned - step)
        return FinetuneProgress(math.ceil(done), math.ceil(planned), losses, left)

    def _stopped(self, step: int, diverged: bool) -> str:
        if diverged:
            return "diverged"
        if step >= self.wanted:
            return "done"
        return "held-out" if step >= self.end else "time"

    def _step(self, step: int) -> dict[str, float] | None:
        """Take one step and return its losses; None where it may not be taken."""
        self._set_learning_rate(step)
        total, losses = self.objective.losses(self.logits, step / self.planned)
        self.optimizer.zero_grad(set_to_none=True)
        if not self.crew.all(torch.isfinite(total)):
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
        elapsed = self.clock() - self.started
        return elapsed > _CARRYING * self.settings.seconds

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.network.parameters())
