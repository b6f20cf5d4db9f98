"""When a round is due. Label Studio and the rounds are played here; tests/end_to_end has the real
ones."""

from __future__ import annotations

import pytest

from backend.labelconfig import make_label_config
from backend.querylayer import layer_for
from backend.refresh import refresh
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
