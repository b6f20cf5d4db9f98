"""Which frames play the labelled ones."""

import pytest

from backend.keyframes import parse_keys


@pytest.mark.parametrize(
    ("text", "length", "frames"),
    [
        ("every:15", 40, [0, 15, 30]),
        ("every:1", 3, [0, 1, 2]),
        ("every:50", 3, [0]),
        ("first", 9, [0]),
        ("uniform:3", 11, [0, 5, 10]),
        ("uniform:1", 11, [5]),
        ("uniform:9", 3, [0, 1, 2]),
        ("12, 0,40,12", 41, [0, 12, 40]),
        ("7", 8, [7]),
    ],
)
def test_reads(text, length, frames):
    assert parse_keys(text).of(length) == frames


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("every", "every needs a number of 1 or more, as in every:15"),
        ("every:0", "every needs a number"),
        ("uniform:-2", "uniform needs a number"),
        ("uniform:x", "uniform needs a number"),
        ("first:2", "expected every:15, uniform:10, first, or frame numbers"),
        ("", "expected every:15"),
        ("0,,3", "expected every:15"),
        ("-1", "expected every:15"),
        ("1.5", "expected every:15"),
    ],
)
def test_refuses(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_keys(text)


def test_refuses_a_frame_outside_the_clip():
    with pytest.raises(ValueError, match="key frame 40 is outside the clip, whose frames are 0 to"):
        parse_keys("0,40").of(40)
