"""Rounds with the real model on a small rendered clip; Label Studio is played."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.artifacts import Artifacts
from backend.formats import decode, encode
from backend.labelconfig import make_label_config, parse_label_config
from backend.roundfiles import RoundFiles
from backend.rounds import (
    ClipFailedError,
    NothingToServeError,
    RoundRunner,
    _failure,
    make_version,
)
from backend.settings import load_settings
from backend.status import status_of
from backend.store import Store
from backend.studio import StudioError
from backend.tables import Round
from model.checkpoint import load_checkpoint
from model.synthetic import render_clip
from selection.clicks import boundary_clicks
from tests.backend.played_studio import Folder, PlayedStudio

FRAMES = 12


class Scene:
    def __init__(self, folder: Path, **settings: object) -> None:
        self.clip = render_clip(FRAMES, (96, 72), seed=3)
        for index in range(FRAMES):
            path = folder / "media" / "toy" / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), self.clip.read(index)[..., ::-1])
        chosen = {"finetune_seconds": 1, "budget": 3, "method": "flow", **settings}
        self.settings = load_settings(model_dir=folder / "state", **chosen)
        self.store = Store(self.settings.resolved_database_url)
        self.artifacts = Artifacts(self.settings.model_dir / "projects")
        self.studio = PlayedStudio(self.clip, folder)
        self.media = Folder(folder / "media")
        self.store.ring(1)

    @property
    def runner(self) -> RoundRunner:
        """A runner as a restarted worker has it: it remembers nothing."""
        return RoundRunner(
            self.store, self.artifacts, self.studio, self.media, self.settings  # type: ignore[arg-type]
        )  # fmt: skip

    def round(self) -> Round:
        row = self.store.start_round(1, make_version(1), "me")
        self.runner.run(row)
        done = self.store.round(row.id)
        assert done is not None
        return done

    def mask(self, index: int) -> np.ndarray:
        """The published mask of a frame."""
        config = parse_label_config(self.studio.config)
        result = self.studio.prediction(index)["result"]
        return decode(result, config, self.clip.mask(index).shape)

    def miou(self, indices: list[int]) -> float:
        """Of the published masks, over these frames and the classes that occur."""
        pairs = [(self.mask(i), self.clip.mask(i)) for i in indices]
        scores = []
        for label in range(len(self.clip.class_names)):
            union = sum(int(((a == label) | (b == label)).sum()) for a, b in pairs)
            both = sum(int(((a == label) & (b == label)).sum()) for a, b in pairs)
            if union:
                scores.append(both / union)
        return float(np.mean(scores))

    def accuracy(self, indices: list[int]) -> float:
        return float(np.mean([(self.mask(i) == self.clip.mask(i)).mean() for i in indices]))


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


def add_second_clip(scene: Scene) -> None:
    """A clip of the first two pictures, its first frame labelled."""
    for index in (0, 1):
        data = {"image": f"other/{index:05d}.png", "clip": "other", "frame": index}
        scene.studio.task_rows[200 + index] = {"id": 200 + index, "data": data, "annotations": []}
        path = scene.media.folder / "other" / f"{index:05d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((scene.media.folder / "toy" / f"{index:05d}.png").read_bytes())
    scene.studio.label(0)
    annotations = scene.studio.task_rows[100]["annotations"]
    scene.studio.task_rows[200]["annotations"] = annotations
    scene.studio.task_rows[100]["annotations"] = []


def test_a_missing_picture_spoils_its_clip_only_which_is_tried_again(scene: Scene) -> None:
    add_second_clip(scene)
    scene.studio.label(5)
    scene.round()
    before = scene.mask(8)
    (scene.media.folder / "toy/00003.png").unlink()
    scene.studio.label(6)
    row = scene.round()
    np.testing.assert_array_equal(scene.mask(8), before)
    assert scene.studio.version == row.version
    project = scene.store.project(1)
    assert project is not None
    assert project.error is not None
    assert "00003.png" in project.error
    assert scene.store.pending(1)[0] == 1  # the label of frame 6 still counts as new
    path = scene.media.folder / "toy/00003.png"
    cv2.imwrite(str(path), scene.clip.read(3)[..., ::-1])
    scene.round()
    assert scene.store.pending(1) == (0, 0)
    project = scene.store.project(1)
    assert project is not None
    assert project.error is None


def test_when_every_clip_fails_nothing_is_published(scene: Scene) -> None:
    scene.studio.label(5)
    first = scene.round()
    (scene.media.folder / "toy/00003.png").unlink()
    scene.studio.label(6)
    row = scene.store.start_round(1, make_version(1), "me")
    with pytest.raises(ClipFailedError, match=r"00003\.png"):
        scene.runner.run(row)
    assert scene.studio.version == first.version


def test_a_damaged_network_is_named_and_the_one_before_it_used(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path, method="network")
    rows = []
    for index in (5, 9):
        scene.studio.label(index)
        rows.append(scene.round())
    folder = scene.artifacts.path(f"1/rounds/{rows[1].version}/networks")
    (damaged,) = folder.glob("*.pt")
    damaged.write_bytes(damaged.read_bytes()[:100])
    scene.studio.label(2)
    row = scene.round()
    notes = row.figures["fits"]["toy"]["notes"]
    assert any(damaged.name in note for note in notes)
    (network,) = scene.artifacts.path(f"1/rounds/{row.version}/networks").glob("*.pt")
    _, metadata = load_checkpoint(network)
    assert metadata["parent"] == rows[0].version
    scene.store.close()


def test_a_label_that_cannot_be_read_is_named_and_the_others_count(scene: Scene) -> None:
    scene.studio.label(5)
    scene.studio.label(2)
    scene.studio.task_rows[102]["annotations"][0]["result"][0]["value"]["rle"] = [1, 2, 3]
    row = scene.round()
    assert row.labels == 1
    project = scene.store.project(1)
    assert project is not None
    assert any("task 102" in problem for problem in project.problems)


def test_pictures_that_were_replaced_are_read_anew_when_a_person_says_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.studio.label(5)
    scene.round()
    read: list[str] = []
    monkeypatch.setattr(
        scene.media,
        "image",
        lambda url, task_id=None: read.append(url) or Folder.image(scene.media, url, task_id),
    )
    assert scene.round().figures["refreshes"] == 0
    assert set(read) == {"toy/00005.png"}  # for the label's size; nothing has changed
    read.clear()
    scene.store.set_project(1, refreshes=1)
    row = scene.round()
    assert row.figures["refreshes"] == 1
    assert {url.partition("#")[2] for url in read} == {"maskloop-edition=1"}


def test_a_configuration_that_cannot_be_served_stops_the_round_with_a_sentence(scene) -> None:
    scene.studio.config = "<View/>"
    row = scene.store.start_round(1, make_version(1), "me")
    with pytest.raises(NothingToServeError, match="Image"):
        scene.runner.run(row)


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
    (scene.media.folder / "other/00001.png").unlink()
    scene.studio.config = make_label_config(["zebra", *scene.clip.class_names[1:]])
    row = scene.round()
    project = scene.store.project(1)
    assert project is not None
    assert project.terms == row.figures["terms"] != first.figures["terms"]
    assert scene.store.pending(1) == (1, 0)


def test_of_many_clips_that_failed_a_few_are_told() -> None:
    sentence = _failure({f"c{i}": "Its picture is gone." for i in range(9)})
    assert sentence.count("tried again: Its picture is gone. ") == 3
    assert sentence.endswith("So it is with 6 more clips.")


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
