"""Evaluation: label a clip from some of its true masks, as a round would, and score the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from backend.annotator import annotator_for
from backend.keyframes import KeyFrames
from backend.machine import peak_memory_mb, reset_peak, resident_mb
from backend.quality import judge
from backend.scoring import ClipScorer, FrameScore, Picture, Values
from backend.settings import Settings
from model.benchmark import LabelledClip
from model.finetune import FinetuneProgress
from model.quality import Calibration, QualityEstimate

__all__ = ["ClipEvaluation", "Report", "Stopwatch", "evaluate_clip", "mean_of_clips", "mean_values"]

T = TypeVar("T")

_PROPAGATING = ("flow", "maskloop")

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class ClipEvaluation:
    """What evaluating one clip gave.

    Attributes:
        clip: Its name.
        class_names: By class index.
        key_frames: The frames that were labelled.
        unlabelled: Scores over the others; None where there are none.
        expected_miou: mIoU of the others, as a round would expect it without the truth; None for
            methods that do not propagate.
        all: Scores over every frame.
        seconds: For fine-tuning, propagation and both; reading and scoring the truth not counted.
        peak_memory_mb: The most memory the process held meanwhile.
        frames: Each frame's own score.
        memory: MiB held after each frame.
        notes: What fine-tuning remarked.
        pictures: A few frames for the report.
    """

    clip: str
    class_names: tuple[str, ...]
    key_frames: list[int]
    unlabelled: Values | None
    expected_miou: float | None
    all: Values
    seconds: dict[str, float]
    peak_memory_mb: float
    frames: list[FrameScore]
    memory: list[float]
    notes: tuple[str, ...]
    pictures: list[Picture]

    @property
    def seconds_per_frame(self) -> float:
        """Seconds for fine-tuning and propagation, over the number of frames."""
        return self.seconds["total"] / len(self.frames)

    def record(self) -> dict[str, Any]:
        """As in the JSON of `maskloop evaluate`; see docs/evaluate.md."""
        return {
            "clip": self.clip,
            "frames": len(self.frames),
            "key_frames": self.key_frames,
            "unlabelled": self.unlabelled,
            "expected_miou": self.expected_miou,
            "all": self.all,
            "seconds": self.seconds,
            "seconds_per_frame": self.seconds_per_frame,
            "peak_memory_mb": self.peak_memory_mb,
        }


class Stopwatch:
    """Adds up the time spent in parts of the work, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def steps(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Pass on items, timing only how long each takes to come."""
        iterator = iter(items)
        while True:
            started = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._add(name, time.perf_counter() - started)
            yield item

    def call(self, name: str, work: Callable[[], T]) -> T:
        """Do something and time it."""
        started = time.perf_counter()
        try:
            return work()
        finally:
            self._add(name, time.perf_counter() - started)

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def evaluate_clip(
    clip: LabelledClip,
    keys: KeyFrames,
    settings: Settings,
    *,
    pictures: bool = False,
    follow: bool = True,
    report: Report | None = None,
) -> ClipEvaluation:
    """Label a clip from its key frames' true masks, and score every frame.

    Args:
        clip: The clip and its truth.
        keys: Which frames are labelled.
        settings: As for the service: method, flow, network, time for fine-tuning, …
        pictures: Whether to keep some frames for the report.
        follow: Whether to measure temporal consistency; see `backend.scoring.ClipScorer`.
        report: Told of the progress.

    Raises:
        ValueError: A setting or the key frames do not fit the clip.
        ClipError: A frame cannot be read.
    """
    reset_peak()
    key_frames = keys.of(len(clip))
    labels = {index: clip.masks.read(index) for index in key_frames}
    annotator = annotator_for(clip.source, clip.class_names, settings)
    watch = Stopwatch()

    def on_epoch(step: FinetuneProgress) -> None:
        if report is not None:
            report("fine-tuning", step.epoch, step.epochs)

    outcome = watch.call("finetune", lambda: annotator.finetune(labels, progress=on_epoch))
    scorer = ClipScorer(clip, key_frames, pictures, follow)
    estimate = QualityEstimate(Calibration(tuple(key_frames)))
    memory: list[float] = []
    for result in watch.steps("propagate", annotator.propagate(labels)):
        scorer.add(result, clip.masks.read(result.index))
        estimate.add(result)
        memory.append(resident_mb())
        if report is not None:
            report("labelling and scoring", result.index + 1, len(clip))
    seconds = {**watch.seconds, "total": sum(watch.seconds.values())}
    peak = peak_memory_mb()
    expects = settings.method in _PROPAGATING and len(key_frames) < len(clip)
    if expects:
        estimate.calibration = judge(annotator, labels)[0].calibration
    return ClipEvaluation(
        clip=clip.name,
        class_names=clip.class_names,
        key_frames=key_frames,
        unlabelled=scorer.unlabelled(),
        expected_miou=estimate.mean_iou if expects else None,
        all=scorer.all(),
        seconds=seconds,
        peak_memory_mb=peak,
        frames=scorer.frames,
        memory=memory,
        notes=outcome.notes if outcome is not None else (),
        pictures=scorer.shown(),
    )


def mean_of_clips(results: Sequence[ClipEvaluation]) -> dict[str, Any]:
    """The means over clips, as in the JSON: each score over the clips that have it."""
    return {
        "unlabelled": mean_values([result.unlabelled or {} for result in results]),
        "all": mean_values([result.all for result in results]),
        "seconds_per_frame": sum(r.seconds_per_frame for r in results) / len(results),
    }


def mean_values(values: Sequence[Values]) -> Values:
    """Mean of each score over those that have it; None where it is known of none."""
    names = list(dict.fromkeys(name for scores in values for name in scores))
    known = {
        name: [v for v in (scores.get(name) for scores in values) if v is not None]
        for name in names
    }
    return {name: sum(v) / len(v) if v else None for name, v in known.items()}
