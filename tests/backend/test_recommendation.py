"""The advice after a round, for machines and for people."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from backend.recommendation import recommendation
from backend.settings import load_settings
from backend.status_view import missing, show_status
from backend.tables import Round


def past(number: int, quality: float | None, clicks: int, **figures: Any) -> Round:
    said = {"expected_miou": quality, "clicks": clicks, **figures}
    return Round(number=number, state="done", labels=5 * number, figures=said)


def test_nothing_is_advised_before_a_label() -> None:
    settings = load_settings()
    assert recommendation(settings, []) is None
    empty = Round(number=0, state="done", labels=0, figures={"clicks": 0})
    running = Round(number=1, state="running", labels=5, figures={"clicks": 10})
    assert recommendation(settings, [empty, running]) is None


@pytest.mark.parametrize(
    ("settings", "rounds", "action", "words"),
    [
        ({}, [past(1, 0.96, 100)], "stop", "target of 0.950 is reached"),
        ({"target": 0.99}, [past(1, 0.96, 100)], "go on", "0.960, the target is 0.990"),
        ({}, [past(1, 0.8, 100), past(2, 0.9, 200)], "go on", "about 50 clicks more"),
        ({"total_clicks": 200}, [past(1, 0.8, 200)], "stop", "All 200 clicks"),
        ({"total_samples": 5}, [past(1, 0.8, 200)], "stop", "All 5 samples"),
        ({}, [past(1, None, 100)], "go on", "not known yet"),
        ({}, [past(1, 0.85, 100, granularity="rectangle:16")], "switch", "whole frames take"),
        ({}, [past(1, 0.91, 100, granularity="superpixel:16")], "switch", "outlines of super"),
        ({}, [past(1, 0.85, 100, granularity="superpixel:16")], "go on", "the target is 0.950"),
        ({}, [past(1, None, 100, granularity="rectangle:16")], "go on", "not known yet"),
        ({}, [past(1, 0.97, 100, granularity="rectangle:16")], "stop", "is reached"),
    ],
)
def test_the_advice_follows_target_budget_and_samples(
    settings: dict[str, Any], rounds: list[Round], action: str, words: str
) -> None:
    advice = recommendation(load_settings(**settings), rounds)
    assert advice is not None
    assert advice["action"] == action
    assert words in advice["reason"]


def shown(**changes: Any) -> str:
    advice = recommendation(load_settings(total_clicks=900), [past(1, 0.8, 120)])
    project = {
        "id": 1,
        "title": "Street",
        "model_version": "v",
        "clips": [],
        "next_tasks": [],
        "round": None,
        "new_labels": 2,
        "labels_until_round": 3,
        "clicks_until_round": None,
        "advice": None,
        "recommendation": advice,
        "problems": [],
        "error": None,
        **changes,
    }
    out = StringIO()
    show_status({"projects": [project]}, Console(file=out, width=200))
    return out.getvalue()


def test_people_read_what_to_do_and_what_is_spent() -> None:
    text = shown()
    assert "Go on: Expected quality 0.800, the target is 0.950." in text
    assert "Labelled so far: 5 samples, 120 of 900 clicks." in text


def test_people_read_what_to_switch_to() -> None:
    advice = {"action": "switch", "granularity": "rectangle:16", "reason": "It pays.", "samples": 5}
    advice |= {"clicks": 9, "total_samples": None, "total_clicks": None}
    assert "Switch to samples of rectangle:16: It pays." in shown(recommendation=advice)


def test_what_is_missing_is_told_in_clicks_where_the_budget_counts_these() -> None:
    assert missing({"labels_until_round": 3, "clicks_until_round": None}) == "3 more"
    assert missing({"labels_until_round": None, "clicks_until_round": 80}) == "80 more clicks"
    assert "a round starts after 80 more clicks" in shown(
        labels_until_round=None, clicks_until_round=80
    )
