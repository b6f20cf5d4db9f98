"""Stores of earlier and of later versions."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from backend.schema import SCHEMA, StoreError
from backend.store import Store
from backend.tables import Base

# The tables as 0.1.0 made them: a deployed store, with a project, a label and a finished round.
FIRST = """
CREATE TABLE projects (
    id INTEGER NOT NULL, title VARCHAR NOT NULL, label_config VARCHAR NOT NULL, version VARCHAR,
    rung_at FLOAT, train_now BOOLEAN NOT NULL, queued BOOLEAN NOT NULL, wanted_version VARCHAR,
    fingerprint VARCHAR, looked_at FLOAT, changed_at FLOAT, error VARCHAR, error_at FLOAT,
    failures INTEGER NOT NULL, problems JSON NOT NULL, PRIMARY KEY (id));
CREATE TABLE frames (
    task_id INTEGER NOT NULL, project_id INTEGER NOT NULL, clip VARCHAR NOT NULL,
    position INTEGER NOT NULL, url VARCHAR NOT NULL, label VARCHAR, used_label VARCHAR,
    ranked BOOLEAN NOT NULL, PRIMARY KEY (task_id),
    FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE);
CREATE INDEX frames_of_project ON frames (project_id, clip, position);
CREATE TABLE rounds (
    id INTEGER NOT NULL, project_id INTEGER NOT NULL, number INTEGER NOT NULL,
    version VARCHAR NOT NULL, state VARCHAR NOT NULL, finished_step VARCHAR, step VARCHAR,
    share FLOAT NOT NULL, note VARCHAR NOT NULL, labels INTEGER NOT NULL,
    attempts INTEGER NOT NULL, owner VARCHAR, started_at FLOAT NOT NULL,
    heartbeat_at FLOAT NOT NULL, finished_at FLOAT, error VARCHAR, figures JSON NOT NULL,
    PRIMARY KEY (id), UNIQUE (project_id, version),
    FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE);
CREATE TABLE predictions (
    round_id INTEGER NOT NULL, task_id INTEGER NOT NULL, rank INTEGER NOT NULL,
    score FLOAT NOT NULL, uncertainty FLOAT, mask VARCHAR,
    confidences JSON NOT NULL, PRIMARY KEY (round_id, task_id),
    FOREIGN KEY(round_id) REFERENCES rounds (id) ON DELETE CASCADE);
INSERT INTO projects VALUES
    (4, 'Street', '<View/>', 'v1', 1.5, 0, 0, NULL, 'f', 1.5, 1.0, NULL, NULL, 0, '["Task 9"]');
INSERT INTO frames VALUES (7, 4, 'dawn', 0, '/7.png', 'd', 'd', 1), (8, 4, 'dawn', 1, '/8', NULL,
    NULL, 1);
INSERT INTO rounds VALUES (1, 4, 0, 'v1', 'done', 'publish', NULL, 1, '', 1, 1, 'host:1', 1, 2, 3,
    NULL, '{"clicks": 12}');
INSERT INTO predictions VALUES (1, 7, 1, 0.5, 0.1, 'm.png', '{"1": 0.5}');
"""


def make(path: Path, script: str) -> str:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    return f"sqlite:///{path}"


def test_a_store_of_the_first_version_keeps_everything_and_gains_what_is_new(tmp_path) -> None:
    url = make(tmp_path / "maskloop.db", FIRST)
    for _ in range(2):  # opened again it is as it was left
        store = Store(url)
        project = store.project(4)
        assert project is not None
        assert (project.title, project.version, project.problems) == ("Street", "v1", ["Task 9"])
        assert (project.terms, project.refreshes) == (None, 0)
        assert [(f.task_id, f.label) for f in store.frames(4)] == [(7, "d"), (8, None)]
        assert store.rounds(4)[0].figures == {"clicks": 12}
        assert store.predictions(1)[7].quality is None
        store.close()
    store = Store(url)
    store.ring(5)
    row = store.start_round(5, lambda number: f"w{number}", "me")
    store.save_efforts(4, [{"task_id": 7, "label": "d", "clicks": 3}])
    assert store.round(row.id) is not None
    assert store.efforts(4) == {7: ("d", 3)}
    store.close()


def test_every_column_of_every_table_is_added_where_it_is_missing(tmp_path) -> None:
    engine = create_engine(make(tmp_path / "maskloop.db", FIRST))
    Store(str(engine.url)).close()
    there = inspect(engine)
    for table in Base.metadata.sorted_tables:
        columns = {column["name"] for column in there.get_columns(table.name)}
        assert columns >= {column.name for column in table.columns}
    engine.dispose()


def test_a_database_of_any_kind_gains_what_is_new(database_url: str) -> None:
    store = Store(database_url)
    store.ring(4, title="Street")
    store.close()
    engine = create_engine(database_url)
    with engine.begin() as connection:  # what 0.1.0 did not have
        for column in ("terms", "refreshes", "gone_at"):
            connection.exec_driver_sql(f"ALTER TABLE projects DROP COLUMN {column}")
        connection.exec_driver_sql("DROP TABLE efforts")
        connection.exec_driver_sql("DROP TABLE schema_version")
    engine.dispose()
    store = Store(database_url)
    project = store.project(4)
    assert project is not None
    assert (project.title, project.terms, project.refreshes) == ("Street", None, 0)
    assert store.efforts(4) == {}
    store.close()


def test_frames_numbered_by_the_time_of_day_fit_also_in_an_older_store(database_url: str) -> None:
    Store(database_url).close()
    if database_url.startswith("postgresql"):
        engine = create_engine(database_url)
        with engine.begin() as connection:  # what 0.1.0 made
            for column in ("task_id", "position"):
                connection.exec_driver_sql(f"ALTER TABLE frames ALTER COLUMN {column} TYPE INTEGER")
        engine.dispose()
    store = Store(database_url)
    store.ring(1)
    place = {"clip": "c", "position": 1_700_000_000_123, "url": "u", "label": None}
    store.sync_frames(1, [{"task_id": 3_000_000_000, **place}])
    (frame,) = store.frames(1)
    assert (frame.task_id, frame.position) == (3_000_000_000, 1_700_000_000_123)
    store.close()


def test_a_database_that_does_not_answer_is_told_in_one_sentence() -> None:
    with pytest.raises(StoreError, match=r"can't be used: [^\n\t]+[^.?]([.?])$") as caught:
        Store("postgresql+psycopg://me:s3cret@127.0.0.1:9/maskloop")
    assert "s3cret" not in str(caught.value)


def test_a_store_of_a_newer_version_is_refused_and_left_alone(tmp_path) -> None:
    path = tmp_path / "maskloop.db"
    url = make(path, FIRST)
    Store(url).close()
    make(path, f"UPDATE schema_version SET version = {SCHEMA + 1}; DROP TABLE efforts;")
    engine = create_engine(url)
    before = inspect(engine).get_table_names()
    with pytest.raises(StoreError, match=r"newer Maskloop.*MODEL_DIR"):
        Store(url)
    assert inspect(engine).get_table_names() == before
    engine.dispose()


def test_processes_that_open_an_old_store_at_once_agree(tmp_path) -> None:
    url = make(tmp_path / "maskloop.db", FIRST)
    failures: list[Exception] = []

    def open_it() -> None:
        try:
            Store(url).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
