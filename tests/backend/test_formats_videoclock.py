from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.formats.videoclock import VideoClock


@pytest.mark.parametrize("rate", [10.0, 24.0, 25.0, 29.97, 60.0])
def test_at_the_files_own_rate_frames_are_pictures(rate: float) -> None:
    clock = VideoClock([index / rate for index in range(100)], rate)
    assert clock.frames == 100
    assert [clock.picture(frame) for frame in range(100)] == list(range(100))
    assert [clock.frame(picture) for picture in range(100)] == list(range(100))


def test_a_file_of_another_rate() -> None:
    """As the screen was seen to do: at 24 a second, frame 11 of a file of 10 is picture 4."""
    clock = VideoClock([index / 10 for index in range(12)], 24)
    assert clock.frames == 29
    assert [clock.picture(frame) for frame in (0, 10, 20)] == [0, 4, 8]
    assert clock.frame(4) == 10


def test_a_variable_rate_and_a_late_begin() -> None:
    clock = VideoClock([5.0, 5.1, 5.5, 5.6], 10)
    assert [clock.picture(frame) for frame in range(7)] == [0, 1, 1, 1, 1, 2, 3]
    assert [clock.frame(picture) for picture in range(4)] == [0, 1, 5, 6]


times = st.lists(st.floats(0.001, 0.5), min_size=1, max_size=50).map(
    lambda steps: [sum(steps[:index]) for index in range(len(steps))]
)


@given(times, st.floats(1, 120))
@settings(deadline=None)
def test_a_picture_that_is_shown_is_found_at_its_first_frame(stamps, rate) -> None:
    clock = VideoClock(stamps, rate)
    shown = {}
    for frame in range(clock.frames):
        shown.setdefault(clock.picture(frame), frame)
    for picture, frame in shown.items():
        assert clock.picture(clock.frame(picture)) == picture
        assert clock.frame(picture) == frame


def test_no_pictures_or_no_rate() -> None:
    with pytest.raises(ValueError, match="rate"):
        VideoClock([0.0], 0)
    with pytest.raises(ValueError, match="pictures"):
        VideoClock([], 10)
