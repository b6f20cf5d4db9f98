from __future__ import annotations

import math
from typing import Any

import pytest

from model.presets import PRESETS, FinetuneSettings, seconds_for


def test_fast_is_the_default() -> None:
    assert FinetuneSettings.preset("fast") == FinetuneSettings()


def test_hvsa_is_as_published() -> None:
    """Qiao et al., WACV 2023: 15 epochs, SGD, momentum 0.9, 0.004, poly, λ = 1, batch 2 on VEIS."""
    settings = FinetuneSettings.preset("hvsa")
    assert settings.epochs == 15
    assert settings.optimizer == "sgd"
    assert settings.learning_rate == 0.004
    assert settings.batch == 2
    assert settings.consistency == 1.0
    assert settings.self_training == 0.0


def test_a_longer_clip_gets_more_seconds_between_the_least_and_the_most() -> None:
    times = [seconds_for(frames) for frames in (1, 10, 60, 80, 100, 1_000, 100_000)]
    assert times == sorted(times)
    assert times[0] == times[1] > 0
    assert times[2] < times[3] < times[4]
    assert times[-2] == times[-1]


@pytest.mark.parametrize("frames", [40, 60, 101, 120])
def test_fine_tuning_leaves_a_third_of_a_second_a_frame_for_the_rest(frames: int) -> None:
    assert seconds_for(frames) <= 0.6 * frames


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_changed(name: str) -> None:
    settings = FinetuneSettings.preset(name, seed=5, seconds=20)
    assert (settings.seed, settings.seconds) == (5, 20)
    assert settings.learning_rate == PRESETS[name].learning_rate


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="one of fast, hvsa, not 'slow'"):
        FinetuneSettings.preset("slow")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more, not 0"),
        ({"steps_per_epoch": -1}, "steps_per_epoch must be 0 or more"),
        ({"batch": 0}, "batch must be 1 or more"),
        ({"seconds": -1.0}, "seconds must be 0 or more"),
        ({"seconds": math.nan}, "seconds must be 0 or more"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0"),
        ({"consistency": -0.1}, "consistency must be 0 or more"),
        ({"consistency_from": 1.0}, "consistency_from must be 0 or more, below 1; not 1.0"),
        ({"hardest": 0.0}, "hardest must be above 0, to 1; not 0.0"),
        ({"dice": -1.0}, "dice must be 0 or more"),
        ({"patience": -1}, "patience must be 0 or more"),
        ({"class_balance": 1.5}, "class_balance must be 0 to 1"),
        ({"self_training": -0.5}, "self_training must be 0 to 1"),
        ({"optimizer": "lion"}, "one of muon, adamw, sgd, not 'lion'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FinetuneSettings(**changes)
