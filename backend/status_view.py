"""The service's state as a table on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["missing", "show_status"]

# How many of the next tasks are shown, and how many samples of each.
_TASKS = 5
_BOXES = 8


def show_status(status: dict[str, Any], console: Console) -> None:
    """Print what `backend.status.status_of` tells.

    Args:
        status: Its answer.
        console: Where to print.
    """
    if status.get("error"):
        console.print(f"[red]{escape(status['error'])}[/]")
    if not status["projects"]:
        console.print("No project yet: connect one in Label Studio, or run 'maskloop init'.")
    for index, project in enumerate(status["projects"]):
        if index:
            console.print()
        _show_project(project, console)


def missing(project: dict[str, Any]) -> str:
    """What is missing for the next round, in words."""
    if project.get("clicks_until_round") is not None:
        return f"{project['clicks_until_round']} more clicks"
    return f"{project['labels_until_round']} more"


def _recommended(advice: dict[str, Any]) -> str:
    """The recommendation, and what was spent."""
    what = {"go on": "Go on", "stop": "Stop"}.get(advice["action"])
    what = what or f"Switch to samples of {advice['granularity']}"
    spent = []
    for name in ("samples", "clicks"):
        total = advice[f"total_{name}"]
        spent.append(f"{advice[name]}{f' of {total}' if total else ''} {name}")
    return f"{what}: {advice['reason']} Labelled so far: {', '.join(spent)}."


def _next(task: dict[str, Any]) -> tuple[str, ...]:
    """A row of what to label next."""
    frames = [task["frame"]] if "frame" in task else task["frames_first"]
    boxes = task["samples"] or []
    places = ", ".join(
        f"x {left}–{right} y {top}–{low}" for left, top, right, low in boxes[:_BOXES]
    )
    more = f" and {len(boxes) - _BOXES} more" if len(boxes) > _BOXES else ""
    what = f"{places}{more}" if boxes else "all of it"
    return (str(task["task"]), escape(task["clip"]), ", ".join(map(str, frames)), what)


def _show_project(project: dict[str, Any], console: Console) -> None:
    title = escape(f"Project {project['id']}: {project['title'] or '(no title yet)'}")
    console.print(f"[bold]{title}[/], model version {project['model_version'] or 'none yet'}")
    columns = ("clip", "frames", "labelled", "masks", "uncertainty", "expected mIoU")
    table = Table(*columns, box=None, pad_edge=False)
    for clip in project["clips"]:
        unsure = "" if clip["uncertainty"] is None else f"{clip['uncertainty']:.3f}"
        counts = (str(clip["frames"]), str(len(clip["labelled"])), str(clip["masks"]))
        expected = "" if clip["expected_miou"] is None else f"{clip['expected_miou']:.3f}"
        table.add_row(escape(clip["clip"]), *counts, unsure, expected)
    console.print(table)
    running = project["round"]
    if running:
        step = f"{running['step']} {running['share']:.0%}"
        console.print(f"Round {running['number']}: {step} {escape(running['note'])}")
    elif project["new_labels"]:
        console.print(
            f"{project['new_labels']} new labels; a round starts after {missing(project)}."
        )
    if project["advice"]:
        console.print(escape(project["advice"]))
    if project["recommendation"]:
        console.print(escape(_recommended(project["recommendation"])))
    if project["next_tasks"]:
        table = Table("next task", "clip", "frame", "what to label", box=None, pad_edge=False)
        for task in project["next_tasks"][:_TASKS]:
            table.add_row(*_next(task))
        console.print(table)
    for note in (note for clip in project["clips"] for note in clip["notes"]):
        console.print(escape(note))
    for spot in (spot for clip in project["clips"] for spot in clip["spots"]):
        console.print(f"[yellow]{escape(spot['sentence'])}[/]")
    for problem in project["problems"]:
        console.print(f"[yellow]{escape(problem)}[/]")
    if project["error"]:
        console.print(f"[red]{escape(project['error'])}[/] ({project['error_at']})")
