"""What happens when a round, Label Studio or the disk fails; the latter two are played."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from backend.studio import StudioError
from backend.tables import Frame, Round
from tests.backend.played_foreman import Scene


@pytest.fixture
def scene(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path)
    yield scene
    scene.store.close()
    scene.foreman.queue.huey.storage.close()


@pytest.fixture
def ordered(scene: Scene) -> Scene:
    """A scene whose tasks were ordered by a first round."""
    scene.consider()
    scene.consider(after=5)
    assert scene.rounds == 1
    return scene


def test_a_silent_label_studio_is_asked_again_later_and_nothing_is_lost(ordered: Scene) -> None:
    ordered.studio.down = StudioError("Label Studio does not answer at http://ls")
    ordered.consider(ring=True)
    project = ordered.store.project(1)
    assert project is not None
    assert project.error == "Label Studio does not answer at http://ls"
    ordered.studio.down = None
    for task in (4, 5, 6):
        ordered.studio.label(task)
    ordered.consider()
    assert ordered.rounds == 1  # pausing
    ordered.consider(after=30)
    assert ordered.rounds == 2
    project = ordered.store.project(1)
    assert project is not None
    assert project.error is None


def test_what_went_wrong_is_not_told_for_longer_than_it_is_so(ordered: Scene) -> None:
    def error() -> str | None:
        project = ordered.store.project(1)
        assert project is not None
        return project.error

    ordered.studio.down = StudioError("Label Studio does not answer")
    ordered.consider(ring=True)
    assert error() == "Label Studio does not answer"
    ordered.studio.down = None
    ordered.consider(ring=True)
    assert error() is None
    # What is wrong with a clip stays said while other things come and go.
    (row,) = ordered.store.rounds(1)
    ordered.store.finish_round(row.id, {}, failure="Clip 'a' has frames of two sizes")
    ordered.studio.down = StudioError("Label Studio does not answer")
    ordered.consider(ring=True)
    ordered.studio.down = None
    ordered.consider(ring=True)
    assert error() == "Clip 'a' has frames of two sizes"


def test_a_round_that_label_studio_interrupts_goes_on_later(ordered: Scene) -> None:
    ordered.runner.failure = StudioError("gone for lunch")
    ordered.store.ring(1, train_now=True)
    ordered.studio.label(4)
    ordered.consider()
    unfinished = ordered.store.unfinished_round(1)
    assert unfinished is not None
    ordered.runner.failure = None
    ordered.consider(after=30)
    assert ordered.runner.ran[-1] == ordered.runner.ran[-2]
    assert ordered.store.unfinished_round(1) is None


def test_a_round_that_always_fails_is_given_up_and_says_why(ordered: Scene) -> None:
    ordered.runner.failure = ValueError("the clip is too small")
    ordered.studio.label(4)
    ordered.store.ring(1, train_now=True)
    for _ in range(7):
        ordered.consider(after=1000)
    last = [row for row in ordered.store.rounds(1) if row.state == "failed"]
    assert [row.error for row in last] == ["the clip is too small"]
    project = ordered.store.project(1)
    assert project is not None
    assert project.error == "the clip is too small"


def test_rounds_that_are_given_up_leave_nothing_on_the_disk(ordered: Scene) -> None:
    artifacts, (first,) = ordered.runner.artifacts, ordered.store.rounds(1)
    artifacts.write_record(f"1/rounds/{first.version}/snapshot.json", {})

    def fail(row: Round) -> None:
        artifacts.write_mask(f"1/rounds/{row.version}/masks/1.png", np.ones((2, 2), np.uint8))
        ordered.store.save_predictions(row.id, [{"task_id": 1, "rank": 0, "score": 0.0}])
        raise ValueError("the clip is too small")

    ordered.runner.run = fail  # type: ignore[method-assign]
    ordered.studio.label(4)
    ordered.store.ring(1, train_now=True)
    for _ in range(7):
        ordered.consider(after=1000)
    failed, running = ordered.store.rounds(1)[1:]
    assert (failed.state, running.state) == ("failed", "running")
    folders = {path.name for path in artifacts.path("1/rounds").iterdir()}
    assert folders == {first.version, running.version}
    assert ordered.store.predictions(failed.id) == {}


def test_a_store_that_takes_no_heartbeat_is_told_once(
    ordered: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    beats = threading.Semaphore(0)

    def full(*args: object, **values: object) -> None:
        beats.release()
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    monkeypatch.setattr("backend.jobs._BEAT_SECONDS", 0.001)
    monkeypatch.setattr(ordered.store, "set_round", full)
    with ordered.foreman._heartbeat(1):
        for _ in range(4):
            assert beats.acquire(timeout=30)
    assert caplog.text.count("no heartbeat") == 1
    assert "disk is full" in caplog.text


def test_a_round_that_no_worker_lives_through_is_given_up_and_says_why(ordered: Scene) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    dead = f"{socket.gethostname()}:{done.pid}"
    row = ordered.store.start_round(1, lambda number: f"v{number}", dead)
    assert row is not None
    ran = ordered.rounds
    for attempt in range(5):  # each begins it, and is ended by the system
        assert ordered.store.claim_round(row.id, dead, time.time() + 1), attempt
    ordered.store.set_round(row.id, step="finetune")
    ordered.consider()
    assert ordered.rounds == ran
    again = ordered.store.round(row.id)
    project = ordered.store.project(1)
    assert again is not None
    assert project is not None
    assert again.state == "failed"
    assert project.error is not None
    assert "ended 5 times in the step 'finetune'" in project.error
    assert "memory" in project.error
    # A new one is begun later, not at once.
    ordered.studio.label(4)
    ordered.store.set_project(1, train_now=True)
    ordered.consider()
    assert ordered.rounds == ran
    ordered.consider(after=1000)
    assert ordered.rounds == ran + 1


@pytest.mark.parametrize(
    "passing", [StudioError("out for lunch"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_what_is_no_fault_of_the_round_does_not_use_up_its_attempts(
    ordered: Scene, passing: Exception
) -> None:
    ordered.runner.failure = passing
    ordered.studio.label(4)
    ordered.store.ring(1, train_now=True)
    for _ in range(7):
        ordered.consider(after=1000)
    ordered.runner.failure = ValueError("a picture can't be read")
    ordered.consider(after=1000)
    assert ordered.store.unfinished_round(1) is not None  # it is tried again


def test_labels_of_a_clip_that_fails_do_not_make_each_bell_a_round(ordered: Scene) -> None:
    """Three of these labels are a budget's worth; the round could not use them."""
    whole = ordered.runner.run

    def partly(row: Round) -> None:
        whole(row)
        labels = {f.task_id: f.label for f in ordered.store.frames(1) if f.task_id <= 3}
        done = ordered.store.round(row.id)
        assert done is not None
        tried = {str(task): label for task, label in labels.items()}
        ordered.store.set_round(row.id, figures={**done.figures, "tried": tried})
        known = {task: (False, label) for task, label in labels.items()}
        with ordered.store._session() as session:
            session.execute(update(Frame).where(Frame.task_id <= 3).values(used_label=None))
        ordered.store.finish_round(row.id, known, failure="Clip 'a' has frames of two sizes")

    ordered.runner.run = partly  # type: ignore[method-assign]
    for task in (1, 2, 3):
        ordered.studio.label(task)
    ordered.consider(ring=True)
    assert ordered.rounds == 2
    assert ordered.store.pending(1)[0] == 3
    for _ in range(3):
        ordered.consider(ring=True)
    assert ordered.rounds == 2
    ordered.studio.label(4)
    ordered.consider(ring=True)
    assert ordered.rounds == 2  # one new label waits for quiet or for more, as always
    ordered.consider(after=51)
    assert ordered.rounds == 3
    ordered.consider(ring=True, after=15)  # what failed is tried again after 20 s
    assert ordered.rounds == 3
    ordered.consider(ring=True, after=15)
    assert ordered.rounds == 4
    ordered.studio.label(1, what=2)  # mended, perhaps: it is new
    ordered.consider(ring=True)
    ordered.consider(after=51)
    assert ordered.rounds == 5


def test_after_weeks_of_failures_a_project_is_still_looked_at(ordered: Scene) -> None:
    ordered.store.set_project(1, failures=5000, error="down", error_at=time.time() - 901)
    ordered.store.set_project(1, rung_at=time.time() - 5000)
    ordered.consider()
    project = ordered.store.project(1)
    assert project is not None
    assert project.error is None


def test_a_clock_that_is_put_back_holds_nothing_up(ordered: Scene) -> None:
    ordered.studio.label(4)
    ordered.consider(ring=True)
    ahead = time.time() + 7200
    ordered.store.set_project(1, rung_at=ahead, changed_at=ahead)
    ran = ordered.rounds
    ordered.consider()
    assert ordered.rounds == ran + 1
    # Nor the round of a worker that died before, nor what failed then.
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    owner = f"{socket.gethostname()}:{done.pid}"
    row = ordered.store.start_round(1, lambda number: f"v{number}", owner)
    assert row is not None
    ordered.store.set_round(row.id, heartbeat_at=ahead)
    ordered.store.set_project(1, error="no", error_at=ahead + 1, failures=1)
    ordered.consider()
    assert ordered.runner.ran[-1] == row.version


def test_after_a_failure_a_new_bell_is_heard_at_once(ordered: Scene) -> None:
    ordered.runner.failure = ValueError("no")
    ordered.studio.label(4)
    ordered.store.ring(1, train_now=True)
    ordered.consider()
    ran = ordered.rounds
    ordered.consider()
    assert ordered.rounds == ran
    ordered.runner.failure = None
    time.sleep(0.01)
    ordered.consider(ring=True)
    assert ordered.rounds == ran + 1


def test_a_round_of_a_dead_worker_is_taken_up_at_once(ordered: Scene) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    row = ordered.store.start_round(
        1, lambda number: f"v{number}", f"{socket.gethostname()}:{done.pid}"
    )
    ordered.consider()
    assert ordered.runner.ran[-1] == row.version
    again = ordered.store.round(row.id)
    assert again is not None
    assert again.state == "done"


def test_a_round_of_a_living_worker_is_left_alone(ordered: Scene) -> None:
    ordered.store.start_round(
        1, lambda number: f"v{number}", f"{socket.gethostname()}:{os.getppid()}"
    )
    ran = ordered.rounds
    ordered.consider()
    assert ordered.rounds == ran


def test_a_project_that_never_was_is_forgotten_at_once(scene: Scene) -> None:
    scene.studio.gone = True
    scene.consider(ring=True)
    assert scene.store.projects() == []
    scene.consider()


def test_a_deleted_project_is_kept_for_days_in_case_the_token_is_wrong(ordered: Scene) -> None:
    kept = ordered.runner.artifacts.path("1/rounds/v/masks/1.png")
    ordered.runner.artifacts.write_mask("1/rounds/v/masks/1.png", np.ones((2, 2), np.uint8))
    ordered.studio.gone = True
    ordered.consider(ring=True)
    project = ordered.store.project(1)
    assert project is not None
    assert project.error is not None
    assert "LABEL_STUDIO_API_KEY" in project.error
    ordered.studio.gone = False
    ordered.consider(ring=True)
    project = ordered.store.project(1)
    assert project is not None
    assert project.gone_at is None
    ordered.studio.gone = True
    ordered.consider(ring=True)
    assert kept.exists()
    ordered.store.set_project(1, gone_at=time.time() - 8 * 86_400)
    ordered.consider(ring=True)
    assert ordered.store.projects() == []
    assert not kept.exists()


def test_a_full_disk_is_told_and_the_round_goes_on_when_there_is_room(ordered: Scene) -> None:
    ordered.runner.failure = OSError(errno.ENOSPC, "No space left on device")
    ordered.studio.label(4)
    ordered.store.ring(1, train_now=True)
    for _ in range(7):  # more often than a round is tried that fails by itself
        ordered.consider(after=1000)
    row = ordered.store.unfinished_round(1)
    assert row is not None
    project = ordered.store.project(1)
    assert project is not None
    assert project.error is not None
    assert project.error.startswith("MODEL_DIR (")
    assert "No space left on device" in project.error
    ordered.runner.failure = None
    ordered.consider(after=1000)
    done = ordered.store.round(row.id)
    assert done is not None
    assert done.state == "done"


def test_a_store_that_cannot_be_written_does_not_end_the_worker(
    ordered: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: object, **values: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    ordered.store.ring(1)
    with monkeypatch.context() as patch:
        patch.setattr(ordered.store, "set_project", full)
        patch.setattr(ordered.store, "fail_project", full)
        ordered.consider()
    assert "project 1: The store can't be used: database or disk is full." in caplog.text


def test_a_job_that_was_lost_is_found_again(ordered: Scene, monkeypatch) -> None:
    ordered.foreman.queue.huey.flush()
    ordered.store.ring(1)  # whose job the queue never got

    def once(seconds: float) -> None:
        raise SystemExit

    monkeypatch.setattr("backend.jobs.time.sleep", once)
    with pytest.raises(SystemExit):
        ordered.foreman._tick()
    assert ordered.jobs() == 1
