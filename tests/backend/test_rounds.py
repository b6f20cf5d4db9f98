"""Rounds with the real model on a small rendered clip; Label Studio is played."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from backend.formats import encode
from backend.labelconfig import make_label_config, parse_label_config
from backend.roundfiles import RoundFiles
from backend.rounds import (
    make_version,
)
from backend.status import status_of
from backend.studio import StudioError
from selection.clicks import boundary_clicks
from tests.backend.played_rounds import FRAMES, Scene, add_second_clip


@pytest.fixture
def scene(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path)
    yield scene
    scene.store.close()


def test_before_any_label_the_tasks_are_ordered_without_masks(scene: Scene) -> None:
    row = scene.round()
    assert row.state == "done"
    assert scene.studio.version == row.version
    order = scene.studio.order()
    assert sorted(order) == sorted(scene.studio.task_rows)
    first = sorted(task - 100 for task in order[:3])
    assert first[0] < 5
    assert first[-1] > 6
    assert all(item["result"] == [] for item in scene.studio.stored.values())
    assert scene.studio.calls["set_sampling"] == 1
    assert scene.studio.calls["ensure_ranked_tab"] == 1


def test_labels_give_masks_on_every_frame_in_ranked_order(scene: Scene) -> None:
    for index in (2, 6, 10):
        scene.studio.label(index)
    row = scene.round()
    assert row.labels == 3
    assert scene.accuracy([i for i in range(FRAMES) if i not in (2, 6, 10)]) > 0.95
    order = scene.studio.order()
    assert order[-3:] == [102, 106, 110]  # labelled tasks last
    np.testing.assert_array_equal(scene.mask(6), scene.clip.mask(6))
    predictions = scene.store.predictions(row.id)
    assert list(predictions) == order
    rest = [predictions[task].uncertainty for task in order[3:-3]]
    assert rest == sorted(rest, reverse=True)


def test_expected_quality_and_advice_are_told(scene: Scene) -> None:
    scene.studio.label(1)
    scene.round()
    project = status_of(scene.store, scene.settings)["projects"][0]
    assert "held_out" in project["clips"][0]
    for index in (5, 9):
        scene.studio.label(index)
    row = scene.round()
    project = status_of(scene.store, scene.settings)["projects"][0]
    clip = project["clips"][0]
    others = [i for i in range(FRAMES) if i not in (1, 5, 9)]
    assert abs(clip["expected_miou"] - scene.miou(others)) < 0.15
    assert set(clip["held_out"]) == {"1", "5", "9"}
    assert clip["spots"] == []
    assert project["advice"].startswith(f"Expected mIoU {project['expected_miou']:.2f}: ")
    predictions = scene.store.predictions(row.id)
    assert all(0 <= (p.quality or 0) <= 1 for p in predictions.values())
    assert predictions[105].quality == 1.0


def test_what_to_do_next_is_recommended_from_quality_and_clicks(scene: Scene) -> None:
    for index in (2, 9):
        scene.studio.label(index)
    row = scene.round()
    clicks = sum(boundary_clicks(scene.clip.mask(index), {0}) for index in (2, 9))
    assert row.figures["clicks"] == clicks
    told = status_of(scene.store, scene.settings)["projects"][0]["recommendation"]
    assert (told["samples"], told["clicks"], told["total_clicks"]) == (2, clicks, None)
    scene.settings.total_clicks = clicks
    scene.settings.target = 1.0
    told = status_of(scene.store, scene.settings)["projects"][0]["recommendation"]
    assert told["action"] == "stop"
    assert f"All {clicks} clicks are spent" in told["reason"]


def test_skipped_tasks_are_served_after_all_others(scene: Scene) -> None:
    first = scene.round()
    asked = next(iter(scene.store.predictions(first.id)))
    scene.studio.task_rows[asked]["annotations"] = [
        {"id": 1, "result": [], "was_cancelled": True, "completed_by": 1}
    ]
    for index in (2, 9):
        if 100 + index != asked:
            scene.studio.label(index)
    labelled = [task for task, row in scene.studio.task_rows.items() if row["annotations"]]
    scene.round()
    assert scene.studio.order()[-len(labelled)] == asked


def test_the_data_manager_s_columns_say_what_the_round_says(scene: Scene) -> None:
    for index in (2, 9):
        scene.studio.label(index)
    row = scene.round()
    shown = {task: each["data"] for task, each in scene.studio.task_rows.items()}
    by_rank = sorted(shown, key=lambda task: shown[task]["maskloop_rank"])
    assert by_rank == list(scene.store.predictions(row.id))
    assert shown[102]["maskloop_quality"] == "1.00"
    assert all(0 <= float(data["maskloop_quality"]) <= 1 for data in shown.values())
    assert {data["maskloop_round"] for data in shown.values()} == {"000"}


def test_a_label_that_contradicts_its_neighbours_is_named(scene: Scene) -> None:
    for index in (3, 5, 7):
        scene.studio.label(index)
    wrong = scene.clip.mask(5)
    before = np.where(wrong == 1, 2, wrong).astype(np.uint8)
    result = encode(before, parse_label_config(scene.studio.config))
    scene.studio.task_rows[105]["annotations"][0]["result"] = result
    scene.round()
    (clip,) = status_of(scene.store, scene.settings)["projects"][0]["clips"]
    names = scene.clip.class_names
    found = {(spot["frame"], spot["labelled"], spot["expected"]) for spot in clip["spots"]}
    assert (5, names[2], names[1]) in found
    assert names[1] in clip["spots"][0]["sentence"]


def test_regions_carry_their_confidence(scene: Scene) -> None:
    scene.studio.label(5)
    scene.round()
    regions = scene.studio.prediction(7)["result"]
    assert regions
    assert all(0.2 < region["score"] <= 1 for region in regions)


@pytest.mark.parametrize("stored", [False, True])
def test_an_error_of_label_studio_in_mid_publication_does_not_undo_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    """ "database is locked", or the answer was lost behind a proxy."""
    send = scene.studio.import_predictions

    def busy(project_id: int, items: list[dict[str, Any]]) -> int:
        if scene.studio.calls["import_predictions"] == 2:
            if stored:
                send(project_id, items)
            else:
                scene.studio.calls["import_predictions"] += 1
            raise StudioError("Label Studio answered 500: database is locked", status=500)
        return send(project_id, items)

    monkeypatch.setattr("backend.publish._PAUSES", (0.0,))
    monkeypatch.setattr("backend.publish._BATCH", 4)
    monkeypatch.setattr(scene.studio, "import_predictions", busy)
    row = scene.round()
    assert scene.studio.model_versions(1) == {row.version: FRAMES}
    assert scene.studio.calls["delete_model_version"] == 0


@pytest.mark.parametrize("step", ["project", "import_predictions", "set_model_version"])
def test_a_round_that_died_goes_on_from_its_last_step(scene: Scene, step: str) -> None:
    scene.studio.label(5)
    row = scene.store.start_round(1, make_version(1), "me")
    scene.studio.fail[step] = StudioError("died here")
    with pytest.raises(StudioError, match="died here"):
        scene.runner.run(row)
    again = scene.store.round(row.id)
    assert again is not None
    reads = scene.studio.calls["tasks"]
    scene.runner.run(again)
    assert scene.studio.calls["tasks"] == reads + (step == "project")  # labels not read again
    assert scene.studio.version == row.version
    assert len(scene.studio.stored) == FRAMES


def test_a_version_that_is_there_in_part_is_taken_back_and_sent_anew(scene: Scene) -> None:
    scene.studio.label(5)
    row = scene.store.start_round(1, make_version(1), "me")
    scene.studio.fail["set_model_version"] = StudioError("died here")
    with pytest.raises(StudioError):
        scene.runner.run(row)
    for key in list(scene.studio.stored)[:4]:
        del scene.studio.stored[key]
    again = scene.store.round(row.id)
    assert again is not None
    scene.runner.run(again)
    assert scene.studio.calls["delete_model_version"] == 1
    assert len(scene.studio.stored) == FRAMES


def test_tasks_deleted_during_the_round_are_left_out(scene: Scene) -> None:
    scene.studio.label(5)
    row = scene.store.start_round(1, make_version(1), "me")
    scene.studio.fail["import_predictions"] = StudioError("just now")
    with pytest.raises(StudioError):
        scene.runner.run(row)
    del scene.studio.task_rows[103]
    again = scene.store.round(row.id)
    assert again is not None
    scene.runner.run(again)
    assert len(scene.studio.stored) == FRAMES - 1


def test_only_the_last_three_versions_stay(scene: Scene) -> None:
    rows = []
    for index in (5, 2, 9, 11, 0):
        scene.studio.label(index)
        rows.append(scene.round())
    assert set(scene.studio.model_versions(1)) == {row.version for row in rows[-3:]}
    folders = {path.name for path in scene.artifacts.path("1/rounds").iterdir()}
    assert folders == {row.version for row in rows[-3:]}


def test_a_clip_that_did_not_change_is_not_worked_on_again(scene: Scene, monkeypatch) -> None:
    scene.studio.label(5)
    scene.round()
    before = scene.mask(8)

    def never(*args: object, **more: object) -> None:
        raise AssertionError("propagated again")

    monkeypatch.setattr("backend.clipwork.ClipWork.propagate", never)
    row = scene.round()
    assert scene.studio.version == row.version
    np.testing.assert_array_equal(scene.mask(8), before)


def test_another_preset_works_on_a_clip_again(scene: Scene) -> None:
    scene.studio.label(5)
    scene.round()
    scene.settings = scene.settings.model_copy(update={"preset": "hvsa"})
    row = scene.round()
    (clip,) = RoundFiles(scene.artifacts, 1, row.version).read_snapshot().clips
    assert clip.reused_from is None


def test_a_label_added_to_the_configuration_keeps_classes_apart(scene: Scene) -> None:
    scene.studio.label(5)
    scene.round()
    labels = ["zebra", *scene.clip.class_names[1:]]
    scene.studio.config = make_label_config(labels)
    scene.round()
    shifted = scene.mask(5).astype(int)
    expected = scene.clip.mask(5).astype(int)
    np.testing.assert_array_equal(shifted, np.where(expected > 0, expected + 1, 0))


def test_a_round_notes_its_terms_and_a_clip_that_failed_under_them_is_tried_again(
    scene: Scene,
) -> None:
    """What the labelling configuration meant; where it differs another round is due."""
    first = scene.round()
    project = scene.store.project(1)
    assert project is not None
    assert first.figures["terms"] == project.terms
    add_second_clip(scene)
    scene.studio.label(5)
    scene.round()
    assert scene.store.pending(1) == (0, 0)
    small = scene.clip.read(1)[::2, ::2, ::-1]  # pictures of two sizes fail a clip
    cv2.imwrite(str(scene.media.folder / "other/00001.png"), small)
    scene.studio.config = make_label_config(["zebra", *scene.clip.class_names[1:]])
    row = scene.round()
    project = scene.store.project(1)
    assert project is not None
    assert project.terms == row.figures["terms"] != first.figures["terms"]
    assert scene.store.pending(1) == (1, 0)


def test_with_the_network_the_checkpoint_is_kept_and_warms_the_next_round(tmp_path) -> None:
    scene = Scene(tmp_path, method="maskloop")
    scene.studio.label(5)
    row = scene.round()
    networks = list(scene.artifacts.path(f"1/rounds/{row.version}/networks").glob("*.pt"))
    assert len(networks) == 1
    scene.studio.label(9)
    again = scene.round()
    assert again.state == "done"
    assert scene.accuracy([6, 7, 8]) > 0.9
    scene.store.close()
