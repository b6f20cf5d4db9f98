import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.timeline import evenly, farthest_in_time


def distances(positions, marks):
    return np.abs(np.subtract.outer(np.asarray(positions, float), np.asarray(marks, float))).min(1)


@pytest.mark.parametrize(
    ("count", "anchors", "budget", "expected"),
    [
        (100, (), 1, [49]),
        (100, (), 2, [25, 74]),
        (99, (), 3, [16, 49, 82]),
        (101, (0, 100), 1, [50]),
        (101, (0, 100), 4, [20, 40, 60, 80]),
        (100, (0,), 1, [66]),
        (100, (99,), 1, [33]),
        (101, (0, 10, 100), 1, [55]),
        (5, (), 9, [0, 1, 2, 3, 4]),
        (5, (), 0, []),
    ],
)
def test_evenly(count, anchors, budget, expected):
    positions = [i for i in range(count) if i not in anchors]
    chosen = evenly(positions, budget, anchors={0: anchors})
    assert np.abs(np.array([positions[i] for i in chosen], int) - np.array(expected, int)).max(
        initial=0
    ) <= (1 if len(expected) < 5 else 0)


def test_evenly_shares_over_clips_by_the_widest_gap():
    positions = np.r_[np.arange(90), np.arange(30)]
    clips = np.r_[np.zeros(90, int), np.ones(30, int)]
    chosen = evenly(positions, 4, clips)
    assert np.bincount(clips[chosen]).tolist() == [3, 1]
    chosen = evenly(positions, 3, clips, {0: [15, 45, 75]})
    assert np.bincount(clips[chosen]).tolist() == [2, 1]


clip_positions = st.lists(st.integers(0, 60), min_size=1, max_size=25)
anchor_sets = st.lists(st.integers(0, 60), max_size=4)


@given(clip_positions, anchor_sets, st.integers(0, 30))
def test_evenly_is_as_many_as_asked_and_unique(positions, anchors, budget):
    chosen = evenly(positions, budget, anchors={0: anchors})
    assert len(chosen) == min(budget, len(positions))
    assert len(set(chosen.tolist())) == len(chosen)


@given(clip_positions, anchor_sets)
def test_farthest_in_time_is_a_permutation_that_takes_the_farthest_between_anchors(
    positions, anchors
):
    order = farthest_in_time(positions, anchors={0: anchors})
    assert sorted(order.tolist()) == list(range(len(positions)))
    marks = list(anchors) or [positions[order[0]]]
    rest = order.tolist() if anchors else order.tolist()[1:]
    while rest:
        away = distances([positions[i] for i in rest], marks)
        assert away[0] == away.max()
        marks.append(positions[rest.pop(0)])


def test_farthest_in_time_begins_in_the_middle_and_takes_turns_over_clips():
    positions = np.r_[np.arange(9), np.arange(5)]
    clips = np.r_[np.zeros(9, int), np.ones(5, int)]
    order = farthest_in_time(positions, clips)
    assert order[:4].tolist() == [4, 11, 0, 8]
    assert sorted(order.tolist()) == list(range(14))


@pytest.mark.parametrize("function", [lambda p, c: evenly(p, 1, c), farthest_in_time])
def test_shapes_are_checked(function):
    with pytest.raises(ValueError, match=r"clips must be \(3,\).*\(2,\)"):
        function(np.arange(3), np.arange(2))
    with pytest.raises(ValueError, match=r"\(N,\)"):
        function(np.zeros((2, 2)), None)


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError, match="-1"):
        evenly([1, 2], -1)
