from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from backend.store import Store


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


def frame(task_id: int, position: int, label: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "task_id": task_id, "clip": "a", "position": position, "url": f"/{task_id}",
        "label": label, **more,
    }  # fmt: skip


def prediction(task_id: int, rank: int) -> dict[str, Any]:
    return {
        "task_id": task_id, "rank": rank, "score": rank / 10, "uncertainty": 0.5,
        "mask": None, "confidences": {},
    }  # fmt: skip


def test_ringing_twice_queues_once(store: Store) -> None:
    assert store.ring(4, title="Street")
    assert not store.ring(4)
    store.set_project(4, queued=False)
    assert store.ring(4, train_now=True)
    project = store.project(4)
    assert project is not None
    assert project.train_now
    assert project.title == "Street"


def test_start_training_is_not_forgotten_by_a_later_bell(store: Store) -> None:
    store.ring(1, train_now=True)
    store.ring(1)
    project = store.project(1)
    assert project is not None
    assert project.train_now


def test_sync_tells_what_changed(store: Store) -> None:
    store.ring(1)
    assert store.sync_frames(1, [frame(1, 0), frame(2, 1)])
    assert not store.sync_frames(1, [frame(1, 0), frame(2, 1)])
    assert store.pending(1) == (0, 2)
    assert store.sync_frames(1, [frame(1, 0, "x"), frame(2, 1)])
    assert store.pending(1) == (1, 2)
    assert store.sync_frames(1, [frame(1, 0, "x")])
    assert [f.task_id for f in store.frames(1)] == [1]


def test_a_task_s_number_of_another_label_studio_is_taken_over(store: Store) -> None:
    store.ring(1)
    store.sync_frames(1, [frame(1, 0), frame(2, 1)])
    store.ring(2)
    assert store.sync_frames(2, [frame(2, 0)])
    assert [f.task_id for f in store.frames(1)] == [1]
    assert [f.task_id for f in store.frames(2)] == [2]


def test_after_a_round_only_what_came_since_is_pending(store: Store) -> None:
    store.ring(1)
    store.sync_frames(1, [frame(1, 0, "x"), frame(2, 1)])
    row = store.start_round(1, lambda number: f"v{number}", "me")
    # While the round runs, the second frame is labelled and the first changed.
    store.sync_frames(1, [frame(1, 0, "y"), frame(2, 1, "z")])
    store.finish_round(row.id, {1: (True, "x"), 2: (True, None)})
    assert store.pending(1) == (2, 0)
    store.sync_frames(1, [frame(1, 0, "x"), frame(2, 1)])
    assert store.pending(1) == (0, 0)


def test_a_label_that_a_round_could_not_use_stays_new(store: Store) -> None:
    store.ring(1)
    store.sync_frames(1, [frame(1, 0, "x"), frame(2, 1, "y")])
    row = store.start_round(1, lambda number: f"v{number}", "me")
    store.finish_round(row.id, {1: (False, "x"), 2: (True, "y")}, failure="clip a: no picture")
    assert store.pending(1) == (1, 0)
    project = store.project(1)
    assert project is not None
    assert (project.error, project.failures) == ("clip a: no picture", 1)


def test_a_deleted_label_is_a_change(store: Store) -> None:
    store.ring(1)
    store.sync_frames(1, [frame(1, 0, "x")])
    row = store.start_round(1, lambda number: f"v{number}", "me")
    store.finish_round(row.id, {1: (True, "x")})
    store.sync_frames(1, [frame(1, 0)])
    assert store.pending(1) == (1, 0)


def test_a_frame_that_moved_must_be_ranked_anew(store: Store) -> None:
    store.ring(1)
    store.sync_frames(1, [frame(1, 0)])
    row = store.start_round(1, lambda number: f"v{number}", "me")
    store.finish_round(row.id, {1: (True, None)})
    assert store.sync_frames(1, [frame(1, 5)])
    assert store.pending(1) == (0, 1)


def test_rounds_are_numbered_and_the_published_one_is_the_projects_version(store: Store) -> None:
    store.ring(1)
    first = store.start_round(1, lambda number: f"v{number}", "me")
    assert (first.number, first.version) == (0, "v0")
    assert store.published_round(1) is None
    store.save_predictions(first.id, [prediction(7, 1), prediction(8, 0)])
    store.finish_round(first.id, {})
    published = store.published_round(1)
    assert published is not None
    assert published.id == first.id
    assert list(store.predictions(first.id)) == [8, 7]
    second = store.start_round(1, lambda number: f"v{number}", "me")
    assert second.number == 1
    unfinished, still = store.unfinished_round(1), store.published_round(1)
    assert unfinished is not None
    assert unfinished.id == second.id
    assert still is not None
    assert still.id == first.id


def test_predictions_of_many_tasks_at_once(store: Store) -> None:
    store.ring(1)
    row = store.start_round(1, lambda number: f"v{number}", "me")
    store.save_predictions(row.id, [prediction(i, i) for i in range(2000)])
    assert len(store.predictions(row.id, range(500, 1800))) == 1300
    store.save_predictions(row.id, [prediction(1, 0)])
    assert list(store.predictions(row.id)) == [1]


def test_of_two_workers_only_one_takes_over_a_silent_round(store: Store) -> None:
    store.ring(1)
    row = store.start_round(1, lambda number: f"v{number}", "dead:1")
    assert not store.claim_round(row.id, "b:2", stale_before=row.heartbeat_at - 1)
    taken = []

    def claim(owner: str) -> None:
        if store.claim_round(row.id, owner, stale_before=row.heartbeat_at + 1e-3):
            taken.append(owner)

    threads = [threading.Thread(target=claim, args=(f"w:{i}",)) for i in range(8)]
    store.set_round(row.id, heartbeat_at=row.heartbeat_at)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_writers_of_several_connections_wait_instead_of_failing(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(4)]
    together = threading.Barrier(len(stores))
    asked: list[bool] = []
    started: list[bool] = []
    errors: list[Exception] = []

    def ring(store: Store) -> None:
        try:
            # The first webhooks of new projects reach several processes at once.
            for project in range(1, 21):
                together.wait(30)
                asked.append(store.ring(project))
                store.sync_frames(project, [frame(project, 0)])
                row = store.start_round(project, lambda number: f"v{number}", "me")
                started.append(row is not None)
        except Exception as error:
            together.abort()
            errors.append(error)

    threads = [threading.Thread(target=ring, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rounds = [[row.number for row in stores[0].rounds(project)] for project in range(1, 21)]
    for store in stores:
        store.close()
    assert errors == []
    assert asked.count(True) == 20
    assert started.count(True) == 20
    assert rounds == [[0]] * 20


def test_state_survives_a_restart(database_url: str) -> None:
    first = Store(database_url)
    first.ring(3, title="kept")
    first.close()
    again = Store(database_url)
    assert [project.title for project in again.projects()] == ["kept"]
    again.remove_project(3)
    assert again.projects() == []
    again.close()
