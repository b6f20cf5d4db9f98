"""Trust told by the weakest link of the way to a key frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from model.chain import Link
from model.flow import DISFlow
from model.flowstore import FlowStore
from model.weakest import weakest_links

SIZE = (6, 10)


def _never(index: int) -> NDArray[np.uint8]:
    raise AssertionError(f"frame {index} was read")


class _Given(FlowStore):
    """Everything moves one pixel to the right a frame; checks are as given, each way."""

    def __init__(self, checks: dict[int, NDArray[np.float32]], steps: float = 1.0) -> None:
        super().__init__(DISFlow())
        self._checks = checks
        self._steps = steps
        self.asked: list[int] = []

    def links(self, index: int, read: Callable[[int], NDArray[np.uint8]]) -> tuple[Link, Link]:
        self.asked.append(index)
        check = self._checks.get(index, np.ones(SIZE, np.float32))
        flow = np.zeros((*SIZE, 2), np.float32)
        flow[..., 0] = self._steps
        return Link(flow, check), Link(-flow, check)


def _all(value: float) -> NDArray[np.float32]:
    return np.full(SIZE, value, np.float32)


def _weakest(store: FlowStore, keys: Sequence[int], length: int) -> dict[int, NDArray[np.uint8]]:
    return weakest_links(store, keys, length, _never)


@pytest.mark.parametrize("key", [0, 9])
def test_many_links_that_are_a_little_unsure_are_no_worse_than_one(key: int) -> None:
    found = _weakest(_Given({index: _all(0.8) for index in range(9)}), [key], 10)
    assert sorted(found) == [index for index in range(10) if index != key]
    for trust in found.values():
        assert trust.dtype == np.uint8
        assert (trust == 204).all()


@pytest.mark.parametrize(("key", "moves"), [(0, 1), (4, -1)])
def test_what_no_link_leads_back_from_stays_untrusted_wherever_it_goes(
    key: int, moves: int
) -> None:
    broken = _all(1.0)
    broken[2, 5] = 0.0
    found = _weakest(_Given({1 if key == 0 else 2: broken}), [key], 5)
    frames = range(2, 5) if key == 0 else range(2, -1, -1)
    for steps, index in enumerate(frames):
        assert np.argwhere(found[index] < 128).tolist() == [[2, 5 + moves * steps]]
    assert (found[1 if key == 0 else 3] == 255).all()


def test_of_two_ways_the_better_one_counts() -> None:
    found = _weakest(_Given({1: _all(0.2), 3: _all(0.6)}), [0, 5], 6)
    assert [int(found[index][0, 5]) for index in (1, 2, 3, 4)] == [255, 153, 153, 255]


def test_each_key_frame_is_followed_as_far_as_the_next_one() -> None:
    store = _Given({2: _all(0.0)})
    found = _weakest(store, [2, 3], 5)
    assert sorted(found) == [0, 1, 4]
    assert sorted(store.asked) == [0, 1, 3]
    assert _weakest(store, [0], 1) == {}
