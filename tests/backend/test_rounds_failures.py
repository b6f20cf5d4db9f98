"""Rounds in which pictures, networks, labels or the configuration fail."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from backend.clipwork import ClipWork
from backend.media import MediaError
from backend.rounds import (
    ClipFailedError,
    NothingToServeError,
    _failure,
    make_version,
)
from backend.status import status_of
from backend.sync import look, remember
from model.checkpoint import load_checkpoint
from tests.backend.played_rounds import Scene, add_second_clip
from tests.backend.played_studio import Folder


@pytest.fixture
def scene(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path)
    yield scene
    scene.store.close()


def pictures(scene: Scene, indices: Iterable[int]) -> list[Path]:
    return [scene.media.folder / f"toy/{index:05d}.png" for index in indices]


def test_a_picture_that_cannot_be_read_holds_nothing_up(scene: Scene) -> None:
    (path,) = pictures(scene, [3])
    path.write_bytes(path.read_bytes()[:200])
    row = scene.round()
    assert scene.store.predictions(row.id)[103].rank == max(
        prediction.rank for prediction in scene.store.predictions(row.id).values()
    )
    scene.studio.label(5)
    scene.round()
    for index in (2, 3, 4):
        assert scene.mask(index).any()
    project = status_of(scene.store, scene.settings, 1)["projects"][0]
    assert project["error"] is None
    (problem,) = project["problems"]
    assert problem.startswith("Frame 3 of clip 'toy' has the mask of the frames beside it")
    assert "task 103" in problem
    assert "maskloop refresh 1" in problem
    assert 103 not in [task["task"] for task in project["next_tasks"][:-1]]
    # A round later it is still said; mended and fetched anew it is over.
    scene.round()
    assert status_of(scene.store, scene.settings, 1)["projects"][0]["problems"] == [problem]
    cv2.imwrite(str(path), scene.clip.read(3)[..., ::-1])
    scene.store.set_project(1, refreshes=1)
    scene.round()
    assert status_of(scene.store, scene.settings, 1)["projects"][0]["problems"] == []


def test_a_label_on_a_picture_that_is_gone_is_told_and_the_others_count(scene: Scene) -> None:
    (path,) = pictures(scene, [3])
    path.unlink()
    for index in (3, 5):
        scene.studio.label(index)
    row = scene.round()
    assert row.labels == 1
    problems = status_of(scene.store, scene.settings, 1)["projects"][0]["problems"]
    assert any(problem.startswith("The label of task 103") for problem in problems)
    assert scene.mask(4).any()


def test_missing_pictures_spoil_their_clip_only_which_is_tried_again(scene: Scene) -> None:
    add_second_clip(scene)
    scene.studio.label(5)
    scene.round()
    before = scene.mask(8)
    gone = pictures(scene, [2, 3, 9])
    for path in gone:
        path.unlink()
    scene.studio.label(6)
    row = scene.round()
    np.testing.assert_array_equal(scene.mask(8), before)
    assert scene.studio.version == row.version
    project = scene.store.project(1)
    assert project is not None
    assert project.error is not None
    assert "toy/0000" in project.error
    assert scene.store.pending(1)[0] == 1  # the label of frame 6 still counts as new
    assert scene.store.untried(1) == (0, 0, 0)  # but has been tried
    for path in gone:
        cv2.imwrite(str(path), scene.clip.read(int(path.stem))[..., ::-1])
    scene.round()
    assert scene.store.pending(1) == (0, 0)
    project = scene.store.project(1)
    assert project is not None
    assert project.error is None


class Flaky(Folder):
    """Pictures some of which can't be had for now: Label Studio is being restarted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.away: set[str] = set()

    def image(self, url: str, task_id: int | None = None) -> Path:
        if url in self.away:
            raise MediaError(f"{url} was answered with 502 Bad Gateway.")
        return super().image(url, task_id)


def test_a_label_is_not_lost_when_its_picture_cannot_be_had_for_now(scene: Scene) -> None:
    scene.media = Flaky(scene.media.folder)
    scene.studio.label(5)
    first = scene.round()
    scene.studio.label(9)
    scene.media.away = {"toy/00009.png"}
    row = scene.store.start_round(1, make_version(1), "me")
    with pytest.raises(ClipFailedError, match="502"):
        scene.runner.run(row)
    assert scene.studio.version == first.version
    scene.media.away = set()
    scene.runner.run(scene.store.round(row.id))
    assert scene.store.round(row.id).labels == 2
    np.testing.assert_array_equal(scene.mask(9), scene.clip.mask(9))


def test_a_clip_whose_label_cannot_be_had_for_now_keeps_its_masks(scene: Scene) -> None:
    scene.media = Flaky(scene.media.folder)
    add_second_clip(scene)
    scene.studio.label(5)
    scene.round()
    before = scene.mask(8)
    scene.studio.label(9)
    scene.media.away = {"toy/00009.png"}
    row = scene.round()
    assert scene.studio.version == row.version
    np.testing.assert_array_equal(scene.mask(8), before)
    assert scene.store.pending(1)[0] == 1
    scene.media.away = set()
    assert scene.round().labels == 3
    assert scene.store.pending(1)[0] == 0


def test_earlier_masks_keep_their_labels_when_the_configuration_changes(scene: Scene) -> None:
    add_second_clip(scene)
    scene.studio.label(5)
    scene.round()
    before = scene.mask(8)
    # A label is put before the others, so that each class has another number.
    added = scene.studio.config.replace("<Label ", '<Label value="sky"/><Label ', 1)
    scene.studio.config = added
    for path in pictures(scene, [2, 3, 9]):
        path.unlink()
    scene.round()
    after = scene.mask(8)
    assert before.any()
    np.testing.assert_array_equal(after, np.where(before > 0, before + 1, before))


def test_a_clip_that_failed_to_learn_learns_when_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path, method="maskloop")
    learn = ClipWork.finetune

    def fail_toy(work: ClipWork, **values: Any) -> dict[str, Any]:
        if len(work.source) > 2:
            raise MediaError("toy/00001.png was answered with 502 Bad Gateway.")
        return learn(work, **values)

    scene.studio.label(5)
    with monkeypatch.context() as patch:
        patch.setattr("backend.clipwork.ClipWork.finetune", fail_toy)
        row = scene.store.start_round(1, make_version(1), "me")
        with pytest.raises(ClipFailedError, match="502"):
            scene.runner.run(row)  # of the only clip that is labelled nothing is published
        add_second_clip(scene)
        label = scene.studio.task_rows[200]["annotations"]
        scene.studio.label(5)
        scene.store.set_round(row.id, state="failed")
        first = scene.round()
    assert scene.studio.task_rows[200]["annotations"] == label
    assert "502" in (first.error or "")
    again = scene.round()
    assert again.error is None
    assert again.figures["fits"]["toy"]["steps"] > 0
    assert "other" not in again.figures["fits"]  # which had learnt
    scene.store.close()


def test_after_a_power_cut_damaged_files_are_made_anew(scene: Scene) -> None:
    scene.studio.label(5)
    for name in ("snapshot.json", "clips/*.npz"):
        row = scene.round()
        (damaged,) = scene.artifacts.path(f"1/rounds/{row.version}").glob(name)
        damaged.write_bytes(b"")
        row = scene.round()
        assert scene.studio.version == row.version
        np.testing.assert_array_equal(scene.mask(5), scene.clip.mask(5))


def test_when_every_clip_fails_nothing_is_published(scene: Scene) -> None:
    scene.studio.label(5)
    first = scene.round()
    for path in pictures(scene, [2, 3, 9]):
        path.unlink()
    scene.studio.label(6)
    row = scene.store.start_round(1, make_version(1), "me")
    with pytest.raises(ClipFailedError, match=r"toy/0000"):
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

    def told() -> bool:
        (project,) = status_of(scene.store, scene.settings, 1)["projects"]
        return any("task 102" in problem for problem in project["problems"])

    assert told()
    scene.studio.label(7)
    remember(scene.store, 1, look(scene.studio, 1))  # as the worker does on the next bell
    assert told()


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


def test_of_many_clips_that_failed_a_few_are_told() -> None:
    sentence = _failure({f"c{i}": "Its picture is gone." for i in range(9)})
    assert sentence.count("tried again: Its picture is gone. ") == 3
    assert sentence.endswith("So it is with 6 more clips.")
