"""The Data Manager's columns, as a round fills them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from backend.columns import show_columns
from backend.store import Store
from backend.studio import StudioError
from backend.studio.columns import QUALITY, RANK, ROUND
from backend.tables import Round

PROJECT = 7


class Manager:
    """A Label Studio that keeps what is written, by field and task."""

    def __init__(self, order: list[int]) -> None:
        self.order = order
        self.fields: dict[str, dict[int, float | None]] = {}
        self.calls: Counter[str] = Counter()

    def number_by_score(self, project_id: int, field: str) -> int | None:
        self.calls["number_by_score"] += 1
        self.fields[field] = {task: rank for rank, task in enumerate(self.order, 1)}
        return self.order[0] if self.order else None

    def set_field(
        self, project_id: int, field: str, value: float | None, tasks: list[int] | None
    ) -> None:
        self.calls["set_field"] += 1
        where = self.fields.setdefault(field, {})
        where.update(dict.fromkeys(self.order if tasks is None else tasks, value))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'maskloop.db'}")


def finished(
    store: Store, qualities: Mapping[int, float | None], labelled: Collection[int] = ()
) -> Round:
    """A round that is about to be published, of the tasks given, in this order."""
    store.ring(PROJECT)
    store.sync_frames(
        PROJECT,
        [
            {
                "task_id": task,
                "clip": "c",
                "position": task,
                "url": "u",
                "label": "x" if task in labelled else None,
            }
            for task in sorted(qualities)
        ],
    )
    row = store.start_round(PROJECT, lambda number: f"v{number}", "me")
    rows: list[dict[str, Any]] = [
        {"task_id": task, "rank": rank, "score": rank / 10, "quality": quality}
        for rank, (task, quality) in enumerate(qualities.items())
    ]
    store.save_predictions(row.id, rows)
    return row


def done(store: Store, row: Round) -> None:
    store.finish_round(row.id, {})


def test_a_round_says_rank_quality_and_number(store: Store) -> None:
    row = finished(store, {3: 0.5, 1: 0.904, 2: None})
    manager = Manager([3, 1, 2])
    show_columns(store, manager, row, manager.order)
    assert manager.fields[RANK] == {3: 1, 1: 2, 2: 3}
    assert manager.fields[QUALITY] == {3: 0.5, 1: 0.9}
    assert manager.fields[ROUND] == {3: 0, 1: 0, 2: 0}


def test_a_labelled_task_keeps_the_number_of_the_round_that_asked_for_it(store: Store) -> None:
    manager = Manager([3, 1, 2])
    first = finished(store, {3: None, 1: None, 2: None})
    show_columns(store, manager, first, manager.order)
    done(store, first)
    second = finished(store, {1: 0.5, 2: 0.6, 3: 1.0}, labelled={3})
    manager.order = [1, 2, 3]
    show_columns(store, manager, second, manager.order)
    assert manager.fields[ROUND] == {3: 0, 1: 1, 2: 1}


def test_the_requests_do_not_grow_with_the_tasks(store: Store) -> None:
    tasks = {task: (task % 1000) / 1000 for task in range(3000)}
    manager = Manager(list(tasks))
    show_columns(store, manager, finished(store, tasks), tasks)
    assert sum(manager.calls.values()) <= 103
    assert len(manager.fields[QUALITY]) == 3000


def test_numbers_in_another_order_are_not_left_standing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    row = finished(store, {3: None, 1: None})
    manager = Manager([99, 3, 1])
    with caplog.at_level(logging.WARNING):
        show_columns(store, manager, row, manager.order)
    assert set(manager.fields[RANK].values()) == {None}
    assert "order of its own" in caplog.text


def test_a_label_studio_without_the_action_costs_the_columns_only(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class Old(Manager):
        def number_by_score(self, project_id: int, field: str) -> int | None:
            raise StudioError("no such action", status=404)

    row = finished(store, {3: None})
    with caplog.at_level(logging.WARNING):
        show_columns(store, Old([3]), row, [3])
    assert "no such action" in caplog.text
