"""What measuring leaves behind: the JSON document, and a table on the screen."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from backend import __version__
from backend.evaluation import ClipEvaluation, mean_values
from backend.machine import describe_machine
from backend.scoring import Values
from backend.settings import Settings
from backend.simulation_results import ClipSimulation, mean_of_rounds

__all__ = ["document", "show_evaluation", "show_simulation", "write_json"]

_SETTINGS = ("method", "flow", "network", "finetune_seconds", "consistency", "device", "seed")
"""The service's settings that figures depend on."""

_SHOWN = {
    "miou": "mIoU",
    "expected_miou": "expected",
    "j": "J",
    "f": "F",
    "boundary_iou": "bIoU",
    "pixel_accuracy": "pixels",
    "tc": "TC",
}


def document(command: str, asked: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The head of the JSON document: command, version, settings, machine.

    Args:
        command: Its name.
        asked: What the command line asked for, besides the settings; wins over them.
        settings: The settings in force.
    """
    values = {name: getattr(settings, name) for name in _SETTINGS}
    return {
        "command": command,
        "version": __version__,
        "settings": {**values, **asked},
        "machine": describe_machine(),
    }


def write_json(path: Path | None, data: Mapping[str, Any], *, last: bool) -> None:
    """Write the document, whole or not at all.

    Args:
        path: The file; "-" is standard output, and only gets what is `last`. None: nowhere.
        data: The document so far.
        last: Whether it is complete.

    Raises:
        OSError: The file cannot be written.
    """
    if path is None:
        return
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    if path == Path("-"):
        if last:
            sys.stdout.write(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def show_evaluation(results: Sequence[ClipEvaluation], console: Console) -> None:
    """Print the scores of the unlabelled frames, a clip a line."""
    rows = [
        (
            result.clip,
            {
                **result.all,
                **(result.unlabelled or {}),
                "expected_miou": result.expected_miou,
            },
        )
        for result in results
    ]
    names = [name for name in _SHOWN if any(values.get(name) is not None for _, values in rows)]
    table = Table(title="Unlabelled frames (TC: all)", title_justify="left")
    table.add_column("clip")
    for title in [*(_SHOWN[name] for name in names), "s/frame"]:
        table.add_column(title, justify="right")
    for (clip, values), result in zip(rows, results, strict=True):
        table.add_row(clip, *_cells(values, names), f"{result.seconds_per_frame:.3f}")
    if len(rows) > 1:
        mean = mean_values([values for _, values in rows])
        seconds = sum(result.seconds_per_frame for result in results) / len(results)
        table.add_row("mean", *_cells(mean, names), f"{seconds:.3f}", style="bold")
    console.print(table)


def show_simulation(results: Sequence[ClipSimulation], console: Console) -> None:
    """Print the mean scores after each round, by strategy."""
    table = Table(title="After each round, all frames", title_justify="left")
    table.add_column("strategy")
    table.add_column("samples")
    for title in ("round", "clicks %", "mIoU", "bIoU", "TC", "mIoU unlabelled"):
        table.add_column(title, justify="right")
    for entry in mean_of_rounds(results):
        for row in entry["rounds"]:
            table.add_row(
                entry["strategy"],
                entry["samples"],
                str(row["round"]),
                "–" if row["clicks_percent"] is None else f"{row['clicks_percent']:.1f}",
                *_cells(row["all"], ("miou", "boundary_iou", "tc")),
                *_cells(row["unlabelled"], ("miou",)),
            )
    console.print(table)


def _cells(values: Values, names: Sequence[str]) -> list[str]:
    found = [values.get(name) for name in names]
    return ["–" if value is None else f"{value:.4f}" for value in found]
