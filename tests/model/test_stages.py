from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from model import stages
from model.finetune import FinetuneProgress, FinetuneReport
from model.flow import DISFlow
from model.flowstore import FlowStore
from model.networks import build
from model.presets import FinetuneSettings
from model.stages import Stages
from tests.model.moving import MovingClip

_NOW = 1000.0


class _Recorder:
    """Stands in for `finetune`, and tells what it was asked."""

    def __init__(self, *stopped: str) -> None:
        self.asked: list[FinetuneSettings] = []
        self.held_out: list[Any] = []
        self.flows: list[Any] = []
        self.stopped = list(stopped)

    def __call__(self, *_: Any, settings: FinetuneSettings, **rest: Any) -> FinetuneReport:
        self.asked.append(settings)
        self.held_out.append(rest["held_out"])
        self.flows.append(rest["flow"])
        if rest["progress"] is not None:
            rest["progress"](FinetuneProgress(settings.epochs, settings.epochs, {"a": 1.0}, 4.0))
        reason = self.stopped.pop(0) if self.stopped else "done"
        note = (f"part {len(self.asked)}",)
        return FinetuneReport(10, 12, 1.0, {"a": float(len(self.asked))}, reason, note)


def _stages(
    settings: FinetuneSettings, told: list[FinetuneProgress] | None = None, ago: float = 0.0
) -> Stages:
    progress = None if told is None else told.append
    network = build("compact", 2, widths=[8, 8, 8, 8])
    return Stages(network, MovingClip(), DISFlow(), settings, _NOW - ago, progress)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> _Recorder:
    recorder = _Recorder()
    monkeypatch.setattr(stages, "finetune", recorder)
    monkeypatch.setattr(stages, "time", SimpleNamespace(monotonic=lambda: _NOW))
    return recorder


def test_parts_share_the_epochs_and_the_time(recorder: _Recorder) -> None:
    parts = _stages(FinetuneSettings(epochs=10, seconds=100.0))
    parts.run({}, share=0.3)
    parts.run({})
    first, second = recorder.asked
    assert (first.epochs, second.epochs) == (3, 7)
    assert first.seconds == pytest.approx(30)
    assert second.seconds == pytest.approx(100)
    assert first.seed != second.seed


def test_parts_share_the_flow(recorder: _Recorder) -> None:
    parts = _stages(FinetuneSettings())
    parts.run({}, share=0.3)
    parts.run({})
    assert isinstance(parts.flow, FlowStore)
    assert recorder.flows == [parts.flow, parts.flow]


def test_time_that_went_by_is_no_longer_there(recorder: _Recorder) -> None:
    parts = _stages(FinetuneSettings(seconds=100.0), ago=60.0)
    parts.run({})
    assert recorder.asked[0].seconds == pytest.approx(40)


def test_all_the_time_there_is_stays_so(recorder: _Recorder) -> None:
    parts = _stages(FinetuneSettings())
    parts.run({}, share=0.5)
    assert recorder.asked[0].seconds == math.inf


def test_what_held_out_frames_found_worth_nothing_is_left_later(recorder: _Recorder) -> None:
    recorder.stopped = ["held-out"]  # after 10 of 12 steps
    parts = _stages(FinetuneSettings(epochs=40))
    masks = {3: MovingClip().mask(3)}
    parts.run({}, share=0.25, held_out=masks)
    parts.run({})
    assert recorder.held_out == [masks, None]
    assert [part.epochs for part in recorder.asked] == [10, 25]


def test_without_held_out_frames_all_epochs_are_taken(recorder: _Recorder) -> None:
    recorder.stopped = ["time"]
    parts = _stages(FinetuneSettings(epochs=40))
    parts.run({}, share=0.25)
    parts.run({})
    assert [part.epochs for part in recorder.asked] == [10, 30]


def test_progress_counts_through(recorder: _Recorder) -> None:
    told: list[FinetuneProgress] = []
    parts = _stages(replace(FinetuneSettings(), epochs=10), told)
    parts.run({}, share=0.4)
    parts.run({})
    assert [(step.epoch, step.epochs) for step in told] == [(4, 10), (10, 10)]
    assert told[0].seconds_left == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("stopped", "expected"),
    [
        (("done", "done"), "done"),
        (("time", "done"), "time"),
        (("done", "diverged"), "diverged"),
        (("diverged", "time"), "diverged"),
        (("held-out", "done"), "held-out"),
        (("held-out", "time"), "time"),
    ],
)
def test_the_report_is_of_all_parts(
    stopped: tuple[str, str], expected: str, recorder: _Recorder
) -> None:
    recorder.stopped = list(stopped)
    parts = _stages(FinetuneSettings())
    parts.run({}, share=0.5)
    parts.run({})
    report = parts.report(("judged",))
    assert report.stopped == expected
    assert (report.steps, report.planned) == (20, 24)
    assert report.losses == {"a": 2.0}
    assert report.notes == ("judged", "part 1", "part 2")
