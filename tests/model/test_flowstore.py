import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from model.flow import DISFlow, FlowEstimator, get_flow
from model.flowstore import FlowStore
from model.propagate import PropagationSettings, propagate
from tests.model.moving import MovingClip

PAIR = 48 * 64 * 6 * 2
"""Bytes of one pair of links of the clip."""


class Counting:
    """DIS flow that counts how often it is asked."""

    name = "dis-counted"

    def __init__(self) -> None:
        self.asked = 0
        self._flow = DISFlow()

    def flow(self, source, target, initial=None):
        self.asked += 1
        return self._flow.flow(source, target, initial)


def _arrays(links):
    return [array for link in links for array in (link.flow, link.confidence)]


@pytest.mark.parametrize("limit", [0, PAIR, 10**9])
def test_links_are_the_same_kept_or_not(limit):
    clip = MovingClip()
    store = FlowStore(DISFlow(), limit)
    fresh = [_arrays(store.links(index, clip.read)) for index in range(3)]
    again = [_arrays(store.links(index, clip.read)) for index in range(3)]
    for first, second in zip(fresh, again, strict=True):
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == np.float32
    forward = DISFlow().flow(clip.read(0), clip.read(1))
    np.testing.assert_allclose(fresh[0][0], forward, atol=0.02)


@pytest.mark.parametrize(("limit", "misses"), [(0, 6), (PAIR, 5), (2 * PAIR, 4), (10**9, 3)])
def test_as_much_is_kept_as_there_is_room_for(limit, misses):
    clip = MovingClip()
    store = FlowStore(DISFlow(), limit)
    for _ in range(2):
        for index in range(3):
            store.links(index, clip.read)
    assert store.misses == misses


def test_the_pairs_that_came_last_are_kept_besides():
    clip = MovingClip()
    store = FlowStore(DISFlow(), 8 * PAIR)
    for index in range(11):
        store.links(index, clip.read)
    assert store.misses == 11
    for index in (10, 9, 5, 4, 3, 2, 1, 0, 9, 10):
        store.links(index, clip.read)
    assert store.misses == 11
    store.links(8, clip.read)  # In the place of frame 9, which came before 10.
    store.links(10, clip.read)
    assert store.misses == 12
    store.links(9, clip.read)
    assert store.misses == 13


@pytest.mark.parametrize("limit", [2 * PAIR, 4 * PAIR, 10**9])
def test_several_threads_get_the_same_links(limit, hasty_threads):
    clip = MovingClip()
    alone = [_arrays(FlowStore(DISFlow()).links(index, clip.read)) for index in range(6)]
    store = FlowStore(DISFlow(), limit)
    wanted = [index for _ in range(100) for index in (3, 0, 2, 5, 4, 1)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: _arrays(store.links(index, clip.read)), wanted))
    for index, arrays in zip(wanted, found, strict=True):
        for one, other in zip(arrays, alone[index], strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_is_kept_needs_no_frames():
    clip = MovingClip()
    store = FlowStore(DISFlow())
    store.links(4, clip.read)
    clip.reads.clear()
    store.links(4, clip.read)
    assert clip.reads == []


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = FlowStore(DISFlow())
    store.links(0, MovingClip().read)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_costs_time_only(monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    clip = MovingClip()
    store = FlowStore(DISFlow())
    for _ in range(2):
        store.links(0, clip.read)
    assert store.misses == 2


def test_a_disk_that_is_nearly_full_is_left_alone(monkeypatch):
    class Usage:
        free = PAIR

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    clip = MovingClip()
    store = FlowStore(DISFlow())
    for _ in range(2):
        store.links(0, clip.read)
    assert store.misses == 2


def test_it_is_an_estimator_itself():
    clip = MovingClip()
    store = FlowStore(get_flow("dis-fast"))
    assert isinstance(store, FlowEstimator)
    assert store.name == get_flow("dis-fast").name
    np.testing.assert_array_equal(
        store.flow(clip.read(0), clip.read(1)),
        get_flow("dis-fast").flow(clip.read(0), clip.read(1)),
    )


@pytest.mark.parametrize("settings", [PropagationSettings(), PropagationSettings.best()])
def test_a_second_pass_works_out_no_flow_between_neighbours(settings):
    clip, estimator = MovingClip(), Counting()
    store = FlowStore(estimator)
    keys = {index: clip.mask(index) for index in (2, 7)}
    first = [r.probabilities for r in propagate(clip, keys, 3, flow=store, settings=settings)]
    assert store.misses == len(clip) - 1
    again = [r.probabilities for r in propagate(clip, keys, 3, flow=store, settings=settings)]
    plain = propagate(clip, keys, 3, flow=Counting(), settings=settings)
    assert store.misses == len(clip) - 1
    for one, other, third in zip(first, again, plain, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third.probabilities)
