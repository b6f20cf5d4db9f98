"""A project's model versions: which there are, and going back to one."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backend.jobqueue import Queue
from backend.retention import kept_versions
from backend.settings import Settings
from backend.store import Store
from backend.tables import Project

__all__ = ["VersionError", "go_back", "known_project", "list_versions", "show_versions"]


class VersionError(ValueError):
    """There is no such project or version; the sentence says which there are."""


def known_project(store: Store, project_id: int) -> Project:
    """A project's row.

    Raises:
        VersionError: When it is not known.
    """
    project = store.project(project_id)
    if project is None:
        known = ", ".join(str(each.id) for each in store.projects()) or "none"
        raise VersionError(f"There is no project {project_id} here; known are: {known}.")
    return project


def list_versions(store: Store, settings: Settings, project_id: int) -> list[dict[str, Any]]:
    """All finished rounds of a project, oldest first, with their figures.

    Raises:
        VersionError: When the project is not known.
    """
    project = known_project(store, project_id)
    rounds = store.rounds(project_id)
    kept = kept_versions(rounds, project.version or "", settings.keep_versions)
    return [
        {
            "model_version": row.version,
            "number": row.number,
            "labels": row.labels,
            "expected_miou": row.figures.get("expected_miou"),
            "fits": row.figures.get("fits", {}),
            "seconds": None if row.finished_at is None else row.finished_at - row.started_at,
            "shown": row.version == project.version,
            "kept": row.version in kept,
        }
        for row in rounds
        if row.state == "done"
    ]


def go_back(store: Store, queue: Queue, settings: Settings, project_id: int, version: str) -> None:
    """Ask the worker to show an older version again.

    Raises:
        VersionError: When the project or the version is not known, or its masks are gone.
    """
    kept = [
        row["model_version"] for row in list_versions(store, settings, project_id) if row["kept"]
    ]
    if version not in kept:
        raise VersionError(
            f"Project {project_id} has no version {version!r} to go back to; kept are: "
            f"{', '.join(kept) or 'none'}."
        )
    store.set_project(project_id, wanted_version=version)
    if store.enqueue(project_id):
        queue.put(project_id)


def show_versions(rows: list[dict[str, Any]], console: Console) -> None:
    """Print what `list_versions` tells as a table."""
    columns = ("version", "labels", "expected mIoU", "losses", "seconds", "")
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        expected = "" if row["expected_miou"] is None else f"{row['expected_miou']:.3f}"
        losses = "; ".join(
            f"{clip}: " + ", ".join(f"{name} {value:.3f}" for name, value in fit["losses"].items())
            for clip, fit in row["fits"].items()
            if fit
        )
        state = "shown" if row["shown"] else "kept" if row["kept"] else "gone"
        seconds = f"{row['seconds']:.0f}" if row["seconds"] is not None else ""
        cells = (row["model_version"], str(row["labels"]), expected, losses, seconds, state)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
