"""Refinement adapted to a clip: used as far as it helps on frames held out, and no farther."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
import torch

from model import refine_adapt
from model.flow import DISFlow
from model.heldout import HeldOut, hold_out
from model.metrics import confusion, mean_iou
from model.refine import Refinement, RefineNet
from model.refine_adapt import adapt
from model.refine_training import imitated
from model.settings import PropagationSettings
from model.synthetic import render_clip

SETTINGS = PropagationSettings.best(refine=0.5)
COUNT = 5


@lru_cache(maxsize=1)
def _records() -> tuple[HeldOut, ...]:
    clip = render_clip(17, (160, 120), 5, "wild")
    labels = {index: clip.mask(index) for index in range(0, 17, 4)}
    rng = np.random.default_rng(0)
    return tuple(
        hold_out(
            clip,
            labels,
            COUNT,
            (4, 12),
            flow=DISFlow(),
            settings=SETTINGS,
            evidence=lambda index, image: imitated(clip.mask(index), COUNT, rng),
        )
    )


def _adapt(network: RefineNet, seconds: float, records=None, share: float = 0.5) -> Refinement:
    return adapt(
        Refinement(network, share),
        _records() if records is None else records,
        COUNT,
        weight=0.5,
        settings=SETTINGS,
        seconds=seconds,
    )


def _score(refinement: Refinement) -> float:
    counts = np.zeros((COUNT, COUNT + 1), np.int64)
    for record in _records():
        mixed = record.mixed(0.5, SETTINGS)
        mask = refinement(mixed, record.evidence).mask
        counts += confusion(record.truth, mask, COUNT)
    return mean_iou(counts)


def test_a_network_that_does_harm_is_not_used():
    torch.manual_seed(0)
    drunk = RefineNet()
    torch.nn.init.normal_(drunk.out.weight, std=3.0)
    assert _adapt(drunk.eval(), 0).share == 0.0


def test_a_network_that_does_nothing_is_left_as_it_is():
    network = RefineNet()
    adapted = _adapt(network, 0)
    assert (adapted.network, adapted.share) == (network, 0.5)


@pytest.mark.parametrize("seconds", [0.0, 1e-6])
def test_without_time_nothing_is_taught(seconds):
    network = RefineNet()
    before = [p.clone() for p in network.parameters()]
    adapted = _adapt(network, seconds)
    assert all(torch.equal(a, b) for a, b in zip(before, adapted.network.parameters(), strict=True))


def test_what_is_taught_is_better_on_the_frames_held_out(monkeypatch):
    monkeypatch.setattr(refine_adapt, "_STEPS", 25)
    monkeypatch.setattr(refine_adapt, "_RATE", 1e-2)
    torch.manual_seed(0)
    network = RefineNet()
    adapted = _adapt(network, math.inf)
    assert adapted.network is not network
    assert _score(adapted) > _score(Refinement(network, 1.0)) + 0.001
    assert float(network.out.weight.detach().abs().max()) == 0.0


def test_teaching_ends_where_the_first_half_does_not_help_the_other(monkeypatch):
    taught = []
    monkeypatch.setattr(refine_adapt, "teach", lambda pupil, found, **how: taught.append(pupil))
    network = RefineNet()
    adapted = _adapt(network, math.inf)
    assert (adapted.network, adapted.share) == (network, 0.5)
    assert len(taught) == 1


def test_nothing_held_out_says_nothing():
    start = Refinement(RefineNet(), 0.25)
    assert _adapt(start.network, 1.0, records=(), share=0.25) == start
