"""A simulated annotator: answers each query with the truth, round after round, and counts clicks.

Rounds run through what the service runs: `annotator_for`, `propagated`, `order_frames`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from backend.annotator import annotator_for
from backend.evaluation import Report, Stopwatch
from backend.machine import peak_memory_mb, reset_peak
from backend.order import ClipState, order_frames
from backend.passes import appearances, propagated
from backend.queries import Budget
from backend.reaches import measure_reach, wants_reach
from backend.scoring import ClipScorer
from backend.settings import Settings
from backend.simulation_results import ClipSimulation, SimulatedRound
from model.benchmark import LabelledClip
from model.finetune import FinetuneProgress
from model.pipeline import ClipAnnotator
from selection.clicks import boundary_clicks, correction_clicks
from selection.reach import Reach

__all__ = ["clicks_by_hand", "free_classes", "simulate_clip"]


def clicks_by_hand(clip: LabelledClip, report: Report | None = None) -> npt.NDArray[np.int64]:
    """Boundary clicks of each frame's true mask, (N,)."""
    out = np.zeros(len(clip), np.int64)
    for index in range(len(clip)):
        out[index] = boundary_clicks(clip.masks.read(index), free_classes(clip.class_names))
        if report is not None:
            report("counting clicks", index + 1, len(clip))
    return out


def free_classes(class_names: tuple[str, ...]) -> frozenset[int]:
    """The classes that nobody draws: the background, where class 0 is called so."""
    return frozenset({0} if class_names[0] == "background" else ())


@dataclass
class _Loop:
    """One clip on its way through the rounds."""

    clip: LabelledClip
    settings: Settings
    by_hand: npt.NDArray[np.int64]
    folder: Path
    report: Report | None
    labels: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    clicks: int = 0
    corrections: int = 0

    def __post_init__(self) -> None:
        count = len(self.clip)
        self._uncertainty = np.ones(count)
        self._features = appearances(self._annotator(), self.clip.source)
        self._reach: Reach | None = None
        if wants_reach(self.settings.strategy):
            self._reach = measure_reach(self.clip.source, self.settings.flow)
        # Before there is a pre-annotation a label is drawn from scratch.
        self._to_correct = self.by_hand.copy()
        self._network: Path | None = None
        self.scorer: ClipScorer | None = None

    def round(self, number: int, budget: int, pictures: bool) -> SimulatedRound | None:
        """Ask, be answered, fine-tune, propagate, score; None where nothing is left to ask for."""
        watch = Stopwatch()
        chosen = watch.call("select", lambda: self._choose(number, budget))
        if not chosen:
            return None
        self._answer(chosen)
        annotator = self._annotator()
        watch.call("finetune", lambda: self._finetune(annotator, number))
        self._propagate(annotator, watch, pictures)
        assert self.scorer is not None
        total = int(self.by_hand.sum())
        return SimulatedRound(
            number=number,
            samples=chosen,
            clicks=self.clicks,
            clicks_percent=100 * self.clicks / total if total else None,
            correction_clicks=self.corrections,
            unlabelled=self.scorer.unlabelled(),
            all=self.scorer.all(),
            seconds={**watch.seconds, "total": sum(watch.seconds.values())},
        )

    def _annotator(self) -> ClipAnnotator:
        return annotator_for(self.clip.source, self.clip.class_names, self.settings)

    def _choose(self, number: int, budget: int) -> list[int]:
        labelled = np.zeros(len(self.clip), bool)
        labelled[list(self.labels)] = True
        state = ClipState(
            np.arange(len(self.clip)),
            labelled,
            self._uncertainty,
            self._features,
            self._reach,
            clicks=np.where(labelled, self.by_hand, np.nan),
        )
        seed = self.settings.seed + number
        order = order_frames([state], self.settings.strategy, budget, seed)
        return [ranked.frame for ranked in order if ranked.chosen]

    def _answer(self, chosen: list[int]) -> None:
        for index in chosen:
            self.labels[index] = self.clip.masks.read(index)
            self.clicks += int(self.by_hand[index])
            self.corrections += int(self._to_correct[index])

    def _finetune(self, annotator: ClipAnnotator, number: int) -> None:
        def on_epoch(step: FinetuneProgress) -> None:
            if self.report is not None:
                self.report(f"round {number}: fine-tuning", step.epoch, step.epochs)

        outcome = annotator.finetune(self.labels, warm_start=self._network, progress=on_epoch)
        if outcome is not None:
            self._network = self.folder / f"round-{number}.pt"
            annotator.save(self._network)

    def _propagate(self, annotator: ClipAnnotator, watch: Stopwatch, pictures: bool) -> None:
        clip, free = self.clip, free_classes(self.clip.class_names)
        self.scorer = ClipScorer(clip, list(self.labels), pictures)
        features = []
        passing = propagated(annotator, clip.source, self.labels)
        for result, summary in watch.steps("propagate", passing):
            truth = clip.masks.read(result.index)
            self.scorer.add(result, truth)
            self._uncertainty[result.index] = summary.uncertainty
            self._to_correct[result.index] = correction_clicks(truth, result.mask, free)
            features.append(summary.feature)
            if self.report is not None:
                self.report("labelling and scoring", result.index + 1, len(clip))
        self._features = np.stack(features)


def simulate_clip(
    clip: LabelledClip,
    settings: Settings,
    budget: Budget,
    rounds: int,
    *,
    by_hand: npt.NDArray[np.int64] | None = None,
    pictures: bool = False,
    report: Report | None = None,
) -> ClipSimulation:
    """Label a clip in rounds, each query answered with the truth.

    Args:
        clip: The clip and its truth.
        settings: As for the service; its strategy asks, its seed is that of all chance.
        budget: Frames a round.
        rounds: How many, ≥ 1.
        by_hand: What `clicks_by_hand` gave, where it is known already.
        pictures: Whether to keep some frames of the last round for the report.
        report: Told of the progress.

    Raises:
        ValueError: A setting does not fit, or `rounds` is below 1.
        ClipError: A frame cannot be read.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be 1 or more, not {rounds}")
    reset_peak()
    if by_hand is None:
        by_hand = clicks_by_hand(clip, report)
    samples = budget.of(len(clip))
    done: list[SimulatedRound] = []
    with tempfile.TemporaryDirectory(prefix="maskloop-") as folder:
        loop = _Loop(clip, settings, by_hand, Path(folder), report)
        for number in range(1, rounds + 1):
            row = loop.round(number, samples, pictures and number == rounds)
            if row is None:
                break
            done.append(row)
    assert loop.scorer is not None
    return ClipSimulation(
        clip=clip.name,
        class_names=clip.class_names,
        strategy=settings.strategy,
        seed=settings.seed,
        budget=samples,
        clicks_by_hand=int(by_hand.sum()),
        rounds=done,
        peak_memory_mb=peak_memory_mb(),
        frames=loop.scorer.frames,
        pictures=loop.scorer.shown(),
    )
