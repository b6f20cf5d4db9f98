from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.augment import Augmentation
from model.batches import ClipBatches
from model.flow import DISFlow
from model.losses import dice, weighted_cross_entropy
from model.objective import Objective
from model.presets import FinetuneSettings
from tests.model.moving import MovingClip

_SETTINGS = FinetuneSettings(class_balance=0.0, consistency_from=0.0)


class _Network:
    """Scores of its own for each image, raised by class; remembers what it was shown."""

    def __init__(self, raised: tuple[float, ...] = ()) -> None:
        self.shown: list[torch.Tensor] = []
        self.raised = torch.tensor(raised or (0.0, 0.0, 0.0))[:, None, None]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append(images)
        generator = torch.Generator().manual_seed(0)
        scores = torch.randn(len(images), 3, *images.shape[2:], generator=generator)
        return scores + self.raised


def _objective(carried: bool = True, **changes: Any) -> Objective:
    clip, settings = MovingClip(), replace(_SETTINGS, **changes)
    batches = ClipBatches(
        clip,
        {index: clip.mask(index) for index in (0, 6, 11)},
        3,
        flow=DISFlow("ultrafast"),
        max_pixels=settings.max_pixels,
        augmentation=settings.augmentation,
        rng=np.random.default_rng(0),
    )
    if carried:
        batches.carry_labels(100, lambda: False)
    return Objective(batches, 3, settings, torch.device("cpu"))


def _steps(objective: Objective, count: int = 6) -> list[list[torch.Tensor]]:
    """What each step shows the network."""
    steps = []
    for _ in range(count):
        network = _Network()
        objective.losses(network, 0.0)
        steps.append(network.shown)
    return steps


def test_consistency_looks_at_the_frames_beside_those_that_nobody_labelled() -> None:
    batches = _objective()._batches
    drawn = [batches.batch(_SETTINGS.batch, _SETTINGS.self_training).indices for _ in range(6)]
    beside = [sum(index not in (0, 6, 11) for index in indices) for indices in drawn]
    assert set(beside) >= {0, 2}
    looked_at = [[len(images) for images in shown] for shown in _steps(_objective())]
    assert looked_at == [[2, count] if count else [2] for count in beside]


def test_where_no_labels_were_carried_consistency_looks_at_a_pair() -> None:
    assert [[len(images) for images in shown] for shown in _steps(_objective(False))] == [[4]] * 6


@pytest.mark.parametrize("carried", [True, False])
def test_the_labelled_frames_are_the_same_whatever_the_weight(carried: bool) -> None:
    plain, steady = (
        [shown[0][:2] for shown in _steps(_objective(carried, consistency=weight))]
        for weight in (0.0, 1.0)
    )
    assert all(torch.equal(a, b) for a, b in zip(plain, steady, strict=True))


def test_consistency_waits_for_its_share_of_the_training() -> None:
    objective = _objective(carried=False, consistency_from=0.5)
    named = [set(objective.losses(_Network(), done)[1]) for done in (0.0, 0.49, 0.5, 1.0)]
    assert ["consistency" in names for names in named] == [False, False, True, True]


@pytest.mark.parametrize("carried", [True, False])
def test_consistency_counts_by_its_weight(carried: bool) -> None:
    total, named = _objective(carried, consistency=3.0).losses(_Network(), 0.9)
    share = float((total - named["supervised"]) / named["consistency"])
    assert share == pytest.approx(3.0, rel=1e-3)


def test_fewer_pixels_count_towards_the_end_where_the_hardest_do() -> None:
    objective = _objective(consistency=0.0, hardest=0.1, self_training=0.0)
    early, late = (float(objective.losses(_Network(), done)[0]) for done in (0.0, 1.0))
    assert late > 1.5 * early


def test_dice_counts_besides() -> None:
    """All labels are trusted: what is added is Dice of the labels shown, times its weight."""
    plain, both = (
        _objective(consistency=0.0, dice=weight, self_training=0.0).losses(_Network(), 0.0)[0]
        for weight in (0.0, 2.0)
    )
    batch = _objective(consistency=0.0)._batches.batch(2, 0.0)
    expected = 2 * float(dice(_Network()(batch.images), batch.labels))
    assert float(both - plain) == pytest.approx(expected)


def test_a_pairs_consistency_is_that_of_the_flow() -> None:
    """Scores that move along the flow are consistent; scores that stay are not."""
    objective = _objective(carried=False, augmentation=Augmentation(colour=0.0))

    class Follows(_Network):
        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            bright = (images[:, :1] - images[:, 2:]) * 20
            return torch.cat([bright, -bright, torch.zeros_like(bright)], dim=1)

    following = objective.losses(Follows(), 0.0)[1]["consistency"]
    random = objective.losses(_Network(), 0.0)[1]["consistency"]
    assert float(following) < 0.2 * float(random)


def test_without_consistency_no_other_frame_is_looked_at() -> None:
    network = _Network()
    total, named = _objective(consistency=0.0).losses(network, 0.0)
    assert [len(shown) for shown in network.shown] == [2]
    assert set(named) == {"supervised"}
    assert total is named["supervised"]


def test_rare_classes_count_more_where_classes_are_balanced() -> None:
    """The loss is the weighted one of all three classes' weights, shares^−balance."""
    seen = []
    for balance in (0.0, 1.0):
        objective = _objective(class_balance=balance, consistency=0.0)
        seen.append(float(objective.losses(_Network(), 0.0)[0]))
    assert seen[0] != pytest.approx(seen[1], rel=1e-3)


def test_half_of_the_balance_is_taken_back() -> None:
    """Weights are in inverse proportion to the square root of the shares, 1 on average."""
    objective = _objective(class_balance=0.5)
    shares = objective._batches.class_shares(3)
    off = np.array(objective.generosity())
    assert off - off[0] == pytest.approx(-0.25 * (np.log(shares) - np.log(shares[0])), abs=1e-5)
    assert (np.exp(2 * off) * shares).sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("changes", [{"class_balance": 0.0}, {"balance_taken_back": 0.0}])
def test_no_balance_is_taken_back_where_there_is_none(changes: dict[str, float]) -> None:
    assert _objective(**{"class_balance": 0.5, **changes}).generosity() == ()


def test_consistency_is_about_what_is_said_in_the_end() -> None:
    """A network that is only as generous as balance made it is consistent with one that is not."""
    losses = []
    for share in (0.0, 0.5):
        objective = _objective(class_balance=0.5, balance_taken_back=share)
        network = _Network(objective.generosity())
        losses.append(float(objective.losses(network, 0.0)[1]["consistency"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_supervised_loss_is_that_of_the_labels_shown() -> None:
    objective, network = _objective(consistency=0.0, self_training=0.0), _Network()
    total, _ = objective.losses(network, 0.0)
    same = _objective(consistency=0.0, self_training=0.0)
    batch = same._batches.batch(2, 0.0)
    expected = weighted_cross_entropy(_Network()(batch.images), batch.labels, batch.weights)
    assert torch.equal(total, expected)
    assert torch.equal(batch.images, network.shown[0])
