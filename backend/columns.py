"""What the Data Manager shows of each task: rank, expected quality and round, as columns.

Label Studio has columns of a backend's own only in the tasks' data. Its bulk actions write there:
one numbers tasks in a tab's order, one sets the same value for many. So a round takes a request
for all ranks, one for the round, and one for each quality that occurs, to two decimals: at most
103, however many tasks there are.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from backend.store import Store
from backend.studio import StudioError
from backend.studio.columns import QUALITY, RANK, ROUND
from backend.tables import Prediction, Round

__all__ = ["show_columns"]

log = logging.getLogger(__name__)


class _Columns(Protocol):
    """The part of the Label Studio client that is needed here."""

    def number_by_score(self, project_id: int, field: str) -> int | None: ...

    def set_field(
        self, project_id: int, field: str, value: float | None, tasks: list[int] | None
    ) -> None: ...


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
    labelled = {frame.task_id for frame in store.frames(project) if frame.label is not None}
    try:
        first = studio.number_by_score(project, RANK)
        if predictions and first != next(iter(predictions)):
            log.warning("project %d: Label Studio numbers tasks in an order of its own", project)
            studio.set_field(project, RANK, None, None)
        is_first = not any(past.state == "done" for past in store.rounds(project))
        asked = None if is_first else [task for task in predictions if task not in labelled]
        if asked is None or asked:
            studio.set_field(project, ROUND, row.number, asked)
        for value, tasks in _by_quality(predictions).items():
            studio.set_field(project, QUALITY, value, tasks)
    except StudioError as error:
        log.warning("project %d: the Data Manager's columns stay as they are: %s", project, error)


def _by_quality(predictions: Mapping[int, Prediction]) -> dict[float, list[int]]:
    """The tasks of each expected quality, to two decimals."""
    groups: dict[float, list[int]] = {}
    for task, prediction in predictions.items():
        if prediction.quality is not None:
            groups.setdefault(round(prediction.quality, 2), []).append(task)
    return groups
