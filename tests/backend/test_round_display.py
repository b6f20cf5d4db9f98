from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from backend.round_display import RoundDisplay

IDLE = {"model_version": "v1", "new_labels": 0, "labelled": 2, "tasks": 9, "round": None}


def round_at(step: str | None, share: float = 0.5, note: str = "") -> dict[str, Any]:
    return {**IDLE, "round": {"number": 4, "step": step, "share": share, "note": note}}


def shown(*states: dict[str, Any]) -> list[str]:
    output = io.StringIO()
    with RoundDisplay(Console(file=output, width=200)) as display:
        for state in states:
            display.show(state)
    return output.getvalue().splitlines()


def test_a_log_has_a_line_for_each_step() -> None:
    lines = shown(round_at("propagate", 0.1), round_at("propagate", 0.9), round_at("publish"), IDLE)
    assert lines == [
        "Round 4: propagate",
        "Round 4: publish",
        "2 of 9 frames are labelled; waiting for labels",
    ]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({}, "gets to know"),
        ({**IDLE, "model_version": None}, "first frames"),
        ({**IDLE, "new_labels": 2, "labels_until_round": 3}, "after 3 more"),
        (round_at(None), "Round 4: begin"),
    ],
)
def test_what_is_waited_for(state: dict[str, Any], says: str) -> None:
    (line,) = shown(state)
    assert says in line


def test_an_error_is_shown_once_as_it_is_written() -> None:
    broken = {**IDLE, "error": "Clip [a] can't be read."}
    assert shown(broken, broken, IDLE, broken).count("Clip [a] can't be read.") == 2


def test_on_a_terminal_notes_are_no_markup() -> None:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True)
    with RoundDisplay(console) as display:
        display.show(round_at("finetune", note="clip [/b]"))
    assert "clip [/b]" in output.getvalue()
