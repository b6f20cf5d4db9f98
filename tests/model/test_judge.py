from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.judge import judges


@pytest.mark.parametrize(
    ("keys", "trained_on", "most", "expected"),
    [
        ([], [], 4, ()),
        ([3], [], 4, ()),
        ([3, 9], [], 4, ()),
        ([0, 30, 59], [], 4, (30,)),
        ([59, 0, 30], [], 4, (30,)),
        ([0, 10, 20, 30], [], 4, (10,)),
        ([0, 10, 20, 30, 40], [], 4, (10, 30)),
        ([0, 10, 20, 30, 40], [0, 10], 4, (20,)),
        ([0, 30, 59], [0, 30, 59], 4, ()),
        ([0, 10, 20, 30, 40], [], 1, (30,)),
        ([0, 10, 20, 30, 40], [], 0, ()),
    ],
)
def test_judges(
    keys: list[int], trained_on: list[int], most: int, expected: tuple[int, ...]
) -> None:
    assert judges(keys, trained_on, most=most) == expected


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(100, (10, 60)), (90, (10, 60)), (89, (10,)), (20, (10,)), (19, ()), (0, ())],
)
def test_far_neighbours_are_left_first(frames: int, expected: tuple[int, ...]) -> None:
    assert judges([0, 10, 20, 60, 90], frames=frames) == expected


@given(
    keys=st.sets(st.integers(0, 60)),
    trained_on=st.sets(st.integers(0, 60)),
    most=st.integers(0, 6),
)
def test_judges_are_unseen_and_stand_between_others(
    keys: set[int], trained_on: set[int], most: int
) -> None:
    chosen = judges(keys, trained_on, most=most)
    assert len(chosen) <= most
    assert list(chosen) == sorted(set(chosen))
    assert set(chosen) <= keys - trained_on
    rest = keys - set(chosen)
    for place, key in enumerate(chosen):
        lower = chosen[place - 1] if place else -1
        assert any(lower < other < key for other in rest)
    assert not chosen or max(rest) > chosen[-1]
