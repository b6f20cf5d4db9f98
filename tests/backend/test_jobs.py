"""When a round is due, and what happens when one fails. Label Studio and the rounds are played
here; tests/end_to_end has the real ones."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from backend.artifacts import Artifacts
from backend.jobs import Foreman
from backend.labelconfig import asks_for, make_label_config, parse_label_config
from backend.querylayer import layer_for
from backend.refresh import refresh
from backend.settings import load_settings
from backend.store import Store
from backend.studio import StudioError
from backend.sync import look
from backend.tables import Round

CONFIG = make_label_config(["car"])


class PlayedStudio:
    """A project with tasks; counts how often all of them are read."""

    def __init__(self) -> None:
        self.labels: dict[int, list[dict[str, Any]]] = {i: [] for i in range(1, 11)}
        self.reads = 0
        self.down: StudioError | None = None
        self.gone = False
        self.config = CONFIG
        self.wishes: dict[str, Any] = {}

    def project(self, project_id: int) -> dict[str, Any]:
        if self.gone:
            raise StudioError("no such project", status=404)
        return {"title": "Street", "label_config": self.config}

    def fingerprint(self, project_id: int) -> str:
        if self.down is not None:
            raise self.down
        self.project(project_id)
        return repr((self.labels, self.config, self.wishes))

    def tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        self.reads += 1
        for task_id, labels in self.labels.items():
            data = {"image": f"/data/upload/1/a-{task_id}.png", "clip": "a", "frame": task_id}
            yield {"id": task_id, "data": {**data, **self.wishes}, "annotations": labels}

    def label(self, task_id: int, what: int = 1, **more: Any) -> None:
        result = [{"from_name": "brush", "type": "brushlabels", "value": {"rle": [what]}}]
        self.labels[task_id] = [{"id": task_id, "result": result, **more}]


class PlayedRunner:
    """Rounds that finish at once, or fail as told."""

    def __init__(self, store: Store, studio: PlayedStudio, artifacts: Artifacts) -> None:
        self.store = store
        self.artifacts = artifacts
        self.studio = studio
        self.ran: list[str] = []
        self.failure: Exception | None = None
        self.during: Any = None

    def run(self, row: Round) -> None:
        self.ran.append(row.version)
        if self.failure is not None:
            raise self.failure
        known = {f.task_id: (True, f.label) for f in self.store.frames(row.project_id)}
        if self.during is not None:
            self.during()
        asks = asks_for(parse_label_config(self.studio.config))
        figures: dict[str, Any] = {"asks": asks, "terms": look(self.studio, row.project_id).terms}
        project = self.store.project(row.project_id)
        figures["refreshes"] = project.refreshes if project else 0
        self.store.set_round(row.id, figures=figures)
        self.store.finish_round(row.id, known)


class Scene:
    def __init__(self, tmp_path: Any) -> None:
        self.settings = load_settings(
            model_dir=tmp_path / "state", budget=3, quiet_seconds=50, check_seconds=20
        )
        self.store = Store(self.settings.resolved_database_url)
        self.studio = PlayedStudio()
        artifacts = Artifacts(self.settings.model_dir / "projects")
        self.runner = PlayedRunner(self.store, self.studio, artifacts)
        self.foreman = Foreman(self.runner, self.settings)  # type: ignore[arg-type]
        self.store.ring(1)

    @property
    def rounds(self) -> int:
        return len(self.runner.ran)

    def consider(self, ring: bool = False, after: float = 0.0) -> None:
        """Look at the project, ``after`` seconds from its last change."""
        if ring:
            self.store.ring(1)
        if after:
            project = self.store.project(1)
            assert project is not None
            for name in ("rung_at", "changed_at", "error_at", "looked_at"):
                value = getattr(project, name)
                if value is not None:
                    self.store.set_project(1, **{name: value - after})
        self.foreman.consider(1)

    def jobs(self) -> int:
        """Jobs that wait in the queue, those for later too."""
        return int(self.foreman.queue.huey.pending_count())


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


def test_new_tasks_are_ordered_once_the_import_is_over(scene: Scene) -> None:
    scene.consider()
    assert scene.rounds == 0
    assert scene.jobs() == 1
    scene.consider(after=5)
    assert scene.rounds == 1
    scene.consider(ring=True, after=100)
    assert scene.rounds == 1


def test_a_round_is_due_at_the_budget(ordered: Scene) -> None:
    for count, task in enumerate((4, 5, 6), start=1):
        ordered.studio.label(task)
        ordered.consider(ring=True)
        assert ordered.rounds == (2 if count == 3 else 1)


def test_a_round_is_due_by_clicks_where_the_budget_counts_these(ordered: Scene) -> None:
    ordered.settings.budget_clicks = 2  # The labels here can't be read: a click a region.
    ordered.settings.budget = 1
    ordered.studio.label(4)
    ordered.consider(ring=True)
    assert ordered.rounds == 1
    ordered.studio.label(5)
    ordered.consider(ring=True)
    assert ordered.rounds == 2


def test_fewer_labels_wait_for_quiet(ordered: Scene) -> None:
    jobs = ordered.jobs()
    ordered.studio.label(4)
    ordered.consider(ring=True)
    assert ordered.rounds == 1
    assert ordered.jobs() == jobs + 1
    ordered.consider(after=60)
    assert ordered.rounds == 2


def test_start_training_is_at_once_but_not_without_anything_new(ordered: Scene) -> None:
    ordered.store.ring(1, train_now=True)
    ordered.consider()
    assert ordered.rounds == 1
    ordered.studio.label(4)
    ordered.store.ring(1, train_now=True)
    ordered.consider()
    assert ordered.rounds == 2


def test_skipped_annotations_are_no_labels(ordered: Scene) -> None:
    for task in (4, 5, 6):
        ordered.studio.label(task, was_cancelled=True)
    ordered.consider(ring=True, after=100)
    assert ordered.rounds == 1


def test_a_lost_webhook_is_made_good_by_the_next_check(ordered: Scene) -> None:
    for task in (4, 5, 6):
        ordered.studio.label(task)
    ordered.consider()
    assert ordered.rounds == 2


def test_a_check_without_change_reads_no_tasks(ordered: Scene) -> None:
    reads = ordered.studio.reads
    for _ in range(5):
        ordered.consider()
    assert ordered.studio.reads == reads


def test_the_same_label_again_is_no_change(ordered: Scene) -> None:
    for task in (4, 5, 6):
        ordered.studio.label(task)
    ordered.consider(ring=True)
    for task in (4, 5, 6):
        ordered.studio.label(task, updated_at="2027-01-01")
    ordered.consider(ring=True, after=100)
    assert ordered.rounds == 2


@pytest.mark.parametrize("change", ["updated", "deleted"])
def test_changed_and_deleted_labels_count(ordered: Scene, change: str) -> None:
    for task in (4, 5, 6):
        ordered.studio.label(task)
    ordered.consider(ring=True)
    for task in (4, 5, 6):
        if change == "updated":
            ordered.studio.label(task, 2)
        else:
            ordered.studio.labels[task] = []
    ordered.consider(ring=True)
    assert ordered.rounds == 3


def test_labels_that_arrive_during_a_round_lead_to_one_more(ordered: Scene) -> None:
    def more() -> None:
        ordered.runner.during = None
        for task in (7, 8, 9):
            ordered.studio.label(task)
            ordered.store.ring(1)

    ordered.runner.during = more
    for task in (4, 5, 6):
        ordered.studio.label(task)
    ordered.consider(ring=True)
    assert ordered.rounds == 2
    for _ in range(3):
        ordered.consider()
    assert ordered.rounds == 3


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


def test_pictures_fetched_anew_make_a_round_at_once(ordered: Scene) -> None:
    rounds = ordered.rounds
    refresh(ordered.store, ordered.foreman.queue, 1)
    ordered.consider()
    assert ordered.rounds == rounds + 1
    ordered.consider(ring=True, after=51)
    assert ordered.rounds == rounds + 1


def test_other_samples_are_asked_for_by_a_new_round(ordered: Scene) -> None:
    rounds = ordered.rounds
    for queries in (layer_for("rectangles", (96, 128)), None):
        ordered.studio.config = make_label_config(["car"], queries=queries)
        ordered.consider(ring=True)
        assert ordered.rounds == rounds  # the configuration may still be written
        ordered.consider(after=51)
        rounds += 1
        assert ordered.rounds == rounds
        ordered.consider(ring=True, after=51)
        assert ordered.rounds == rounds


@pytest.mark.parametrize("heard", [True, False], ids=["webhook", "webhook lost"])
def test_a_label_added_or_other_wishes_of_tasks_lead_to_a_round(ordered: Scene, heard) -> None:
    rounds = ordered.rounds
    for change in (
        lambda: setattr(ordered.studio, "config", make_label_config(["car", "tree"])),
        lambda: ordered.studio.wishes.update(categories=["tree"]),
        lambda: ordered.studio.wishes.update(unlabelled="ignore"),
    ):
        change()
        ordered.consider(ring=heard)
        assert ordered.rounds == rounds  # more may be changed
        ordered.consider(after=51)
        rounds += 1
        assert ordered.rounds == rounds
        ordered.consider(ring=True, after=51)
        assert ordered.rounds == rounds


def test_colours_and_titles_of_the_configuration_lead_to_none(ordered: Scene) -> None:
    rounds = ordered.rounds
    ordered.studio.config = make_label_config(["car"], ["#112233"]).replace(
        "<View>", '<View><Header value="Label all cars"/>'
    )
    for after in (0.0, 51.0):
        ordered.consider(ring=True, after=after)
    assert ordered.rounds == rounds


def test_a_project_without_tasks_waits_for_some(ordered: Scene) -> None:
    rounds = ordered.rounds
    ordered.studio.labels.clear()
    ordered.studio.config = make_label_config(["car", "tree"])
    for after in (0.0, 51.0):
        ordered.consider(ring=True, after=after)
    assert ordered.rounds == rounds
