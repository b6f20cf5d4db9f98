"""Jobs go from one process to another: through a file, and through Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.jobqueue import Queue
from backend.settings import Settings, load_settings


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    url = "" if request.param == "sqlite" else str(request.getfixturevalue("redis_url"))
    return load_settings(model_dir=tmp_path, queue_url=url)


def work_until(queue: Queue, done: Callable[[], bool]) -> None:
    """Do jobs as the worker's process does, which may consume in its main thread only."""
    consumer = queue.huey.create_consumer(
        workers=1, initial_delay=0.02, max_delay=0.1, scheduler_interval=1, periodic=False
    )
    consumer.start()
    try:
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline, "the jobs were not done"
            time.sleep(0.02)
    finally:
        consumer.stop(graceful=True)


def test_what_one_process_puts_another_does_in_order(settings: Settings) -> None:
    done: list[int] = []
    web, worker = Queue(settings), Queue(settings, done.append)
    assert worker.is_empty
    for project in (4, 2, 9):
        web.put(project)
    assert not worker.is_empty
    work_until(worker, lambda: len(done) == 3)
    assert done == [4, 2, 9]
    assert web.is_empty


def test_a_job_for_later_waits_until_then(settings: Settings) -> None:
    done: list[tuple[int, float]] = []
    queue = Queue(settings, lambda project: done.append((project, time.monotonic())))
    start = time.monotonic()
    queue.put(1, delay=2)
    queue.put(2)
    work_until(queue, lambda: len(done) == 2)
    assert [project for project, _ in done] == [2, 1]
    # The clock of the queue counts whole seconds.
    assert done[1][1] - start > 1


def test_jobs_outlive_the_process_that_put_them(settings: Settings) -> None:
    Queue(settings).put(7)
    done: list[int] = []
    work_until(Queue(settings, done.append), lambda: bool(done))
    assert done == [7]
