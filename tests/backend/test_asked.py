"""Which pixels of an annotation count, case by case."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.asked import QUERY_ID, Submitted, read_answer
from backend.formats import FormatError
from backend.formats.brush import encode_rle
from backend.labelconfig import make_label_config, parse_label_config
from backend.objects import ClipObjects
from backend.querylayer import layer_for

SIZE = (40, 60)
RECTANGLES = parse_label_config(
    make_label_config(["car", "road"], queries=layer_for("rectangles", SIZE, 10))
)
SUPERPIXELS = parse_label_config(
    make_label_config(["car", "road"], queries=layer_for("superpixels", SIZE, 10))
)


def box(rows: slice, columns: slice) -> np.ndarray:
    pixels = np.zeros(SIZE, bool)
    pixels[rows, columns] = True
    return pixels


LEFT, RIGHT = box(slice(0, 20), slice(0, 30)), box(slice(10, 40), slice(40, 60))


def fence(pixels: np.ndarray, **more: Any) -> dict[str, Any]:
    rows, columns = np.nonzero(pixels)
    height, width = SIZE
    value = {
        "x": 100 * columns.min() / width,
        "y": 100 * rows.min() / height,
        "width": 100 * (columns.max() + 1 - columns.min()) / width,
        "height": 100 * (rows.max() + 1 - rows.min()) / height,
        "rotation": 0,
        "rectanglelabels": ["Label inside these"],
    }
    return region(f"{QUERY_ID}1", "queries", "rectanglelabels", value, **more)


def brush(pixels: np.ndarray, label: str, **more: Any) -> list[dict[str, Any]]:
    """A region as either configuration writes it."""
    value = {"format": "rle", "rle": encode_rle(pixels)}
    identity = str(more.pop("id", f"r{label}{pixels.sum()}"))
    named = region(identity, "brush", "brushlabels", {**value, "brushlabels": [label]}, **more)
    apart = region(identity, "label", "labels", {**value, "labels": [label]}, **more)
    return [named, apart]


def region(identity: str, name: str, kind: str, value: Any, **more: Any) -> dict[str, Any]:
    height, width = SIZE
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    return {"id": identity, "from_name": name, "type": kind, "value": value, **size, **more}


def read(config: Any, results: list[dict[str, Any]], predicted: bool = True) -> np.ndarray:
    """The mask that the annotation is read as."""
    answer = read_answer(Submitted(results, predicted), config, SIZE)
    painted = ClipObjects(config.class_names).paint(answer.regions, SIZE, uncovered=0)
    return np.where(answer.known, painted, 255)


PREDICTED: dict[str, Any] = {"origin": "prediction"}


class TestRectangles:
    def test_inside_counts_and_outside_is_unknown(self) -> None:
        car = box(slice(5, 30), slice(10, 50))
        mask = read(RECTANGLES, [*brush(car, "car", **PREDICTED), fence(LEFT, **PREDICTED)])
        assert (mask[LEFT & car] == 1).all()
        assert (mask[LEFT & ~car] == 0).all()  # what is left free in there is background
        assert (mask[~LEFT] == 255).all()

    def test_what_was_drawn_outside_does_not_count_while_a_rectangle_is_there(self) -> None:
        mask = read(RECTANGLES, [fence(LEFT, **PREDICTED), *brush(RIGHT, "car", origin="manual")])
        assert (mask[LEFT] == 0).all()
        assert (mask[~LEFT] == 255).all()

    def test_moved_and_added_rectangles_count_where_they_are(self) -> None:
        moved = fence(RIGHT, origin="prediction-changed")
        added = fence(LEFT, origin="manual")
        assert (read(RECTANGLES, [moved, added]) == np.where(LEFT | RIGHT, 0, 255)).all()

    def test_without_a_rectangle_what_a_person_drew_or_changed_counts(self) -> None:
        shown = brush(box(slice(0, 5), slice(0, 60)), "road", **PREDICTED)
        drawn = brush(LEFT & box(slice(6, 40), slice(0, 60)), "car", origin="manual")
        changed = brush(RIGHT, "road", origin="prediction-changed", id="x")
        mask = read(RECTANGLES, [*shown, *drawn, *changed])
        expected = np.full(SIZE, 255)
        expected[LEFT] = 1
        expected[RIGHT] = 2
        expected[:6] = 255
        np.testing.assert_array_equal(mask, expected)

    def test_all_taken_away_is_no_label(self) -> None:
        assert (read(RECTANGLES, []) == 255).all()

    def test_a_label_that_never_saw_a_query_is_of_the_whole_frame(self) -> None:
        mask = read(RECTANGLES, brush(LEFT, "car"), predicted=False)
        np.testing.assert_array_equal(mask, np.where(LEFT, 1, 0))

    def test_the_query_layer_must_fit_the_picture(self) -> None:
        with pytest.raises(FormatError, match="query-1"):
            read(RECTANGLES, [fence(LEFT) | {"original_width": 61}])
        with pytest.raises(FormatError, match="no value"):
            read(RECTANGLES, [fence(LEFT) | {"value": None}])


class TestSuperpixels:
    def test_they_count_where_they_are_and_nothing_else(self) -> None:
        right = brush(LEFT, "background", id=f"{QUERY_ID}1", **PREDICTED)
        wrong = brush(RIGHT, "road", id=f"{QUERY_ID}2", origin="prediction-changed")
        mask = read(SUPERPIXELS, [*right, *wrong])
        expected = np.full(SIZE, 255)
        expected[LEFT], expected[RIGHT] = 0, 2
        np.testing.assert_array_equal(mask, expected)

    def test_a_deleted_one_is_unknown(self) -> None:
        left = brush(LEFT, "car", id=f"{QUERY_ID}1", **PREDICTED)
        assert (read(SUPERPIXELS, left)[RIGHT] == 255).all()

    def test_what_is_drawn_besides_counts(self) -> None:
        asked = brush(LEFT, "car", id=f"{QUERY_ID}1", **PREDICTED)
        mask = read(SUPERPIXELS, [*asked, *brush(RIGHT, "road", origin="manual")])
        assert (mask[RIGHT] == 2).all()
        assert (mask[~LEFT & ~RIGHT] == 255).all()

    def test_a_rectangle_asks_for_all_that_is_inside(self) -> None:
        # As in the first round, where there are no super-pixels yet.
        everything = fence(np.ones(SIZE, bool), **PREDICTED)
        mask = read(SUPERPIXELS, [*brush(LEFT, "car", origin="manual"), everything])
        np.testing.assert_array_equal(mask, np.where(LEFT, 1, 0))

    def test_masks_that_were_only_shown_are_no_label(self) -> None:
        shown = brush(LEFT, "car", **PREDICTED)
        assert (read(SUPERPIXELS, shown) == 255).all()


class TestOtherSamplesNow:
    """Labels keep their meaning when the configuration asks for something else."""

    FRAMES = parse_label_config(make_label_config(["car", "road"]))

    def test_rectangles_when_the_layer_is_gone(self) -> None:
        car = box(slice(5, 30), slice(10, 50))
        mask = read(self.FRAMES, [*brush(car, "car", **PREDICTED)[:1], fence(LEFT, **PREDICTED)])
        assert (mask[LEFT & car] == 1).all()
        assert (mask[~LEFT] == 255).all()

    def test_rectangles_when_super_pixels_are_asked_for(self) -> None:
        drawn = brush(RIGHT, "car", origin="manual")
        mask = read(SUPERPIXELS, [fence(LEFT, **PREDICTED), *drawn])
        np.testing.assert_array_equal(mask, np.where(LEFT, 0, 255))

    def test_super_pixels_when_rectangles_are_asked_for(self) -> None:
        asked = brush(LEFT, "car", id=f"{QUERY_ID}1", **PREDICTED)[:1]
        drawn = brush(RIGHT, "road", origin="manual")[:1]
        expected = np.full(SIZE, 255)
        expected[LEFT], expected[RIGHT] = 1, 2
        np.testing.assert_array_equal(read(RECTANGLES, [*asked, *drawn]), expected)
        np.testing.assert_array_equal(read(self.FRAMES, [*asked, *drawn]), expected)


@pytest.mark.parametrize(
    ("annotation", "predicted"),
    [
        ({"result": []}, False),
        ({"result": [], "parent_prediction": 4}, True),
        ({"result": [{"origin": "prediction"}], "parent_prediction": None}, True),
        ({"result": [{"origin": "prediction-changed"}]}, True),
        ({"result": [{"origin": "manual"}, {}]}, False),
    ],
)
def test_whether_queries_were_seen(annotation: dict[str, Any], predicted: bool) -> None:
    assert Submitted.of(annotation).predicted is predicted
