"""How far a network's evidence is taken, and who judges that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import pipeline
from model.networks import Compact
from model.unjudged import unjudged_weight
from tests.model.annotators import QUICK, annotator_of, labels_of, narrow  # noqa: F401
from tests.model.moving import MovingClip


class _Judging:
    """Stands in for the judge and remembers what it was asked."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.held_out: list[tuple[int, ...]] = []

    def hold_out(
        self, source: Any, keys: Any, count: int, indices: tuple[int, ...], **_: Any
    ) -> list[Any]:
        self.held_out.append(tuple(indices))
        return []

    def __call__(self, *_: Any) -> float:
        return self.weight


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> _Judging:
    judge = _Judging(0.5)
    monkeypatch.setattr(pipeline, "hold_out", judge.hold_out)
    monkeypatch.setattr(pipeline, "evidence_weight", judge)
    return judge


class TestJudging:
    def test_a_first_fit_keeps_the_judges_from_the_network(
        self, judging: _Judging, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clip = MovingClip()
        trained: list[set[int]] = []
        real = pipeline.Stages.run

        def run(self: Any, labels: dict[int, Any], **rest: Any) -> None:
            trained.append(set(labels))
            real(self, labels, **rest)

        monkeypatch.setattr(pipeline.Stages, "run", run)
        annotator = annotator_of(clip)
        report = annotator.finetune(labels_of(clip, 0, 3, 6, 9, 11))
        assert judging.held_out == [(3, 9)]
        assert trained == [{0, 6, 11}, {0, 3, 6, 9, 11}]
        assert annotator.evidence_weight == 0.5
        assert report is not None
        assert report.notes == (
            "the network's evidence gets the weight 0.50, judged on frames 3 and 9",
        )
        assert report.steps == report.planned == 16

    @pytest.mark.parametrize("keys", [(0,), (0, 11)])
    @pytest.mark.parametrize("agreed", [0.9, 0.3, None])
    def test_with_too_few_labels_to_judge_propagation_is_what_the_network_is_held_to(
        self,
        keys: tuple[int, ...],
        agreed: float | None,
        judging: _Judging,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(pipeline, "agreement", lambda *_, **__: agreed)
        clip = MovingClip()
        annotator = annotator_of(clip)
        report = annotator.finetune(labels_of(clip, *keys))
        assert judging.held_out == []
        assert annotator.evidence_weight == unjudged_weight(agreed)
        assert report is not None
        assert len(report.notes) == 1
        assert "three labelled frames would judge it" in report.notes[0]

    @pytest.mark.parametrize(("keys", "lowered"), [((0,), False), ((0, 6, 11), True)])
    def test_balance_is_taken_back_only_where_several_frames_tell_how_rare_classes_are(
        self, keys: tuple[int, ...], lowered: bool
    ) -> None:
        clip = MovingClip()
        annotator = annotator_of(clip)
        annotator.finetune(labels_of(clip, *keys))
        assert annotator._network is not None
        assert any(annotator._network.lowered) == lowered

    def test_a_network_that_learnt_nothing_of_one_frame_is_not_listened_to(self) -> None:
        clip = MovingClip()
        annotator = annotator_of(clip, finetune=replace(QUICK, epochs=1, steps_per_epoch=1))
        annotator.finetune(labels_of(clip, 0))
        assert annotator.evidence_weight == 0.0

    def test_weighing_keeps_to_the_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[bool] = []

        def agreement(*_: Any, enough: Callable[[], bool], **__: Any) -> None:
            asked.append(enough())

        monkeypatch.setattr(pipeline, "agreement", agreement)
        clip = MovingClip()
        annotator_of(clip, finetune=replace(QUICK, seconds=1e6)).finetune(labels_of(clip, 0))
        annotator_of(clip, finetune=replace(QUICK, seconds=1e-6)).finetune(labels_of(clip, 0))
        assert asked == [False, True]

    def test_judging_that_would_take_too_long_is_left(
        self, judging: _Judging, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "_JUDGED_PIXELS", 1)
        clip = MovingClip()
        annotator = annotator_of(clip, finetune=replace(QUICK, seconds=60.0))
        annotator.finetune(labels_of(clip, 0, 6, 11))
        assert judging.held_out == []

    def test_large_frames_are_judged_at_a_smaller_size(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At full size there is no time for a single one."""
        seen: list[tuple[int, ...]] = []
        real = pipeline.hold_out

        def hold_out(*given: Any, **named: Any) -> Any:
            for record in real(*given, **named):
                seen.append(record.truth.shape)
                assert record.evidence is not None
                assert record.evidence.shape[1:] == record.truth.shape
                yield record

        monkeypatch.setattr(pipeline, "hold_out", hold_out)
        monkeypatch.setattr(pipeline, "_JUDGED_SIZE", 48 * 64)
        monkeypatch.setattr(pipeline, "_JUDGED_PIXELS", 48 * 64 * 12 / 60)
        clip = MovingClip(size=(96, 128))
        annotator = annotator_of(clip, finetune=replace(QUICK, seconds=60.0))
        annotator.finetune(labels_of(clip, 0, 6, 11))
        assert seen == [(48, 64)]
        (result, *_) = annotator.propagate(labels_of(clip, 0, 6, 11))
        assert result.mask.shape == (96, 128)

    def test_the_network_alone_is_not_judged(self, judging: _Judging) -> None:
        clip = MovingClip()
        annotator_of(clip, method="network").finetune(labels_of(clip, 0, 6, 11))
        assert judging.held_out == []

    def test_later_the_new_labels_judge_before_they_are_learnt(
        self, judging: _Judging, tmp_path: Path
    ) -> None:
        clip = MovingClip()
        first = annotator_of(clip)
        first.finetune(labels_of(clip, 0, 6, 11))
        first.save(tmp_path / "network.pt")
        judging.weight = 0.25
        second = annotator_of(clip)
        second.finetune(labels_of(clip, 0, 3, 6, 11), warm_start=tmp_path / "network.pt")
        assert judging.held_out == [(6,), (3,)]
        assert second.evidence_weight == 0.25
        second.save(tmp_path / "network.pt")
        third = annotator_of(clip)
        third.finetune(labels_of(clip, 0, 3, 6, 11), warm_start=tmp_path / "network.pt")
        assert len(judging.held_out) == 2
        assert third.evidence_weight == 0.25

    def test_evidence_is_mixed_in_by_its_weight(self, judging: _Judging) -> None:
        clip = MovingClip()
        labels = labels_of(clip, 0, 6, 11)
        annotator = annotator_of(clip)
        annotator.finetune(labels)
        flows = list(annotator_of(clip, method="flow").propagate(labels))
        mixed = list(annotator.propagate(labels))
        assert any(
            not np.allclose(a.probabilities, b.probabilities)
            for a, b in zip(mixed, flows, strict=True)
        )
        annotator.evidence_weight = 0.0
        for a, b in zip(annotator.propagate(labels), flows, strict=True):
            assert np.array_equal(a.probabilities, b.probabilities)

    def test_a_frame_that_evidence_was_asked_of_is_not_looked_at_again(
        self, judging: _Judging, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clip = MovingClip()
        labels = labels_of(clip, 0, 6, 11)
        annotator = annotator_of(clip)
        annotator.finetune(labels)
        looks: list[int] = []
        encode = Compact._encode
        monkeypatch.setattr(
            Compact, "_encode", lambda self, images: looks.append(1) or encode(self, images)
        )
        for result in annotator.propagate(labels):
            assert result.image is not None
            feature = annotator.embed(result.image)
            assert len(looks) == 1, result.index
            looks.clear()
            assert np.allclose(feature, annotator.embed(clip.read(result.index)), atol=1e-5)
            looks.clear()

    def test_a_network_that_knows_nothing_is_not_listened_to(self) -> None:
        clip = MovingClip()
        annotator = annotator_of(clip, finetune=replace(QUICK, epochs=1, steps_per_epoch=1))
        annotator.finetune(labels_of(clip, 0, 6, 11))
        assert annotator.evidence_weight == 0.0
