"""Rounds that ask for rectangles or super-pixels; Label Studio is played."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from backend.labelconfig import make_label_config, parse_label_config
from backend.querylayer import layer_for
from backend.roundfiles import RoundFiles
from backend.status import status_of
from backend.status_view import show_status
from backend.tables import Round
from tests.backend.played_rounds import FRAMES, Scene

SIZE = (72, 96)


class Asking(Scene):
    """A project that asks for samples, and a person who answers."""

    def __init__(self, folder: Path, samples: str, number: int, **settings: object) -> None:
        super().__init__(folder, **settings)
        layer = layer_for(samples, SIZE, 12, number)
        assert layer is not None
        self.layer = layer
        self.studio.config = make_label_config(self.clip.class_names[1:], queries=layer)
        self.config = parse_label_config(self.studio.config)

    def files(self, row: Round) -> RoundFiles:
        return RoundFiles(self.artifacts, 1, row.version)

    def asked(self, row: Round, index: int) -> np.ndarray:
        """(H, W) bool: what is asked for on a frame."""
        return self.artifacts.read_mask(self.files(row).query_key(100 + index)) > 0

    def label_mask(self, row: Round, index: int) -> np.ndarray:
        """The label of a frame as the round read it."""
        return self.artifacts.read_mask(self.files(row).label_key(100 + index))

    def submit(self, index: int, result: list[dict[str, Any]], number: int = 0) -> None:
        """Submit regions as the screen does: with the ids and origins of the prediction."""
        annotation = {"id": number or index, "result": result, "parent_prediction": 5}
        annotation["updated_at"] = f"2026-01-01T00:00:0{number}"
        self.studio.task_rows[100 + index]["annotations"].append(annotation)

    def accept(self, index: int) -> list[dict[str, Any]]:
        """Submit a prediction unchanged."""
        result = self.studio.prediction(index)["result"]
        self.submit(index, [{**region, "origin": "prediction"} for region in result])
        return result


def fences(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [region for region in result if region["from_name"] == "queries"]


@pytest.fixture
def rectangles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    monkeypatch.chdir(tmp_path)
    scene = Asking(tmp_path, "rectangles", 4)
    yield scene
    scene.store.close()


@pytest.fixture
def superpixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    monkeypatch.chdir(tmp_path)
    scene = Asking(tmp_path, "superpixels", 5)
    yield scene
    scene.store.close()


@pytest.mark.parametrize("samples", ["rectangles", "superpixels"])
def test_first_frames_are_asked_for_whole(samples: str, request: pytest.FixtureRequest) -> None:
    scene: Asking = request.getfixturevalue(samples)
    scene.round()
    for index in range(FRAMES):
        (region,) = scene.studio.prediction(index)["result"]
        value = region["value"]
        assert (value["x"], value["y"], value["width"], value["height"]) == (0, 0, 100, 100)
    # Nothing was drawn: the whole frame is background, and that is a label.
    scene.accept(4)
    row = scene.round()
    assert (scene.label_mask(row, 4) == 0).all()


def test_rectangles_are_outlined_on_the_masks(rectangles: Asking) -> None:
    rectangles.studio.label(5)
    row = rectangles.round()
    order = [task - 100 for task in rectangles.studio.order()]
    assert order[-1] == 5
    for place, index in enumerate(order[:-1]):
        result = rectangles.studio.prediction(index)["result"]
        drawn = fences(result)
        assert result[-len(drawn) :] == drawn
        assert len(result) > len(drawn)  # the masks are there too
        assert place < 3 or len(drawn) == 4
    assert fences(rectangles.studio.prediction(5)["result"]) == []
    # The budget is 3 frames of 4 rectangles.
    assert sum(len(fences(rectangles.studio.prediction(i)["result"])) for i in order[:3]) == 12
    assert row.figures["samples_asked"] == 12


def boxes_of(result: list[dict[str, Any]]) -> list[list[int]]:
    """The outlines of a prediction in pixels, as the status has them."""
    height, width = SIZE
    found = []
    for value in (region["value"] for region in fences(result)):
        left, top = value["x"] * width / 100, value["y"] * height / 100
        right = left + value["width"] * width / 100
        low = top + value["height"] * height / 100
        found.append([round(each) for each in (left, top, right, low)])
    return found


def test_the_status_tells_which_samples_are_asked_for(rectangles: Asking) -> None:
    rectangles.round()
    (project,) = status_of(rectangles.store, rectangles.settings)["projects"]
    assert project["asks_for"] == "rectangle:12 4"
    assert {task["samples"] for task in project["next_tasks"]} == {None}  # whole frames at first
    rectangles.studio.label(5)
    rectangles.round()
    status = status_of(rectangles.store, rectangles.settings)
    (project,) = status["projects"]
    assert project["rounds"][-1]["samples_asked"] == 12
    assert [task["task"] for task in project["next_tasks"]] == rectangles.studio.order()[:10]
    for task in project["next_tasks"]:
        shown = boxes_of(rectangles.studio.prediction(task["frame"])["result"])
        assert shown
        assert sorted(task["samples"]) == sorted(shown)
    page = io.StringIO()
    show_status(status, Console(file=page, width=300))
    left, top, right, low = project["next_tasks"][0]["samples"][0]
    assert f"x {left}–{right} y {top}–{low}" in page.getvalue()


def test_super_pixels_are_told_by_their_boxes(superpixels: Asking) -> None:
    superpixels.studio.label(5)
    row = superpixels.round()
    (project,) = status_of(superpixels.store, superpixels.settings)["projects"]
    task = project["next_tasks"][0]
    asked = superpixels.artifacts.read_mask(superpixels.files(row).query_key(task["task"]))
    assert len(task["samples"]) == asked.max()
    for number, (left, top, right, low) in enumerate(task["samples"], 1):
        ys, xs = np.nonzero(asked == number)
        assert (left, right, top, low) == (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1)


def test_only_the_inside_of_submitted_rectangles_is_learnt(rectangles: Asking) -> None:
    rectangles.studio.label(5)
    row = rectangles.round()
    index = rectangles.studio.order()[0] - 100
    asked = rectangles.asked(row, index)
    assert 0 < asked.sum() < asked.size / 2
    predicted = rectangles.mask(index)
    rectangles.accept(index)
    after = rectangles.round()
    label = rectangles.label_mask(after, index)
    np.testing.assert_array_equal(label[asked], predicted[asked])
    assert (label[~asked] == 255).all()
    # Labelled, in part: its masks are what is left to show, and Label Studio asks no more.
    assert fences(rectangles.studio.prediction(index)["result"]) == []
    assert rectangles.studio.order()[-1] - 100 in (index, 5)
    record = rectangles.files(after).read_record("toy")
    assert record.uncertainty[index] > 0
    assert record.uncertainty[5] == 0


def test_tasks_are_ordered_by_their_best_samples(rectangles: Asking) -> None:
    rectangles.studio.label(1)
    row = rectangles.round()
    worth = {}
    for index in range(FRAMES):
        if index != 1:
            arrays = rectangles.artifacts.read_arrays(
                rectangles.files(row).samples_key(100 + index)
            )
            worth[index] = np.sort(arrays["uncertainty"])[-4:].mean()
    rest = [task - 100 for task in rectangles.studio.order()][3:-1]
    values = [worth[index] for index in rest]
    assert values == sorted(values, reverse=True)


def test_a_frame_whose_label_was_taken_apart_is_no_key_frame(rectangles: Asking) -> None:
    rectangles.studio.label(5)
    rectangles.round()
    rectangles.submit(7, [])
    row = rectangles.round()
    snapshot = rectangles.files(row).read_snapshot()
    assert snapshot.clips[0].key_frames == [5]
    assert snapshot.queries == rectangles.layer


def test_several_annotations_of_a_frame_are_one_label(rectangles: Asking) -> None:
    rectangles.studio.label(5)
    row = rectangles.round()
    first = rectangles.accept(7)
    task = rectangles.studio.task_rows[107]
    task["is_labeled"] = False  # a second person is to label it too
    before = rectangles.asked(row, 7)
    row = rectangles.round()
    # It is asked for again, but not for what is labelled already.
    again = rectangles.asked(row, 7)
    assert again.any()
    assert not (again & before).any()
    second = rectangles.studio.prediction(7)["result"]
    assert fences(second)
    assert fences(second) != fences(first)
    rectangles.submit(7, [{**r, "origin": "prediction"} for r in second], number=8)
    task["is_labeled"] = True
    row = rectangles.round()
    np.testing.assert_array_equal(rectangles.label_mask(row, 7) != 255, before | again)


def test_super_pixels_come_with_their_class_and_are_learnt(superpixels: Asking) -> None:
    superpixels.studio.label(5)
    row = superpixels.round()
    index = superpixels.studio.order()[0] - 100
    result = superpixels.studio.prediction(index)["result"]
    assert {region["type"] for region in result} == {"polygon", "labels"}
    asked = superpixels.asked(row, index)
    wrong = result[1]["value"]["labels"]
    result[1]["value"]["labels"] = ["ring" if wrong != ["ring"] else "box"]
    corrected = {result[0]["id"]}
    superpixels.submit(
        index,
        [
            {**r, "origin": "prediction-changed" if r["id"] in corrected else "prediction"}
            for r in result
        ],
    )
    after = superpixels.round()
    label = superpixels.label_mask(after, index)
    # Outlines are within a pixel of the super-pixels.
    assert ((label != 255) != asked).mean() < 0.05
    name = "ring" if wrong != ["ring"] else "box"
    assert (label == superpixels.config.class_names.index(name)).sum() > 20
    # A labelled task shows its masks.
    assert {r["type"] for r in superpixels.studio.prediction(index)["result"]} == {
        "brush",
        "labels",
    }


def test_unchanged_clips_keep_what_is_asked_for(rectangles: Asking) -> None:
    rectangles.studio.label(5)
    rectangles.round()
    before = [rectangles.studio.prediction(i)["result"] for i in range(FRAMES)]
    rectangles.round()
    after = [rectangles.studio.prediction(i)["result"] for i in range(FRAMES)]
    same = [a == b for a, b in zip(before, after, strict=True)]
    assert sum(same) >= FRAMES - 6  # other seeds choose other samples of the chosen frames


def test_another_size_of_sample_is_another_question(rectangles: Asking) -> None:
    rectangles.studio.label(5)
    rectangles.round()
    rectangles.studio.config = rectangles.studio.config.replace("rectangle:12", "rectangle:24")
    row = rectangles.round()
    index = rectangles.studio.order()[0] - 100
    assert {
        round(f["value"]["height"] * 0.72)
        for f in fences(rectangles.studio.prediction(index)["result"])
    } == {24}
    assert rectangles.files(row).read_snapshot().clips[0].reused_from is None


def test_frames_asked_for_in_the_end(superpixels: Asking) -> None:
    superpixels.studio.label(5)
    superpixels.round()
    index = superpixels.studio.order()[0] - 100
    superpixels.accept(index)
    superpixels.studio.config = superpixels.studio.config.replace("superpixel:12", "frame")
    row = superpixels.round()
    # Masks on every frame; one rectangle around each that may still be labelled.
    for each in range(FRAMES):
        result = superpixels.studio.prediction(each)["result"]
        assert {r["type"] for r in result} >= {"brush"}
        assert len(fences(result)) == (each not in (5, index))
    # What was labelled in part is still a label of that part.
    label = superpixels.label_mask(row, index)
    assert 0 < (label != 255).mean() < 0.5
    # And a frame that is labelled now is labelled whole.
    other = superpixels.studio.order()[0] - 100
    superpixels.accept(other)
    row = superpixels.round()
    assert (superpixels.label_mask(row, other) != 255).all()


def test_a_layer_that_is_taken_away_makes_no_whole_labels(rectangles: Asking) -> None:
    rectangles.studio.label(5)
    row = rectangles.round()
    rectangles.accept(7)
    asked = rectangles.asked(row, 7)
    rectangles.studio.config = make_label_config(rectangles.clip.class_names[1:])
    row = rectangles.round()
    np.testing.assert_array_equal(rectangles.label_mask(row, 7) != 255, asked)
    assert all(not fences(rectangles.studio.prediction(i)["result"]) for i in range(FRAMES))


def test_a_round_that_died_asks_for_the_same(rectangles: Asking) -> None:
    from backend.rounds import make_version
    from backend.studio import StudioError

    rectangles.studio.label(5)
    row = rectangles.store.start_round(1, make_version(1), "me")
    rectangles.studio.fail["import_predictions"] = StudioError("died here")
    with pytest.raises(StudioError):
        rectangles.runner.run(row)
    asked = [rectangles.asked(row, i) for i in range(FRAMES) if i != 5]
    again = rectangles.store.round(row.id)
    assert again is not None
    rectangles.runner.run(again)
    assert all(
        (rectangles.asked(row, i) == mask).all()
        for i, mask in zip([i for i in range(FRAMES) if i != 5], asked, strict=True)
    )
    assert len(rectangles.studio.stored) == FRAMES


def test_super_pixels_are_worked_out_once(
    superpixels: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    superpixels.studio.label(5)
    row = superpixels.round()
    before = [superpixels.asked(row, i) for i in range(FRAMES) if i != 5]

    def never(*_: Any) -> Any:
        raise AssertionError("worked out again")

    monkeypatch.setattr("backend.samplework.partition", never)
    superpixels.settings.unlabelled = "ignore"  # other masks: samples are valued anew
    row = superpixels.round()
    assert superpixels.files(row).read_snapshot().clips[0].reused_from is None
    after = [superpixels.asked(row, i) for i in range(FRAMES) if i != 5]
    assert all(mask.any() for mask in (*before, *after))
