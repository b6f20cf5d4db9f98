"""Fine-tuning in parts that share the time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.clip import FrameSource
from model.finetune import FinetuneProgress, FinetuneReport, FinetuneSettings, finetune
from model.flow import FlowEstimator
from model.flowstore import FlowStore
from model.networks import Segmenter

__all__ = ["Stages"]


class Stages:
    """Fine-tuning in one or two parts that share the time and report as one.

    Attributes:
        flow: The clip's flow at the size that is trained at, worked out once for all parts.
    """

    def __init__(
        self,
        network: Segmenter,
        source: FrameSource,
        flow: FlowEstimator,
        settings: FinetuneSettings,
        started: float,
        progress: Callable[[FinetuneProgress], None] | None,
        resume: Path | None = None,
    ) -> None:
        self._network = network
        self._source = source
        self.flow = FlowStore(flow)
        self._settings = settings
        self._started = started
        self._progress = progress
        self._resume = resume
        self._reports: list[FinetuneReport] = []
        self._epochs = 0
        self._worth = 1.0

    def run(
        self,
        labels: Mapping[int, NDArray[np.uint8]],
        *,
        share: float | None = None,
        held_out: Mapping[int, NDArray[np.uint8]] | None = None,
    ) -> None:
        """Fine-tune for a share of the epochs and the time, or (None) for all that is left.

        Args:
            labels: What is learnt, frame index → (H, W) uint8 mask, 255 = ignore.
            share: As above.
            held_out: Labels that are not learnt, but tell when more epochs are worth nothing.
                Later parts then take fewer, as many fewer as this part took.
        """
        settings, before = self._settings, self._epochs
        spent = time.monotonic() - self._started
        if share is None:
            epochs = math.ceil((settings.epochs - before) * self._worth)
            seconds = settings.seconds - spent
        else:
            epochs, seconds = round(settings.epochs * share), (settings.seconds - spent) * share
        part = replace(
            settings,
            epochs=max(1, epochs),
            seconds=max(1.0, seconds),
            seed=settings.seed + len(self._reports),
        )

        def report(step: FinetuneProgress) -> None:
            if self._progress is not None:
                later = 0 if share is None else settings.epochs - part.epochs
                seconds_left = step.seconds_left / (1.0 if share is None else share)
                self._progress(
                    FinetuneProgress(
                        before + step.epoch, before + step.epochs + later, step.losses, seconds_left
                    )
                )

        self._reports.append(
            finetune(
                self._network,
                self._source,
                labels,
                flow=self.flow,
                settings=part,
                held_out=held_out,
                resume=self._part_file(),
                progress=report,
            )
        )
        self._epochs += part.epochs
        done = self._reports[-1]
        if done.stopped == "held-out":
            self._worth *= done.steps / done.planned

    def _part_file(self) -> Path | None:
        """Each part's state has a file of its own, beside the one named."""
        if self._resume is None:
            return None
        return self._resume.with_name(f"{self._resume.name}-{len(self._reports)}")

    def report(self, notes: tuple[str, ...]) -> FinetuneReport:
        """Return one report of all parts, which are done: what was kept of them is removed."""
        if self._resume is not None:
            for part in range(len(self._reports)):
                self._resume.with_name(f"{self._resume.name}-{part}").unlink(missing_ok=True)
        stopped = [report.stopped for report in self._reports]
        reasons = ("diverged", "time", "held-out")
        return FinetuneReport(
            steps=sum(report.steps for report in self._reports),
            planned=sum(report.planned for report in self._reports),
            seconds=time.monotonic() - self._started,
            losses=self._reports[-1].losses,
            stopped=next((reason for reason in reasons if reason in stopped), "done"),
            notes=(*notes, *(note for report in self._reports for note in report.notes)),
        )
