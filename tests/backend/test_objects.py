from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from backend.formats.regions import Drawn
from backend.objects import Channel, ClipObjects, base_id

NAMES = ("background", "car", "dog")
SIZE = (20, 40)


def drawn(identity: str, left: int, value: int | None = 1, shape: str = "brush") -> Drawn:
    pixels = np.zeros(SIZE, bool)
    pixels[5:15, left : left + 8] = True
    return Drawn(identity, shape, value, pixels)


def paint(objects: ClipObjects, *regions: Drawn, **more: object) -> npt.NDArray[np.uint8]:
    return objects.paint(regions, SIZE, **{"uncovered": 0, **more})  # type: ignore[arg-type]


def test_classes_are_channels_where_objects_are_not_asked_for() -> None:
    objects = ClipObjects(NAMES)
    mask = paint(objects, drawn("a", 0), drawn("b", 20), drawn("c", 30, 2))
    assert objects.names == ["background", "car", "dog"]
    assert set(np.unique(mask)) == {0, 1, 2}


def test_only_the_labels_that_occur_and_those_that_were_drawn() -> None:
    objects = ClipObjects(NAMES, whole=["dog"])
    assert objects.names == ["background", "dog"]
    mask = paint(objects, drawn("a", 0))
    assert objects.names == ["background", "dog", "car"]
    assert mask.max() == 2


def test_each_region_is_an_object_with_a_name_of_its_own() -> None:
    objects = ClipObjects(NAMES, objects=True)
    paint(objects, drawn("a", 0), drawn("b", 20), drawn("c", 30, 2))
    assert objects.names == ["background", "car", "car #2", "dog"]
    assert [channel.identity for channel in objects.channels] == ["", "a", "b", "c"]


def test_a_known_id_is_that_object_wherever_it_is() -> None:
    known = [Channel("background"), Channel("car", "a"), Channel("car", "b")]
    objects = ClipObjects(NAMES, objects=True, known=known)
    mask = paint(objects, drawn("b", 0), drawn("a", 20))
    assert mask[10, 2] == 2
    assert mask[10, 22] == 1


@pytest.mark.parametrize("suffix", ["", "-1", "-i3", "-i3-2"])
def test_parts_and_pictures_are_the_same_object(suffix: str) -> None:
    assert base_id(f"a{suffix}", ["a"]) == "a"


def test_a_stranger_that_ends_like_a_part_is_another_object() -> None:
    assert base_id("q-1", ["a"]) == "q-1"


def test_a_label_that_was_changed_is_another_object() -> None:
    known = [Channel("background"), Channel("car", "a")]
    objects = ClipObjects(NAMES, objects=True, known=known)
    paint(objects, drawn("a", 0, 2))
    assert objects.channels[2] == Channel("dog", "a")


def test_a_new_region_is_the_object_that_was_predicted_there() -> None:
    known = [Channel("background"), Channel("car", "a"), Channel("car", "b")]
    objects = ClipObjects(NAMES, objects=True, known=known)
    predicted = np.zeros(SIZE, np.uint8)
    predicted[5:15, 0:8], predicted[5:15, 20:28] = 1, 2
    mask = paint(objects, drawn("new", 21), predicted=(predicted, known))
    assert mask[10, 22] == 2
    assert len(objects.channels) == 3
    mask = paint(objects, drawn("far", 31), predicted=(predicted, known))
    assert mask[10, 33] == 3  # Nothing was predicted there: a new object.


def test_without_a_prediction_it_is_the_nearest_in_the_frame_before() -> None:
    objects = ClipObjects(NAMES, objects=True)
    first = paint(objects, drawn("a", 0), drawn("b", 20))
    second = paint(objects, drawn("x", 24), drawn("y", 3), before=first)
    assert second[10, 25] == 2
    assert second[10, 4] == 1
    third = paint(objects, drawn("x2", 24), drawn("y2", 3), drawn("z", 31), before=second)
    assert len(set(np.unique(third)) - {0}) == 3


def test_unknown_labels_and_key_points() -> None:
    for asked in (False, True):
        objects = ClipObjects(NAMES, objects=asked)
        mask = paint(objects, drawn("a", 0, None))
        assert set(np.unique(mask)) == {0, 255}
        mask = paint(objects, drawn("a", 0, 1, "keypoint"))
        assert set(np.unique(mask)) == {1, 255}


def test_the_region_drawn_last_wins() -> None:
    objects = ClipObjects(NAMES, objects=True)
    mask = paint(objects, drawn("a", 0), drawn("b", 4))
    assert (mask[10, :12] == [1] * 4 + [2] * 8).all()


def test_more_objects_than_a_mask_holds_are_unknown() -> None:
    objects = ClipObjects(NAMES, objects=True)
    for number in range(300):
        mask = paint(objects, drawn(f"n{number}", 0))
    assert len(objects.channels) <= 254
    assert (mask[10, :8] == 255).all()
    assert objects.problem is not None
    assert objects.problem.startswith("has 101 objects beyond the 199 that can be told apart")
    assert ClipObjects(NAMES, objects=True).problem is None
