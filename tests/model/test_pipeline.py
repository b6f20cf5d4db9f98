from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import pipeline
from model.checkpoint import CheckpointError
from model.features import appearance
from model.finetune import FinetuneProgress, FinetuneSettings
from model.networks import NETWORKS, Compact, NetworkError
from model.pipeline import METHODS, ClipAnnotator
from model.settings import PropagationSettings
from model.unjudged import unjudged_weight
from tests.model.moving import CLASS_NAMES, MovingClip, share_right

_QUICK = FinetuneSettings(
    epochs=4,
    steps_per_epoch=4,
)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compact network with few channels: what is tested here is not how well it sees."""

    def compact(num_classes: int, widths: Sequence[int] = (8, 16, 16, 16)) -> Compact:
        return Compact(num_classes, widths)

    monkeypatch.setitem(NETWORKS, "compact", compact)


def _annotator(clip: MovingClip, **options: Any) -> ClipAnnotator:
    options = {"class_names": CLASS_NAMES, "finetune": _QUICK, **options}
    return ClipAnnotator(clip, **options)


def _labels(clip: MovingClip, *indices: int) -> dict[int, np.ndarray]:
    return {index: clip.mask(index) for index in indices}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_labels_every_frame(method: str) -> None:
    clip = MovingClip()
    annotator = _annotator(clip, method=method)
    labels = _labels(clip, 0, 6, 11)
    labels[6][:10] = 255
    report = annotator.finetune(labels)
    assert (report is not None) == (method in ("network", "maskloop"))
    done: list[tuple[int, int]] = []
    results = list(annotator.propagate(labels, progress=lambda *step: done.append(step)))
    assert [result.index for result in results] == list(range(12))
    # Frame 6 is labelled in part: the rest of it is a prediction.
    assert [result.index for result in results if result.is_key] == [0, 11]
    assert done == [(i + 1, 12) for i in range(12)]
    for result in results:
        assert result.probabilities.shape == (3, 48, 64)
        assert result.probabilities.dtype == result.confidence.dtype == np.float32
        assert np.allclose(result.probabilities.sum(axis=0), 1, atol=1e-4)
        assert result.confidence.min() >= 0
        assert result.confidence.max() <= 1
    for index, mask in labels.items():
        assert (results[index].mask == mask)[mask != 255].all()


def test_propagation_beats_the_nearest_copy() -> None:
    clip = MovingClip()
    labels = _labels(clip, 0, 11)
    quality = {}
    for method in ("nearest", "flow"):
        results = _annotator(clip, method=method).propagate(labels)
        quality[method] = share_right(clip, {r.index: r.mask for r in results if not r.is_key})
    assert quality["flow"] > quality["nearest"] + 0.1


def test_the_network_alone_needs_a_network() -> None:
    with pytest.raises(ValueError, match="call finetune or load first"):
        list(_annotator(MovingClip(), method="network").propagate(_labels(MovingClip(), 0)))


def test_without_a_network_the_flow_goes_alone() -> None:
    clip = MovingClip()
    labels = _labels(clip, 0, 11)
    alone = _annotator(clip, method="flow").propagate(labels)
    for mine, flows in zip(_annotator(clip).propagate(labels), alone, strict=True):
        assert np.array_equal(mine.probabilities, flows.probabilities)


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
        annotator = _annotator(clip)
        report = annotator.finetune(_labels(clip, 0, 3, 6, 9, 11))
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
        annotator = _annotator(clip)
        report = annotator.finetune(_labels(clip, *keys))
        assert judging.held_out == []
        assert annotator.evidence_weight == unjudged_weight(agreed)
        assert report is not None
        assert len(report.notes) == 1
        assert "three labelled frames would judge it" in report.notes[0]

    def test_a_network_that_learnt_nothing_of_one_frame_is_not_listened_to(self) -> None:
        clip = MovingClip()
        annotator = _annotator(clip, finetune=replace(_QUICK, epochs=1, steps_per_epoch=1))
        annotator.finetune(_labels(clip, 0))
        assert annotator.evidence_weight == 0.0

    def test_weighing_keeps_to_the_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[bool] = []

        def agreement(*_: Any, enough: Callable[[], bool], **__: Any) -> None:
            asked.append(enough())

        monkeypatch.setattr(pipeline, "agreement", agreement)
        clip = MovingClip()
        _annotator(clip, finetune=replace(_QUICK, seconds=100.0)).finetune(_labels(clip, 0))
        _annotator(clip, finetune=replace(_QUICK, seconds=1e-6)).finetune(_labels(clip, 0))
        assert asked == [False, True]

    def test_judging_that_would_take_too_long_is_left(
        self, judging: _Judging, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "_JUDGED_PIXELS", 1)
        clip = MovingClip()
        annotator = _annotator(clip, finetune=replace(_QUICK, seconds=60.0))
        annotator.finetune(_labels(clip, 0, 6, 11))
        assert judging.held_out == []

    def test_the_network_alone_is_not_judged(self, judging: _Judging) -> None:
        clip = MovingClip()
        _annotator(clip, method="network").finetune(_labels(clip, 0, 6, 11))
        assert judging.held_out == []

    def test_later_the_new_labels_judge_before_they_are_learnt(
        self, judging: _Judging, tmp_path: Path
    ) -> None:
        clip = MovingClip()
        first = _annotator(clip)
        first.finetune(_labels(clip, 0, 6, 11))
        first.save(tmp_path / "network.pt")
        judging.weight = 0.25
        second = _annotator(clip)
        second.finetune(_labels(clip, 0, 3, 6, 11), warm_start=tmp_path / "network.pt")
        assert judging.held_out == [(6,), (3,)]
        assert second.evidence_weight == 0.25
        second.save(tmp_path / "network.pt")
        third = _annotator(clip)
        third.finetune(_labels(clip, 0, 3, 6, 11), warm_start=tmp_path / "network.pt")
        assert len(judging.held_out) == 2
        assert third.evidence_weight == 0.25

    def test_evidence_is_mixed_in_by_its_weight(self, judging: _Judging) -> None:
        clip = MovingClip()
        labels = _labels(clip, 0, 6, 11)
        annotator = _annotator(clip)
        annotator.finetune(labels)
        flows = list(_annotator(clip, method="flow").propagate(labels))
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
        labels = _labels(clip, 0, 6, 11)
        annotator = _annotator(clip)
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
        annotator = _annotator(clip, finetune=replace(_QUICK, epochs=1, steps_per_epoch=1))
        annotator.finetune(_labels(clip, 0, 6, 11))
        assert annotator.evidence_weight == 0.0


def test_progress_runs_through_both_parts() -> None:
    clip = MovingClip()
    told: list[FinetuneProgress] = []
    _annotator(clip).finetune(_labels(clip, 0, 6, 11), progress=told.append)
    assert [step.epoch for step in told] == [1, 2, 3, 4]
    assert {step.epochs for step in told} == {4}


def test_both_parts_are_taken_up_where_they_stopped(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def stop(step: FinetuneProgress) -> None:
        if step.epoch == 3:
            raise Killed

    clip = MovingClip()
    labels = _labels(clip, 0, 6, 11)
    with pytest.raises(Killed):
        _annotator(clip).finetune(labels, resume=tmp_path / "training", progress=stop)
    assert len(list(tmp_path.iterdir())) == 2
    told: list[FinetuneProgress] = []
    resumed, straight = _annotator(clip), _annotator(clip)
    resumed.finetune(labels, resume=tmp_path / "training", progress=told.append)
    straight.finetune(labels)
    assert [step.epoch for step in told] == [4]
    assert not list(tmp_path.iterdir())
    assert resumed.evidence_weight == straight.evidence_weight
    assert np.array_equal(resumed.embed(clip.read(0)), straight.embed(clip.read(0)))


class TestKept:
    def test_a_saved_network_predicts_the_same(self, tmp_path: Path) -> None:
        clip = MovingClip()
        labels = _labels(clip, 0, 6, 11)
        first = _annotator(clip, method="network")
        first.finetune(labels)
        first.save(tmp_path / "network.pt", {"round": 3})
        second = _annotator(clip, method="network")
        assert second.load(tmp_path / "network.pt")["round"] == 3
        for a, b in zip(first.propagate(labels), second.propagate(labels), strict=True):
            assert np.array_equal(a.probabilities, b.probabilities)
        assert np.array_equal(first.embed(clip.read(2)), second.embed(clip.read(2)))

    def test_classes_are_matched_by_name(self, tmp_path: Path) -> None:
        """With the classes in another order and one more, the same things are still found."""
        clip = MovingClip()
        labels = _labels(clip, 0, 6, 11)
        first = _annotator(clip, method="network", finetune=replace(_QUICK, epochs=15))
        first.finetune(labels)
        first.save(tmp_path / "network.pt")
        names = ("bar", "wheel", "background", "square")
        second = _annotator(clip, class_names=names, method="network")
        second.load(tmp_path / "network.pt")
        before, after = first.propagate({0: labels[0]}), second.propagate({0: labels[0]})
        for mine, theirs in list(zip(before, after, strict=True))[1:]:
            now = np.asarray(["bar", "background", "square"])[
                theirs.probabilities[[0, 2, 3]].argmax(axis=0)
            ]
            assert (now == np.asarray(CLASS_NAMES)[mine.mask]).mean() > 0.99

    @pytest.mark.parametrize("names", [("background", "square"), (*CLASS_NAMES, "wheel")])
    def test_training_goes_on_with_fewer_or_more_classes(
        self, names: tuple[str, ...], tmp_path: Path
    ) -> None:
        clip = MovingClip()
        first = _annotator(clip)
        first.finetune(_labels(clip, 0, 6, 11))
        first.save(tmp_path / "network.pt")
        second = _annotator(clip, class_names=names)
        labels = {i: np.minimum(clip.mask(i), len(names) - 1) for i in (0, 4, 6, 11)}
        report = second.finetune(labels, warm_start=tmp_path / "network.pt")
        assert report is not None
        assert {r.probabilities.shape[0] for r in second.propagate(labels)} == {len(names)}

    def test_what_refinement_learnt_is_kept_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "adapt", lambda start, *_, **__: replace(start, share=0.5))
        clip = MovingClip()
        settings = PropagationSettings.best(refine=0.0)
        first = _annotator(clip, propagation=settings)
        report = first.finetune(_labels(clip, 0, 4, 11))
        assert report is not None
        assert "refinement gets the share 0.50" in report.notes
        first.save(tmp_path / "network.pt")
        second = _annotator(clip, propagation=settings)
        assert second.refinement is not None
        assert second.refinement.share == 0.0
        second.load(tmp_path / "network.pt")
        assert second.refinement.share == 0.5

    def test_a_network_of_another_kind_is_left_aside(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(NETWORKS, "other", Compact)
        clip = MovingClip()
        first = _annotator(clip, network="other")
        first.finetune(_labels(clip, 0))
        first.save(tmp_path / "network.pt")
        second = _annotator(clip)
        report = second.finetune(_labels(clip, 0), warm_start=tmp_path / "network.pt")
        assert report is not None
        assert report.notes == (
            "the network kept so far is 'other' and not 'compact', so fine-tuning begins anew",
        )

    def test_a_network_that_cannot_be_had_is_stood_in_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first round, and the next one, which goes on with what stood in."""

        def missing(*_: Any, **__: Any) -> Any:
            raise NetworkError("hub:model could not be loaded (no connection); name a folder")

        monkeypatch.setitem(NETWORKS, "hub", missing)
        clip = MovingClip()
        first = _annotator(clip, network="hub:model")
        report = first.finetune(_labels(clip, 0, 11))
        expected = (
            "hub:model could not be loaded (no connection); name a folder. Until then the network"
            " is 'compact'",
        )
        assert report is not None
        assert report.notes == expected
        first.save(tmp_path / "network.pt")
        second = _annotator(clip, network="hub:model")
        second.load(tmp_path / "network.pt")
        assert len(list(second.propagate(_labels(clip, 0)))) == 12
        again = _annotator(clip, network="hub:model")
        report = again.finetune(_labels(clip, 0, 11), warm_start=tmp_path / "network.pt")
        assert report is not None
        assert report.notes == expected

    def test_a_damaged_network_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "network.pt").write_bytes(b"nothing")
        with pytest.raises(CheckpointError, match=r"network\.pt"):
            _annotator(MovingClip()).finetune(
                _labels(MovingClip(), 0), warm_start=tmp_path / "network.pt"
            )

    def test_nothing_fine_tuned_is_nothing_to_save(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="call finetune first"):
            _annotator(MovingClip()).save(tmp_path / "network.pt")


def test_frames_are_described_by_appearance_until_there_is_a_network() -> None:
    clip = MovingClip()
    annotator = _annotator(clip)
    before = annotator.embed(clip.read(0))
    assert np.array_equal(before, appearance(clip.read(0)))
    annotator.finetune(_labels(clip, 0))
    assert annotator.embed(clip.read(0)).shape != before.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "must be one of nearest, flow, network, maskloop, not 'magic'"),
        ({"flow": "magic"}, "no flow named 'magic'"),
        ({"class_names": ()}, "at least one class"),
        ({"class_names": ("a", "b", "a")}, "class names must differ"),
    ],
)
def test_what_there_is_not_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _annotator(MovingClip(), **options)


@pytest.mark.parametrize("labels", [{}, {0: np.full((48, 64), 255, np.uint8)}])
def test_no_label_is_refused(labels: dict[int, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="label"):
        _annotator(MovingClip()).finetune(labels)
