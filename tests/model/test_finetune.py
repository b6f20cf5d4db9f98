from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import earlystop
from model.finetune import FinetuneProgress, FinetuneReport, finetune
from model.flow import DISFlow
from model.inference import NetworkEvidence
from model.networks import Segmenter, build
from model.optimizers import Muon
from model.presets import FinetuneSettings
from tests.model.moving import MovingClip, share_right

_QUICK = FinetuneSettings(epochs=3, steps_per_epoch=4, consistency_from=0.5)


def _network(seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    return build("compact", 3, widths=[8, 16, 16, 16])


def _run(
    network: Segmenter, clip: MovingClip, keys: tuple[int, ...] = (0, 6, 11), **changes: Any
) -> FinetuneReport:
    progress, resume = changes.pop("progress", None), changes.pop("resume", None)
    held_out, clock = changes.pop("held_out", None), changes.pop("clock", time.monotonic)
    return finetune(
        network,
        clip,
        {index: clip.mask(index) for index in keys},
        flow=DISFlow("ultrafast"),
        settings=replace(_QUICK, **changes),
        held_out=held_out,
        resume=resume,
        progress=progress,
        clock=clock,
    )


def _weights(network: Segmenter) -> torch.Tensor:
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def test_labels_of_a_few_frames_teach_the_others() -> None:
    clip, network = MovingClip(), _network()
    report = _run(network, clip, epochs=8, steps_per_epoch=10)
    evidence = NetworkEvidence(network)
    predicted = {i: evidence(i, clip.read(i)).argmax(axis=0) for i in (3, 8)}
    assert report.stopped == "done"
    assert report.steps == report.planned == 80
    assert share_right(clip, predicted) > 0.8
    assert not network.training


@pytest.mark.parametrize("keys", [(0,), (5,)])
def test_one_labelled_frame_is_enough(keys: tuple[int, ...]) -> None:
    report = _run(_network(), MovingClip(), keys)
    assert report.steps == 12
    assert set(report.losses) == {"supervised", "consistency"}


def test_a_clip_of_one_frame_has_nothing_to_be_consistent_with() -> None:
    report = _run(_network(), MovingClip(frames=1), (0,))
    assert set(report.losses) == {"supervised"}


def test_learning_from_labels_alone_reads_no_other_frame() -> None:
    clip = MovingClip()
    _run(_network(), clip, consistency=0.0, self_training=0.0)
    assert set(clip.reads) <= {0, 6, 11}


@pytest.mark.parametrize("carried", [0.66, 0.0])
def test_consistency_makes_predictions_follow_the_flow(carried: float) -> None:
    """More of it leaves less of it, over the same steps."""
    how = {"epochs": 12 if carried else 6, "self_training": carried}
    without, much = (
        _run(_network(), MovingClip(), consistency=weight, **how).losses["consistency"]
        for weight in (1e-6, 20.0)
    )
    assert much < without


def test_same_seed_same_network() -> None:
    networks = [_network() for _ in range(3)]
    for network, seed in zip(networks, (7, 7, 8), strict=True):
        torch.manual_seed(int(torch.randint(1000, ())))
        _run(network, MovingClip(), seed=seed)
    first, second, other = map(_weights, networks)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_callers_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    network = _network()
    torch.manual_seed(3)
    _run(network, MovingClip(), (0,))
    assert torch.equal(torch.rand(2), expected)


def test_progress_tells_every_epoch() -> None:
    told: list[FinetuneProgress] = []
    _run(_network(), MovingClip(), progress=told.append)
    assert [(p.epoch, p.epochs) for p in told] == [(1, 3), (2, 3), (3, 3)]
    assert all(math.isfinite(p.losses["supervised"]) for p in told)
    assert told[-1].seconds_left == 0.0


class _Killed(Exception):
    pass


class TestResume:
    def _interrupted(self, path: Path, epoch: int, **changes: Any) -> None:
        def stop(step: FinetuneProgress) -> None:
            if step.epoch == epoch:
                raise _Killed

        with pytest.raises(_Killed):
            _run(_network(), MovingClip(), progress=stop, resume=path, **changes)

    @pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd"])
    def test_what_was_interrupted_ends_as_it_would_have(
        self, optimizer: str, tmp_path: Path
    ) -> None:
        straight = _network()
        _run(straight, MovingClip(), optimizer=optimizer)
        path = tmp_path / "training.pt"
        self._interrupted(path, 2, optimizer=optimizer)
        told: list[FinetuneProgress] = []
        resumed = _network()
        report = _run(resumed, MovingClip(), optimizer=optimizer, resume=path, progress=told.append)
        assert [step.epoch for step in told] == [3]
        assert report.steps == report.planned == 12
        assert torch.equal(_weights(resumed), _weights(straight))

    def test_what_was_done_is_not_done_again(self, tmp_path: Path) -> None:
        first, second = _network(), _network()
        _run(first, MovingClip(), resume=tmp_path / "training.pt")
        told: list[FinetuneProgress] = []
        _run(second, MovingClip(), resume=tmp_path / "training.pt", progress=told.append)
        assert told == []
        assert torch.equal(_weights(first), _weights(second))

    @pytest.mark.parametrize("changes", [{"seed": 1}, {"keys": (0, 6)}, {"batch": 1}])
    def test_another_training_begins_anew(self, changes: dict[str, Any], tmp_path: Path) -> None:
        self._interrupted(tmp_path / "training.pt", 2)
        told: list[FinetuneProgress] = []
        path = tmp_path / "training.pt"
        _run(_network(), MovingClip(), resume=path, progress=told.append, **changes)
        assert [step.epoch for step in told] == [1, 2, 3]

    def test_a_damaged_state_begins_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "training.pt"
        self._interrupted(path, 2)
        path.write_bytes(path.read_bytes()[:-1000])
        assert _run(_network(), MovingClip(), resume=path).steps == 12


class _Clock:
    """A clock on which every look takes a while."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize("seconds", [0.0, 3.0, 20.0])
def test_time_is_kept_and_the_learning_rate_still_falls(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    take = Muon.step

    def step(self: Muon, *rest: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return take(self, *rest)

    monkeypatch.setattr(Muon, "step", step)
    how = {"epochs": 100, "seconds": seconds, "warm_up": 2}
    report = _run(_network(), MovingClip(), (0,), clock=_Clock(0.5), **how)
    assert report.stopped == "time"
    assert report.planned == 400
    assert 1 <= report.steps <= 1 + seconds / 0.5
    assert len(rates) == report.steps
    if report.steps > 10:
        assert rates[-1] < 0.25 * max(rates)


class TestHeldOut:
    """Frames that are not learnt from end the training."""

    @pytest.fixture
    def scores(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """What the next looks find."""
        scores: list[float] = []
        monkeypatch.setattr(earlystop, "mean_iou", lambda _: scores.pop(0))
        return scores

    def _watched(self, **changes: Any) -> tuple[FinetuneReport, Segmenter]:
        clip, network = MovingClip(), _network()
        held_out = {3: clip.mask(3)}
        return _run(network, clip, held_out=held_out, epochs=8, **changes), network

    def test_it_goes_on_while_they_get_better(self, scores: list[float]) -> None:
        scores[:] = [0.1 * count for count in range(1, 9)]
        report, _ = self._watched()
        assert (report.stopped, report.steps) == ("done", 32)

    def test_one_epoch_more_once_they_do_not(
        self, scores: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rates: list[float] = []
        take = Muon.step

        def step(self: Muon, *rest: Any) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return take(self, *rest)

        monkeypatch.setattr(Muon, "step", step)
        scores[:] = [0.5, 0.6, 0.6, 0.59]
        report, network = self._watched(warm_up=0)
        assert (report.stopped, report.steps, report.planned) == ("held-out", 20, 32)
        assert rates[-1] < 0.1 * max(rates)
        assert torch.isfinite(_weights(network)).all()

    def test_the_last_epoch_cannot_be_cut(self, scores: list[float]) -> None:
        scores[:] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6]
        report, _ = self._watched()
        assert (report.stopped, report.steps) == ("done", 32)

    def test_no_patience_no_looks(self, scores: list[float]) -> None:
        assert self._watched(patience=0)[0].stopped == "done"

    def test_looking_changes_nothing(self, scores: list[float]) -> None:
        scores[:] = [0.1 * count for count in range(1, 9)]
        _, watched = self._watched()
        network = _network()
        _run(network, MovingClip(), epochs=8)
        assert torch.equal(_weights(watched), _weights(network))

    @pytest.mark.parametrize("killed", [2, 4])
    def test_what_was_interrupted_remembers_the_looks(
        self, killed: int, scores: list[float], tmp_path: Path
    ) -> None:
        looks = [0.5, 0.6, 0.6, 0.59]
        scores[:] = looks
        straight = self._watched()[1]

        def stop(step: FinetuneProgress) -> None:
            if step.epoch == killed:
                raise _Killed

        path = tmp_path / "training.pt"
        scores[:] = looks
        with pytest.raises(_Killed):
            self._watched(resume=path, progress=stop)
        report, resumed = self._watched(resume=path)
        assert (report.stopped, report.steps) == ("held-out", 20)
        assert torch.equal(_weights(resumed), _weights(straight))


class _Exploding:
    """Makes a network's scores infinite from some call on."""

    def __init__(self, network: Segmenter, after: int) -> None:
        self.calls, self.after, self.inner = 0, after, network.logits

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        logits = self.inner(images)
        return logits * math.inf if self.calls > self.after else logits


@pytest.mark.parametrize(("after", "kept"), [(0, 0), (6, 4), (8, 8)])
def test_a_loss_that_is_not_finite_goes_back_to_the_last_good_weights(
    after: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, good = _network(), [_weights(_network())]
    monkeypatch.setattr(network, "logits", _Exploding(network, after))
    report = _run(
        network,
        MovingClip(),
        consistency=0.0,  # one call a step
        balance_taken_back=0.0,
        progress=lambda _: good.append(_weights(network)),
    )
    assert report.stopped == "diverged"
    assert report.steps == after
    assert report.notes == (
        f"training diverged at step {after + 1} of 12 (a loss was not finite); the weights are"
        f" those of step {kept}",
    )
    assert torch.equal(_weights(network), good[kept // 4])
    assert torch.isfinite(_weights(network)).all()


def test_balance_is_taken_back_from_the_finished_network_only() -> None:
    """What is learnt is the same, in a second training too, and nothing is taken back twice."""
    plain, network, twice = _network(), _network(), []
    for each, share in ((plain, 0.0), (network, 0.5)):
        _run(each, MovingClip(), balance_taken_back=share, consistency=0.0)
    lowered = network.lowered
    assert len(lowered) == 3
    assert plain.lowered == ()
    network.lower(())
    assert torch.allclose(_weights(network), _weights(plain), atol=1e-6)
    for before in ((), lowered):
        network.lower(before)
        _run(network, MovingClip(), epochs=1, steps_per_epoch=1, learning_rate=1e-9)
        twice.append(_weights(network))
        assert network.lowered == pytest.approx(lowered)
    assert torch.allclose(*twice, atol=1e-5)


def test_a_rare_class_is_learnt() -> None:
    clip = MovingClip()
    labels = {0: np.where(clip.mask(0) == 2, 2, 0).astype(np.uint8)}
    labels[0][:, ::2] = np.where(labels[0][:, ::2] == 0, 255, labels[0][:, ::2])
    report = finetune(
        _network(), clip, labels, flow=DISFlow(), settings=replace(_QUICK, class_balance=1.0)
    )
    assert math.isfinite(report.losses["supervised"])
