from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.batches import ClipBatches
from model.flow import DISFlow
from model.losses import dice, weighted_cross_entropy
from model.objective import Objective
from model.presets import FinetuneSettings
from tests.model.moving import MovingClip

_SETTINGS = FinetuneSettings(class_balance=0.0, consistency_every=2, consistency_from=0.0)


class _Network:
    """Scores of its own for each image; remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[torch.Tensor] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append(images)
        generator = torch.Generator().manual_seed(0)
        return torch.randn(len(images), 3, *images.shape[2:], generator=generator)


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


def test_pairs_come_every_so_many_steps() -> None:
    objective = _objective()
    named = [set(objective.losses(_Network(), step, 0.0)[1]) for step in range(4)]
    assert sum("consistency" in names for names in named) == 2
    assert all("supervised" in names for names in named)


@pytest.mark.parametrize(("carried", "images"), [(True, 2), (False, 4)])
def test_a_pair_with_labels_is_the_batch(carried: bool, images: int) -> None:
    objective, network = _objective(carried, consistency_every=1), _Network()
    objective.losses(network, 0, 0.0)
    assert [len(shown) for shown in network.shown] == [images]


def test_the_first_pair_waits_for_its_share_of_the_training() -> None:
    objective = _objective(consistency_every=1, consistency_from=0.5)
    named = [set(objective.losses(_Network(), 0, done)[1]) for done in (0.0, 0.49, 0.5, 1.0)]
    assert ["consistency" in names for names in named] == [False, False, True, True]


@pytest.mark.parametrize(("every", "start", "often"), [(1, 0.0, 1), (3, 0.0, 3), (2, 0.75, 8)])
def test_a_rarer_pair_counts_as_much_more(every: int, start: float, often: float) -> None:
    objective = _objective(consistency_every=every, consistency_from=start, consistency=2.0)
    total, named = objective.losses(_Network(), 0, 0.9)
    share = float((total - named["supervised"]) / named["consistency"])
    assert share == pytest.approx(2.0 * often, rel=1e-3)


def test_fewer_pixels_count_towards_the_end_where_the_hardest_do() -> None:
    objective = _objective(consistency=0.0, hardest=0.1, self_training=0.0)
    early, late = (float(objective.losses(_Network(), 0, done)[0]) for done in (0.0, 1.0))
    assert late > 1.5 * early


def test_dice_counts_besides() -> None:
    """All labels are trusted: what is added is Dice of the labels shown, times its weight."""
    plain, both = (
        _objective(consistency=0.0, dice=weight, self_training=0.0).losses(_Network(), 0, 0.0)[0]
        for weight in (0.0, 2.0)
    )
    images, labels, _ = _objective(consistency=0.0)._batches.batch(2, 0.0)
    assert float(both - plain) == pytest.approx(2 * float(dice(_Network()(images), labels)))


def test_consistency_is_that_of_the_flow() -> None:
    """Scores that move along the flow are consistent; scores that stay are not."""
    objective = _objective(consistency_every=1)

    class Follows(_Network):
        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            bright = (images[:, :1] - images[:, 2:]) * 20
            return torch.cat([bright, -bright, torch.zeros_like(bright)], dim=1)

    following = objective.losses(Follows(), 0, 0.0)[1]["consistency"]
    random = objective.losses(_Network(), 0, 0.0)[1]["consistency"]
    assert float(following) < 0.2 * float(random)


def test_without_consistency_no_pair_is_drawn() -> None:
    total, named = _objective(consistency=0.0).losses(_Network(), 0, 0.0)
    assert set(named) == {"supervised"}
    assert total is named["supervised"]


def test_rare_classes_count_more_where_classes_are_balanced() -> None:
    """The loss is the weighted one of all three classes' weights, shares^−balance."""
    seen = []
    for balance in (0.0, 1.0):
        objective = _objective(class_balance=balance, consistency=0.0)
        seen.append(float(objective.losses(_Network(), 0, 0.0)[0]))
    assert seen[0] != pytest.approx(seen[1], rel=1e-3)


def test_the_supervised_loss_is_that_of_the_labels_shown() -> None:
    objective, network = _objective(consistency=0.0, self_training=0.0), _Network()
    total, _ = objective.losses(network, 0, 0.0)
    same = _objective(consistency=0.0, self_training=0.0)
    images, labels, weights = same._batches.batch(2, 0.0)
    expected = weighted_cross_entropy(_Network()(images), labels, weights)
    assert torch.equal(total, expected)
    assert torch.equal(images, network.shown[0])
