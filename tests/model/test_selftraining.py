from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.flow import DISFlow
from model.flowstore import FlowStore
from model.selftraining import CarriedLabels, carry_labels, windows
from tests.model.moving import MovingClip


@pytest.mark.parametrize(
    ("keys", "length", "most", "expected"),
    [
        ([0, 5], 10, 10, [(0, 10)]),
        ([0, 50], 100, 20, [(0, 6), (45, 56)]),
        ([50, 0], 100, 20, [(0, 6), (45, 56)]),
        ([10, 18], 100, 20, [(5, 24)]),
        ([99], 100, 10, [(94, 100)]),
        ([40], 100, 0, [(39, 42)]),
    ],
)
def test_windows(keys: list[int], length: int, most: int, expected: list[tuple[int, int]]) -> None:
    assert windows(keys, length, most) == expected


@given(
    keys=st.sets(st.integers(0, 199), min_size=1, max_size=20),
    most=st.integers(0, 250),
)
def test_windows_hold_every_key_and_do_not_touch(keys: set[int], most: int) -> None:
    found = windows(keys, 200, most)
    assert all(any(start <= key < stop for start, stop in found) for key in keys)
    assert all(0 <= start < stop <= 200 for start, stop in found)
    assert all(first[1] < second[0] for first, second in pairwise(found))
    assert sum(stop - start for start, stop in found) <= max(most, 2 * len(keys)) + len(keys)


def _carry(
    clip: MovingClip, *keys: int, most: int = 100, **rest: object
) -> dict[int, CarriedLabels]:
    masks = {index: clip.mask(index) for index in keys}
    return carry_labels(
        clip.read,
        len(clip),
        masks,
        3,
        **{"flow": DISFlow(), "most": most, **rest},  # type: ignore[arg-type]
    )


def test_labels_are_carried_to_every_frame_and_know_where_they_err() -> None:
    clip = MovingClip()
    carried = _carry(clip, 0, 11)
    assert sorted(carried) == list(range(12))
    assert np.array_equal(carried[0].mask, clip.mask(0))
    assert (carried[0].weight == 255).all()
    for index, labels in carried.items():
        right = labels.mask == clip.mask(index)
        assert labels.index == index
        assert right.mean() > 0.9
        if not right.all():
            assert labels.weight[right].mean() > labels.weight[~right].mean()


def test_frames_far_from_every_label_are_left() -> None:
    clip = MovingClip(frames=12)
    carried = _carry(clip, 8, most=4)
    assert sorted(carried) == [6, 7, 8, 9, 10]
    assert np.array_equal(carried[8].mask, clip.mask(8))
    assert min(clip.reads) == 6


def test_flow_that_was_worked_out_is_taken_by_each_window() -> None:
    """Two windows of a clip find their flow in its store, by the clip's own numbers."""
    clip = MovingClip(frames=24)
    store = FlowStore(DISFlow())
    first, plain = (
        _carry(clip, 4, 18, most=12, flow=each, ahead=False) for each in (store, DISFlow())
    )
    asked = store.misses
    second = _carry(clip, 4, 18, most=12, flow=store, ahead=False)
    assert sorted(first) == [1, 2, 3, 4, 5, 6, 7, 15, 16, 17, 18, 19, 20, 21]
    assert asked == store.misses == 12
    for index, labels in first.items():
        for others in (plain, second):
            assert np.array_equal(labels.mask, others[index].mask)
            assert np.array_equal(labels.weight, others[index].weight)


def test_it_stops_when_it_is_enough() -> None:
    told = iter([False, False, True])
    assert len(_carry(MovingClip(), 0, 11, enough=lambda: next(told))) == 3


@pytest.mark.parametrize("ahead", [False, True])
def test_frames_are_read_in_a_thread_where_one_works_ahead(ahead: bool) -> None:
    clip, readers = MovingClip(), set()

    def read(index: int) -> np.ndarray:
        readers.add(threading.current_thread())
        return clip.read(index)

    masks = {4: clip.mask(4)}
    carried = carry_labels(read, len(clip), masks, 3, flow=DISFlow(), most=100, ahead=ahead)
    assert len(carried) == len(clip)
    assert (readers == {threading.current_thread()}) == (not ahead)
