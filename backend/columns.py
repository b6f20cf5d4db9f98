"""What the Data Manager shows of each task: rank, expected quality and round, as columns."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from backend.store import Store
from backend.studio import StudioError
from backend.studio.columns import QUALITY, RANK, ROUND
from backend.tables import Round

__all__ = ["show_columns"]

log = logging.getLogger(__name__)

_ROUND_DIGITS = 3


class _Columns(Protocol):
    """The part of the Label Studio client that is needed here."""

    def write_field(self, project_id: int, field: str, texts: Mapping[int, str]) -> None: ...


def show_columns(store: Store, studio: _Columns, row: Round, tasks: Collection[int]) -> None:
    """Write the columns of the version that is shown; a failure is noted, never fatal.

    Rank 1 is the task to label first. Quality is the expected mIoU of the masks. Round is the one
    that a task's place comes from: a labelled task keeps the number of the round that asked for it.

    Args:
        store: Where the round's predictions are.
        studio: The Label Studio client; the round's version is the project's.
        row: The round.
        tasks: The tasks that were published; others are gone from Label Studio.
    """
    project = row.project_id
    there = set(tasks)
    predictions = {t: each for t, each in store.predictions(row.id).items() if t in there}
    digits = len(str(len(predictions)))
    ranks = {task: str(rank).zfill(digits) for rank, task in enumerate(predictions, 1)}
    qualities = {
        task: f"{each.quality:.2f}"
        for task, each in predictions.items()
        if each.quality is not None
    }
    is_first = not any(past.state == "done" for past in store.rounds(project))
    labelled = {frame.task_id for frame in store.frames(project) if frame.label is not None}
    asked = predictions if is_first else [task for task in predictions if task not in labelled]
    try:
        studio.write_field(project, RANK, ranks)
        studio.write_field(project, QUALITY, qualities)
        studio.write_field(
            project, ROUND, dict.fromkeys(asked, str(row.number).zfill(_ROUND_DIGITS))
        )
    except StudioError as error:
        log.warning("project %d: the Data Manager's columns stay as they are: %s", project, error)
