from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import pipeline
from model.checkpoint import CheckpointError
from model.features import appearance
from model.finetune import FinetuneProgress
from model.networks import NETWORKS, Compact, NetworkError
from model.pipeline import METHODS
from model.settings import PropagationSettings
from tests.model.annotators import QUICK, annotator_of, labels_of, narrow  # noqa: F401
from tests.model.moving import CLASS_NAMES, MovingClip, share_right


@pytest.mark.parametrize("method", METHODS)
def test_every_method_labels_every_frame(method: str) -> None:
    clip = MovingClip()
    annotator = annotator_of(clip, method=method)
    labels = labels_of(clip, 0, 6, 11)
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
    labels = labels_of(clip, 0, 11)
    quality = {}
    for method in ("nearest", "flow"):
        results = annotator_of(clip, method=method).propagate(labels)
        quality[method] = share_right(clip, {r.index: r.mask for r in results if not r.is_key})
    assert quality["flow"] > quality["nearest"] + 0.1


def test_the_network_alone_needs_a_network() -> None:
    with pytest.raises(ValueError, match="call finetune or load first"):
        list(annotator_of(MovingClip(), method="network").propagate(labels_of(MovingClip(), 0)))


def test_without_a_network_the_flow_goes_alone() -> None:
    clip = MovingClip()
    labels = labels_of(clip, 0, 11)
    alone = annotator_of(clip, method="flow").propagate(labels)
    for mine, flows in zip(annotator_of(clip).propagate(labels), alone, strict=True):
        assert np.array_equal(mine.probabilities, flows.probabilities)


def test_a_key_frame_without_any_label_is_labelled_as_the_others_are() -> None:
    clip = MovingClip()
    labels = labels_of(clip, 0, 11)
    annotator = annotator_of(clip, propagation=PropagationSettings.best())
    expected = list(annotator.propagate(labels))
    nothing = np.full_like(labels[0], 255)
    for one, other in zip(annotator.propagate({**labels, 5: nothing}), expected, strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)


def test_progress_runs_through_both_parts() -> None:
    clip = MovingClip()
    told: list[FinetuneProgress] = []
    annotator_of(clip).finetune(labels_of(clip, 0, 6, 11), progress=told.append)
    assert [step.epoch for step in told] == [1, 2, 3, 4]
    assert {step.epochs for step in told} == {4}


def test_both_parts_are_taken_up_where_they_stopped(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def stop(step: FinetuneProgress) -> None:
        if step.epoch == 3:
            raise Killed

    clip = MovingClip()
    labels = labels_of(clip, 0, 6, 11)
    with pytest.raises(Killed):
        annotator_of(clip).finetune(labels, resume=tmp_path / "training", progress=stop)
    assert len(list(tmp_path.iterdir())) == 2
    told: list[FinetuneProgress] = []
    resumed, straight = annotator_of(clip), annotator_of(clip)
    resumed.finetune(labels, resume=tmp_path / "training", progress=told.append)
    straight.finetune(labels)
    assert [step.epoch for step in told] == [4]
    assert not list(tmp_path.iterdir())
    assert resumed.evidence_weight == straight.evidence_weight
    assert np.array_equal(resumed.embed(clip.read(0)), straight.embed(clip.read(0)))


class TestKept:
    def test_a_saved_network_predicts_the_same(self, tmp_path: Path) -> None:
        clip = MovingClip()
        labels = labels_of(clip, 0, 6, 11)
        first = annotator_of(clip, method="network")
        first.finetune(labels)
        first.save(tmp_path / "network.pt", {"round": 3})
        second = annotator_of(clip, method="network")
        assert second.load(tmp_path / "network.pt")["round"] == 3
        for a, b in zip(first.propagate(labels), second.propagate(labels), strict=True):
            assert np.array_equal(a.probabilities, b.probabilities)
        assert np.array_equal(first.embed(clip.read(2)), second.embed(clip.read(2)))

    def test_classes_are_matched_by_name(self, tmp_path: Path) -> None:
        """With the classes in another order and one more, the same things are still found."""
        clip = MovingClip()
        labels = labels_of(clip, 0, 6, 11)
        first = annotator_of(clip, method="network", finetune=replace(QUICK, epochs=15))
        first.finetune(labels)
        first.save(tmp_path / "network.pt")
        names = ("bar", "wheel", "background", "square")
        second = annotator_of(clip, class_names=names, method="network")
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
        first = annotator_of(clip)
        first.finetune(labels_of(clip, 0, 6, 11))
        first.save(tmp_path / "network.pt")
        second = annotator_of(clip, class_names=names)
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
        first = annotator_of(clip, propagation=settings)
        report = first.finetune(labels_of(clip, 0, 4, 11))
        assert report is not None
        assert "refinement gets the share 0.50" in report.notes
        first.save(tmp_path / "network.pt")
        second = annotator_of(clip, propagation=settings)
        assert second.refinement is not None
        assert second.refinement.share == 0.0
        second.load(tmp_path / "network.pt")
        assert second.refinement.share == 0.5

    def test_a_network_of_another_kind_is_left_aside(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(NETWORKS, "other", Compact)
        clip = MovingClip()
        first = annotator_of(clip, network="other")
        first.finetune(labels_of(clip, 0))
        first.save(tmp_path / "network.pt")
        second = annotator_of(clip)
        report = second.finetune(labels_of(clip, 0), warm_start=tmp_path / "network.pt")
        assert report is not None
        assert report.notes[0] == (
            "the network kept so far is 'other' and not 'compact', so fine-tuning begins anew"
        )

    def test_a_network_that_cannot_be_had_is_stood_in_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first round, and the next one, which goes on with what stood in."""

        def missing(*_: Any, **__: Any) -> Any:
            raise NetworkError("hub:model could not be loaded (no connection); name a folder")

        monkeypatch.setitem(NETWORKS, "hub", missing)
        clip = MovingClip()
        first = annotator_of(clip, network="hub:model")
        report = first.finetune(labels_of(clip, 0, 11))
        expected = (
            "hub:model could not be loaded (no connection); name a folder. Until then the network"
            " is 'compact'"
        )
        assert report is not None
        assert report.notes[0] == expected
        first.save(tmp_path / "network.pt")
        second = annotator_of(clip, network="hub:model")
        second.load(tmp_path / "network.pt")
        assert len(list(second.propagate(labels_of(clip, 0)))) == 12
        again = annotator_of(clip, network="hub:model")
        report = again.finetune(labels_of(clip, 0, 11), warm_start=tmp_path / "network.pt")
        assert report is not None
        assert report.notes[0] == expected

    def test_a_damaged_network_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "network.pt").write_bytes(b"nothing")
        with pytest.raises(CheckpointError, match=r"network\.pt"):
            annotator_of(MovingClip()).finetune(
                labels_of(MovingClip(), 0), warm_start=tmp_path / "network.pt"
            )

    def test_nothing_fine_tuned_is_nothing_to_save(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="call finetune first"):
            annotator_of(MovingClip()).save(tmp_path / "network.pt")


def test_frames_are_described_by_appearance_until_there_is_a_network() -> None:
    clip = MovingClip()
    annotator = annotator_of(clip)
    before = annotator.embed(clip.read(0))
    assert np.array_equal(before, appearance(clip.read(0)))
    annotator.finetune(labels_of(clip, 0))
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
        annotator_of(MovingClip(), **options)


@pytest.mark.parametrize("labels", [{}, {0: np.full((48, 64), 255, np.uint8)}])
def test_no_label_is_refused(labels: dict[int, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="label"):
        annotator_of(MovingClip()).finetune(labels)
