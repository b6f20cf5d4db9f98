from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.formats import EncodeOptions, FormatError, decode, encode
from backend.labelconfig import make_label_config, parse_label_config
from backend.objects import base_id

CONFIG = parse_label_config(make_label_config(["car", "road"]))
SIZE = (6, 8)


def mask() -> np.ndarray:
    result = np.zeros(SIZE, np.uint8)
    result[1:3, 2:5] = 1
    result[4:, :] = 2
    return result


def region(pixels: np.ndarray, label: str, **more: Any) -> dict[str, Any]:
    found = encode(pixels.astype(np.uint8), CONFIG)[0]
    return {**found, "value": {**found["value"], "brushlabels": [label]}, **more}


def test_there_and_back() -> None:
    results = encode(mask(), CONFIG, scores={1: 0.5})
    np.testing.assert_array_equal(decode(results, CONFIG, SIZE), mask())
    assert [result["value"]["brushlabels"] for result in results] == [["car"], ["road"]]
    assert [result.get("score") for result in results] == [0.5, None]
    assert len({result["id"] for result in results}) == 2
    assert {(result["original_width"], result["original_height"]) for result in results} == {(8, 6)}


def test_background_and_unknown_pixels_are_no_region() -> None:
    assert encode(np.zeros(SIZE, np.uint8), CONFIG) == []
    assert encode(np.full(SIZE, 255, np.uint8), CONFIG) == []


def test_an_object_under_two_labels_on_a_frame_is_two_regions() -> None:
    # A person gave it another label on one frame only: between, both are there.
    channels = [("background", ""), ("car", "a"), ("road", "a")]
    results = encode(mask(), CONFIG, channels=channels)
    assert [result["id"] for result in results] == ["a", "a-1"]
    np.testing.assert_array_equal(decode(results, CONFIG, SIZE), mask())
    assert base_id("a-1", ["a"]) == "a"  # and comes back as what it is


def test_ids_are_the_same_in_every_picture() -> None:
    assert encode(mask(), CONFIG)[0]["id"] == encode(mask()[::-1], CONFIG)[0]["id"]


def test_an_object_has_its_own_id() -> None:
    channels = [("background", ""), ("road", "one"), ("road", "two")]
    results = encode(mask(), CONFIG, channels=channels)
    said = [(result["id"], result["value"]["brushlabels"]) for result in results]
    assert said == [("one", ["road"]), ("two", ["road"])]


@pytest.mark.parametrize(("unlabelled", "value"), [("background", 0), ("ignore", 255)])
def test_what_is_left_uncovered(unlabelled: Any, value: int) -> None:
    results = encode(mask(), CONFIG)[:1]
    decoded = decode(results, CONFIG, SIZE, unlabelled=unlabelled)
    np.testing.assert_array_equal(decoded, np.where(mask() == 1, 1, value))
    assert (decode([], CONFIG, SIZE, unlabelled=unlabelled) == value).all()


def test_the_region_drawn_last_wins() -> None:
    every = np.ones(SIZE, bool)
    left = every.copy()
    left[:, 4:] = False
    decoded = decode([region(every, "car"), region(left, "road")], CONFIG, SIZE)
    np.testing.assert_array_equal(decoded, np.where(left, 2, 1))
    assert (decode([region(left, "road"), region(every, "car")], CONFIG, SIZE) == 1).all()


@pytest.mark.parametrize("labels", [["gone"], [], None])
def test_a_region_of_no_known_label_is_unknown(labels: Any) -> None:
    pixels = mask() == 1
    found = region(pixels, "car")
    found["value"]["brushlabels"] = labels
    decoded = decode([found], CONFIG, SIZE)
    np.testing.assert_array_equal(decoded, np.where(pixels, 255, 0))


def test_what_is_no_mask_is_passed_over() -> None:
    extras = [
        {"type": "choices", "from_name": "c", "value": {"choices": ["a"]}},
        {"type": "relation", "from_id": "a", "to_id": "b"},
        {"type": "textarea", "from_name": "t", "id": "x", "value": {"text": ["a"]}},
    ]
    np.testing.assert_array_equal(decode(extras + encode(mask(), CONFIG), CONFIG, SIZE), mask())


def test_masks_on_another_picture_are_passed_over() -> None:
    second = '<Image name="b" value="$b"/><BrushLabels name="b2" toName="b"><Label value="car"/>'
    text = make_label_config(["car"]).replace("</View>", f"{second}</BrushLabels></View>")
    other = region(mask() == 1, "car", from_name="b2", to_name="b")
    assert not decode([other], parse_label_config(text), SIZE).any()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"original_width": 9}, "9×6 pixels, and the picture is now 8×6"),
        ({"original_height": None}, "pixels"),
        ({"value": None}, "no value"),
        ({"value": {"format": "png"}}, "'rle' can be read"),
        ({"value": {"format": "rle", "rle": [1, 2, 3]}}, "bytes"),
        ({"from_name": "tag"}, "a tag called 'tag', which the labelling configuration doesn't"),
        ({"from_name": None}, "a tag called None"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError, match=f"region here.*{sentence}"):
        decode([region(mask() == 1, "car", id="here", **change)], CONFIG, SIZE)


def test_key_points_leave_the_rest_unknown() -> None:
    config = parse_label_config(
        '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
        '<Label value="car"/></BrushLabels><KeyPointLabels name="k" toName="image">'
        '<Label value="car"/></KeyPointLabels></View>'
    )
    point = {
        "id": "p",
        "from_name": "k",
        "type": "keypointlabels",
        "original_width": 8,
        "original_height": 6,
        "value": {"x": 50, "y": 50, "width": 0.1, "keypointlabels": ["car"]},
    }
    expected = np.full(SIZE, 255, np.uint8)
    expected[3, 4] = 1
    np.testing.assert_array_equal(decode([point], config, SIZE), expected)


def test_each_label_is_said_with_the_tag_that_has_it() -> None:
    config = parse_label_config(
        '<View><Image name="image" value="$image"/>'
        '<PolygonLabels name="p" toName="image"><Label value="car"/><Label value="sky"/>'
        '</PolygonLabels><BitmaskLabels name="m" toName="image"><Label value="car"/>'
        "</BitmaskLabels></View>"
    )
    results = encode(mask(), config)
    assert [(result["type"], result["from_name"]) for result in results] == [
        ("bitmasklabels", "m"),
        ("polygonlabels", "p"),
    ]
    np.testing.assert_array_equal(decode(results, config, SIZE), mask())


@pytest.mark.parametrize("tag", ["Brush", "Bitmask", "Polygon"])
def test_labels_beside_the_tag(tag: str) -> None:
    config = parse_label_config(
        f'<View><Image name="image" value="$image"/><{tag} name="draw" toName="image"/>'
        '<Labels name="label" toName="image"><Label value="car"/><Label value="sky"/></Labels>'
        "</View>"
    )
    results = encode(mask(), config)
    pairs = [(result["id"], result["from_name"], result["type"]) for result in results]
    assert pairs[0][0] == pairs[1][0]
    assert [pair[1:] for pair in pairs[:2]] == [("draw", tag.lower()), ("label", "labels")]
    np.testing.assert_array_equal(decode(results, config, SIZE), mask())


def test_pictures_of_one_task_are_kept_apart() -> None:
    one, two = mask(), mask()[::-1].copy()
    results = encode(one, CONFIG, item=0) + encode(two, CONFIG, item=1)
    np.testing.assert_array_equal(decode(results, CONFIG, SIZE, item=0), one)
    np.testing.assert_array_equal(decode(results, CONFIG, SIZE, item=1), two)
    assert not decode(results, CONFIG, SIZE, item=2).any()


def test_specks_are_left_out_where_that_is_wanted() -> None:
    speckled = mask()
    speckled[0, 7] = 1
    results = encode(speckled, CONFIG, options=EncodeOptions(min_area=2))
    np.testing.assert_array_equal(decode(results, CONFIG, SIZE), mask())


def test_a_picture_turned_on_the_screen_is_read_as_it_is() -> None:
    results = [result | {"image_rotation": 90} for result in encode(mask(), CONFIG)]
    np.testing.assert_array_equal(decode(results, CONFIG, SIZE), mask())


def test_region_ids_differ_between_pictures_of_a_task() -> None:
    ids = [r["id"] for item in range(3) for r in encode(mask(), CONFIG, item=item)]
    assert len(set(ids)) == len(ids)
