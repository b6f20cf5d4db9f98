"""The Data Manager's columns, as a round fills them."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.columns import show_columns
from backend.store import Store
from backend.studio import StudioError
from backend.studio.columns import QUALITY, RANK, ROUND, Columns
from backend.tables import Round

PROJECT = 7


class Manager:
    """A Label Studio that keeps what is written, by field and task."""

    def __init__(self) -> None:
        self.fields: dict[str, dict[int, str]] = {}

    def write_field(self, project_id: int, field: str, texts: Mapping[int, str]) -> None:
        self.fields.setdefault(field, {}).update(texts)


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


def test_a_round_says_rank_quality_and_number(store: Store) -> None:
    row = finished(store, {3: 0.5, 1: 0.904, 2: None})
    manager = Manager()
    show_columns(store, manager, row, [1, 2, 3])
    assert manager.fields[RANK] == {3: "1", 1: "2", 2: "3"}
    assert manager.fields[QUALITY] == {3: "0.50", 1: "0.90"}
    assert manager.fields[ROUND] == {3: "000", 1: "000", 2: "000"}


def test_ranks_are_sorted_right_as_texts(store: Store) -> None:
    tasks = list(range(120, 0, -1))
    manager = Manager()
    show_columns(store, manager, finished(store, dict.fromkeys(tasks)), tasks)
    assert sorted(tasks, key=lambda task: manager.fields[RANK][task]) == tasks


def test_a_labelled_task_keeps_the_number_of_the_round_that_asked_for_it(store: Store) -> None:
    manager = Manager()
    first = finished(store, {3: None, 1: None, 2: None})
    show_columns(store, manager, first, [1, 2, 3])
    store.finish_round(first.id, {})
    second = finished(store, {1: 0.5, 2: 0.6, 3: 1.0}, labelled={3})
    show_columns(store, manager, second, [1, 2, 3])
    assert manager.fields[ROUND] == {3: "000", 1: "001", 2: "001"}


def test_tasks_that_are_gone_are_passed_over(store: Store) -> None:
    manager = Manager()
    show_columns(store, manager, finished(store, {3: None, 1: None, 2: None}), [1, 2])
    assert manager.fields[RANK] == {1: "1", 2: "2"}


def test_a_label_studio_without_the_action_costs_the_columns_only(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class Old(Manager):
        def write_field(self, project_id: int, field: str, texts: Mapping[int, str]) -> None:
            raise StudioError("no such action", status=404)

    with caplog.at_level(logging.WARNING):
        show_columns(store, Old(), finished(store, {3: None}), [3])
    assert "no such action" in caplog.text


class Server(Columns):
    """Does what Label Studio's bulk action does, on data of its own."""

    def __init__(self, tasks: int) -> None:
        self.data: dict[int, dict[str, str]] = {task: {} for task in range(tasks)}
        self.requests = 0

    def request(self, method: str, path: str, **options: Any) -> Any:
        self.requests += 1
        asked = options["json"]
        for task in asked["selectedItems"]["included"]:
            data, field, value = self.data[task], asked["value_name"], asked["value"]
            if asked["value_type"] == "String":
                data[field] = value
                continue
            command, arguments = value.split("(")
            assert command == "replace"
            old, new = (json.loads(part) for part in arguments.replace(")", "").split(","))
            data[field] = data[field].replace(old, new)

    def shown(self, field: str) -> dict[int, str]:
        return {task: data[field] for task, data in self.data.items() if field in data}


@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.text("0123456789.", min_size=n, max_size=n)))
)
def test_every_task_gets_its_own_text(texts: list[str]) -> None:
    server = Server(len(texts))
    server.write_field(1, "f", dict(enumerate(texts)))
    assert server.shown("f") == dict(enumerate(texts))


def test_the_requests_hardly_grow_with_the_tasks() -> None:
    server = Server(12_000)
    ranks = {task: str((task * 7) % 12_000).zfill(5) for task in range(12_000)}
    server.write_field(1, "f", ranks)
    assert server.shown("f") == ranks
    assert server.requests <= 60


def test_few_different_texts_are_written_one_by_one() -> None:
    server = Server(100)
    server.write_field(1, "f", {task: f"0.{90 + task % 3}" for task in range(100)})
    assert server.requests == 3


def test_texts_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        Server(2).write_field(1, "f", {0: "1", 1: "10"})
