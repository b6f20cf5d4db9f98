"""A simulated annotator: answers each query with the truth, round after round, and counts clicks.

Rounds run through what the service runs: `annotator_for`, `propagated`, `order_frames`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
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
from backend.sample_simulation import SampleDesk
from backend.scoring import ClipScorer
from backend.settings import Settings
from backend.simulation_passes import PassMemory, SeenFrame, seen
from backend.simulation_results import ClipSimulation, SimulatedRound
from model.benchmark import LabelledClip
from model.finetune import FinetuneProgress
from model.flowstore import FlowStore
from model.metrics import Scores, measure_frame
from model.pipeline import ClipAnnotator
from selection.clicks import boundary_clicks, drawn_by_hand
from selection.granularity import Granularity
from selection.reach import Reach

__all__ = ["Groundwork", "clicks_by_hand", "free_classes", "prepare", "simulate_clip"]


def clicks_by_hand(clip: LabelledClip, report: Report | None = None) -> npt.NDArray[np.int64]:
    """Boundary clicks of each frame's true mask, (N,)."""
    out = np.zeros(len(clip), np.int64)
    for index in range(len(clip)):
        out[index] = boundary_clicks(clip.masks.read(index), free_classes(clip.class_names))
        if report is not None:
            report("counting clicks", index + 1, len(clip))
    return out


@dataclass
class Groundwork:
    """What all runs on one clip share, worked out once.

    Attributes:
        clicks: (N,) boundary clicks of labelling each frame by hand.
        miou: What labelling every frame by hand reaches: of the masks as those clicks draw them
            (contours simplified, ε = 1), the ceiling of quality for clicks.
        flow: Flow between neighbouring frames.
        features: (N, C) of every frame before there is a label.
        reach: Measured when a strategy first asks for it.
        memory: What passes over the clip gave between labels that are the same.
    """

    clicks: npt.NDArray[np.int64]
    miou: float
    flow: FlowStore
    features: npt.NDArray[np.float32]
    reach: Reach | None = None
    memory: PassMemory = field(default_factory=PassMemory)


def prepare(clip: LabelledClip, settings: Settings, report: Report | None = None) -> Groundwork:
    """Work out what all runs on a clip share; their settings may differ in strategy and seed."""
    scores, free = Scores(), free_classes(clip.class_names)
    for index in range(len(clip)):
        truth = clip.masks.read(index)
        scores.add(measure_frame(truth, drawn_by_hand(truth, free), clip.class_names))
    annotator = annotator_for(clip.source, clip.class_names, settings)
    return Groundwork(
        clicks_by_hand(clip, report),
        scores.values()["miou"] or 0.0,
        annotator.flow,
        appearances(annotator, clip.source),
    )


def free_classes(class_names: tuple[str, ...]) -> frozenset[int]:
    """The classes that nobody draws: the background, where class 0 is called so."""
    return frozenset({0} if class_names[0] == "background" else ())


@dataclass
class _Loop:
    """One clip on its way through the rounds."""

    clip: LabelledClip
    settings: Settings
    ground: Groundwork
    folder: Path
    report: Report | None
    granularity: Granularity = field(default_factory=Granularity)
    follow: bool = True
    labels: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    clicks: int = 0
    corrections: int = 0

    def __post_init__(self) -> None:
        count = len(self.clip)
        self._uncertainty = np.ones(count)
        self._features = self.ground.features
        self._reach: Reach | None = None
        if wants_reach(self.settings.strategy):
            if self.ground.reach is None:
                self.ground.reach = measure_reach(self.clip.source, self.settings.flow)
            self._reach = self.ground.reach
        self.by_hand = self.ground.clicks
        # Before there is a pre-annotation a label is drawn from scratch.
        self._to_correct = self.by_hand.copy()
        self._network: Path | None = None
        self.scorer: ClipScorer | None = None
        self._desk: SampleDesk | None = None
        if self.granularity.kind != "frame":
            free = free_classes(self.clip.class_names)
            self._desk = SampleDesk(self.clip, self.granularity, free)

    def round(self, number: int, budget: Budget, pictures: bool) -> SimulatedRound | None:
        """Ask, be answered, fine-tune, propagate, score; None where nothing is left to ask for."""
        watch = Stopwatch()
        chosen = watch.call("select", lambda: self._ask(number, budget))
        if not chosen:
            return None
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
        annotator = annotator_for(self.clip.source, self.clip.class_names, self.settings)
        annotator.flow = self.ground.flow
        return annotator

    def _ask(self, number: int, budget: Budget) -> list[int] | list[tuple[int, int]]:
        """Ask for a round's samples and be answered; returns what was asked for."""
        if self._desk is None or number == 1:
            whole = budget.of(len(self.clip)) if self._desk is None else self._desk.frames(budget)
            frames = self._choose(number, whole)
            self._answer(frames)
            return frames
        seed, strategy = self.settings.seed + number, self.settings.strategy
        answer = self._desk.ask(strategy, self._desk.samples(budget), seed, self.labels)
        self.labels.update(answer.labels)
        self.clicks += answer.clicks
        self.corrections += answer.corrections
        return answer.samples

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
        clip = self.clip
        self.scorer = ClipScorer(clip, list(self.labels), pictures, self.follow)
        features = []
        for index, known in enumerate(self._pass(annotator, watch)):
            self.scorer.take(known.frame, clip.masks.read(index))
            self._uncertainty[index] = known.uncertainty
            self._to_correct[index] = known.corrections
            feature = self.ground.features[index] if known.feature is None else known.feature
            features.append(feature)
            if self.report is not None:
                self.report("labelling and scoring", index + 1, len(clip))
        self._features = np.stack(features)

    def _pass(self, annotator: ClipAnnotator, watch: Stopwatch) -> Iterator[SeenFrame]:
        """Every frame as the labels so far give it."""
        clip, free = self.clip, free_classes(self.clip.class_names)
        if self._desk is None:
            yield from self.ground.memory.frames(annotator, clip, self.labels, free, watch)
            return
        passing = propagated(annotator, clip.source, self.labels)
        for result, summary in watch.steps("propagate", passing):
            self._desk.see(result, annotator, self.labels.get(result.index))
            yield seen(clip, result, free, summary.feature)


def simulate_clip(
    clip: LabelledClip,
    settings: Settings,
    budget: Budget,
    rounds: int,
    *,
    samples: Granularity | None = None,
    ground: Groundwork | None = None,
    pictures: bool = False,
    follow: bool = True,
    report: Report | None = None,
) -> ClipSimulation:
    """Label a clip in rounds, each query answered with the truth.

    Args:
        clip: The clip and its truth.
        settings: As for the service; its strategy asks, its seed is that of all chance.
        budget: Samples a round.
        rounds: How many, ≥ 1.
        samples: What is asked for; whole frames where it is None.
        ground: What `prepare` gave, where there are several runs on the clip.
        pictures: Whether to keep some frames of the last round for the report.
        follow: Whether to measure temporal consistency, which takes longer than all else.
        report: Told of the progress.

    Raises:
        ValueError: A setting does not fit, or `rounds` is below 1.
        ClipError: A frame cannot be read.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be 1 or more, not {rounds}")
    reset_peak()
    ground = ground or prepare(clip, settings, report)
    samples = samples or Granularity()
    done: list[SimulatedRound] = []
    with tempfile.TemporaryDirectory(prefix="maskloop-") as folder:
        loop = _Loop(clip, settings, ground, Path(folder), report, samples, follow)
        for number in range(1, rounds + 1):
            row = loop.round(number, budget, pictures and number == rounds)
            if row is None:
                break
            done.append(row)
    assert loop.scorer is not None
    return ClipSimulation(
        clip=clip.name,
        class_names=clip.class_names,
        strategy=settings.strategy,
        seed=settings.seed,
        samples=str(samples),
        budget=budget.of(len(clip)) if samples.kind == "frame" else len(done[-1].samples),
        clicks_by_hand=int(ground.clicks.sum()),
        miou_by_hand=ground.miou,
        rounds=done,
        peak_memory_mb=peak_memory_mb(),
        frames=loop.scorer.frames,
        pictures=loop.scorer.shown(),
    )
