"""The last step of a round: predictions in Label Studio, counted, then shown, then tidied."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from backend.answers import Answers
from backend.columns import show_columns
from backend.store import Store
from backend.studio import Studio, StudioError
from backend.tables import Round

__all__ = ["publish"]

log = logging.getLogger(__name__)

_BATCH = 100
# Seconds before each further attempt at a batch that Label Studio answered with an error of its
# own: on SQLite it does while others are writing ("database is locked").
_PAUSES = (1.0, 4.0, 10.0)


def publish(
    store: Store,
    studio: Studio,
    answers: Answers,
    row: Round,
    *,
    keep: int,
    columns: bool = True,
    progress: Callable[[float], None],
) -> None:
    """Publish a round's predictions as a new model version.

    It may be called again after dying anywhere: a version that is there in part is taken back and
    sent anew, so that nothing is published twice; the project's version changes only when all
    predictions are in, so that annotators never see half a round.

    Args:
        store: Where the round's predictions are.
        studio: The Label Studio client.
        answers: Says stored masks in Label Studio's words.
        row: The round.
        keep: Versions whose predictions stay in Label Studio.
        columns: Whether the Data Manager shows rank, expected quality and round.
        progress: Called with the share done.

    Raises:
        StudioError: When Label Studio can't be asked, refuses, or holds fewer predictions than
            were sent.
    """
    config = str(studio.project(row.project_id).get("label_config") or "")
    wanted = list(store.predictions(row.id))
    while True:
        try:
            _send(studio, answers, row, config, wanted, progress)
            break
        except StudioError as error:
            gone = set(error.tasks) & set(wanted)
            if error.status != 400 or not gone:
                raise
            # Tasks were deleted since the labels were collected: publish the others.
            log.info("project %d: %d tasks are gone", row.project_id, len(gone))
            wanted = [task for task in wanted if task not in gone]
    if wanted:
        studio.set_model_version(row.project_id, row.version)
        if columns:
            show_columns(store, studio, row, wanted)
    studio.set_sampling(row.project_id)
    studio.ensure_ranked_tab(row.project_id)
    progress(0.9)
    _tidy(store, studio, row, keep)
    progress(1.0)


def _send(
    studio: Studio,
    answers: Answers,
    row: Round,
    config: str,
    wanted: list[int],
    progress: Callable[[float], None],
) -> None:
    """Put the predictions of these tasks into Label Studio, unless just they are there already."""
    have = studio.model_versions(row.project_id).get(row.version, 0)
    if have == len(wanted):
        return
    if have:
        studio.delete_model_version(row.project_id, row.version)
    sent = 0
    for batch in _batches(answers.of_round(row, config, wanted), _BATCH):
        sent += _import(studio, row, batch, sent)
        progress(0.8 * sent / len(wanted))
    stored = studio.model_versions(row.project_id).get(row.version, 0)
    if stored != len(wanted):
        raise StudioError(
            f"Label Studio holds {stored} of the {len(wanted)} predictions of {row.version}; "
            "the round is not shown until all are there, and will be published again."
        )


def _import(studio: Studio, row: Round, batch: list[dict[str, Any]], sent: int) -> int:
    """Send a batch; where it can be told whether it arrived, a failure does not undo the others."""
    for pause in _PAUSES:
        try:
            return studio.import_predictions(row.project_id, batch)
        except StudioError as error:
            if error.status is None or (error.status < 500 and error.status != 429):
                raise
            log.info("project %d: a batch is sent again: %s", row.project_id, error)
            time.sleep(pause)
            have = studio.model_versions(row.project_id).get(row.version, 0)
            if have == sent + len(batch):
                return len(batch)
            if have != sent:
                raise
    return studio.import_predictions(row.project_id, batch)


def _tidy(store: Store, studio: Studio, row: Round, keep: int) -> None:
    """Delete our versions beyond the last ``keep``; a failure is noted, never fatal."""
    ours = [past for past in store.rounds(row.project_id) if past.id != row.id]
    kept = [past.version for past in ours if past.state == "done"][::-1][: keep - 1]
    try:
        have = studio.model_versions(row.project_id)
        for past in ours:
            if past.version not in kept and past.version in have:
                studio.delete_model_version(row.project_id, past.version)
    except StudioError as error:
        log.warning("project %d: old versions stay for now: %s", row.project_id, error)


def _batches(items: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
