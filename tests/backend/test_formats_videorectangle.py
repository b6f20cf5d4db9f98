from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.formats import FormatError
from backend.formats.videorectangle import Box, box_of, decode_tracks, drawn_boxes, encode_track
from backend.labelconfig import parse_label_config

CONFIG = parse_label_config(
    '<View><Video name="video" value="$video"/><Labels name="l" toName="video">'
    '<Label value="car"/><Label value="dog"/></Labels>'
    '<VideoRectangle name="box" toName="video"/></View>'
)


def track(boxes: dict[int, Box], frames: int = 60, **more: Any) -> dict[str, Any] | None:
    region = encode_track(
        sorted(boxes.items()),
        identity="a",
        label="dog",
        control=CONFIG.controls[0],
        to_name="video",
        frames=frames,
        fps=25.0,
        **more,
    )
    return json.loads(json.dumps(region))


side = st.floats(0, 100).map(lambda number: round(number, 3))
boxes = st.dictionaries(st.integers(0, 59), st.tuples(side, side, side, side, st.just(0.0)))


@given(boxes)
@settings(deadline=None)
def test_boxes_come_back_on_their_frames_and_nowhere_else(drawn: dict[int, Box]) -> None:
    region = track(drawn)
    if not drawn:
        assert region is None
        return
    (found,) = decode_tracks([region], CONFIG)
    assert (found.id, found.value) == ("a", 2)
    for frame in range(60):
        box = found.box(frame)
        assert (box is None) == (frame not in drawn)
        if box is not None:
            np.testing.assert_allclose(box, drawn[frame], atol=1e-3)


def test_frames_count_from_1_and_a_gap_ends_with_a_box_that_is_not_enabled() -> None:
    here = (10.0, 20.0, 30.0, 40.0, 0.0)
    region = track({0: here, 1: here, 2: here, 7: here}, frames=10, score=0.5)
    assert region is not None
    sequence = region["value"]["sequence"]
    assert [(place["frame"], place["enabled"]) for place in sequence] == [
        (1, True),
        (3, False),
        (8, False),
    ]
    assert sequence[1]["time"] == pytest.approx(3 / 25)
    assert region["value"]["framesCount"] == 10
    assert region["score"] == 0.5
    assert region["value"]["labels"] == ["dog"]


def test_a_box_up_to_the_last_frame_stays() -> None:
    region = track({8: (1, 1, 1, 1, 0), 9: (1, 1, 1, 1, 0)}, frames=10)
    assert region is not None
    assert region["value"]["sequence"][-1]["enabled"]


def test_even_motion_needs_two_places_and_a_bend_three() -> None:
    even = {frame: (float(frame), 0.0, 10.0, 10.0, 0.0) for frame in range(60)}
    region = track(even)
    assert region is not None
    assert len(region["value"]["sequence"]) == 2
    bent = {frame: (float(abs(frame - 30)), 0.0, 10.0, 10.0, 0.0) for frame in range(60)}
    region = track(bent)
    assert region is not None
    assert [place["frame"] for place in region["value"]["sequence"]] == [1, 31, 60]


def test_slow_bends_do_not_add_up() -> None:
    bent = {frame: (50 + 5e-5 * frame**2, 0.0, 10.0, 10.0, 0.0) for frame in range(300)}
    (found,) = decode_tracks([track(bent, frames=300)], CONFIG)
    worst = max(abs((found.box(frame) or (0,))[0] - box[0]) for frame, box in bent.items())
    assert worst < 1e-3


def test_the_box_around_pixels_paints_them_back() -> None:
    pixels = np.zeros((48, 85), bool)
    pixels[7:20, 33:34] = True
    box = box_of(pixels)
    assert box is not None
    (region,) = drawn_boxes([track({4: box})], CONFIG, (48, 85), 4)
    np.testing.assert_array_equal(region.pixels, pixels)
    assert (region.id, region.value) == ("a", 2)
    assert not list(drawn_boxes([track({4: box})], CONFIG, (48, 85), 5))
    assert box_of(np.zeros((3, 3), bool)) is None


def test_a_box_of_an_unknown_label_has_no_class() -> None:
    region = track({0: (0, 0, 100, 100, 0)})
    assert region is not None
    region["value"]["labels"] = ["cat"]
    (found,) = drawn_boxes([region], CONFIG, (4, 4), 0)
    assert found.value is None
    assert found.pixels.all()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "no value"),
        ({}, "no sequence"),
        ({"sequence": [3]}, "no object"),
        ({"sequence": [{"frame": 0}]}, "count from 1"),
        ({"sequence": [{"frame": 1.5}]}, "count from 1"),
        ({"sequence": [{"frame": 10**12}]}, "count from 1"),
        ({"sequence": [{"frame": 1, "x": "a"}]}, "'x' must be a number"),
        ({"sequence": [{"frame": 1, "x": 1, "y": 1, "width": 1, "height": 1e9}]}, "percent"),
    ],
)
def test_what_is_no_track_is_refused(value: Any, sentence: str) -> None:
    region = {"id": "here", "from_name": "box", "type": "videorectangle", "value": value}
    with pytest.raises(FormatError, match=f"region here.*{sentence}"):
        decode_tracks([region], CONFIG)
