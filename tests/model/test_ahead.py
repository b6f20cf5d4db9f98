import os
import threading

import pytest

from model import ahead
from model.ahead import run_ahead, usable_cores


@pytest.fixture(params=[1, 2], ids=["one-core", "two-cores"])
def cores(request, monkeypatch) -> int:
    monkeypatch.setattr(ahead, "usable_cores", lambda: request.param)
    return request.param


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_all_items_come_in_order(cores, depth):
    assert list(run_ahead(iter(range(9)), depth)) == list(range(9))
    assert list(run_ahead(iter([]), depth)) == []


def test_no_more_is_made_ahead_than_asked_for(monkeypatch):
    monkeypatch.setattr(ahead, "usable_cores", lambda: 2)
    made, enough = [], threading.Event()

    def items():
        for item in range(10):
            made.append(item)
            if item == 3:
                enough.set()
            yield item

    running = run_ahead(items(), 3)
    assert next(running) == 0
    assert enough.wait(10)
    running.close()
    assert made == [0, 1, 2, 3]


def test_an_error_comes_in_its_place(cores):
    def items():
        yield 1
        raise ValueError("frame 2 is damaged")

    running = run_ahead(items(), 2)
    assert next(running) == 1
    with pytest.raises(ValueError, match="frame 2 is damaged"):
        next(running)


def test_closing_ends_the_thread(monkeypatch):
    monkeypatch.setattr(ahead, "usable_cores", lambda: 2)
    running = run_ahead(iter(range(100)), 2)
    next(running)
    running.close()
    assert not any(thread.name.startswith("maskloop-ahead") for thread in threading.enumerate())


def test_a_depth_of_none_is_refused():
    with pytest.raises(ValueError, match="1 or more, not 0"):
        next(run_ahead(iter([1]), 0))


@pytest.mark.parametrize(("asked", "most"), [("1", 1), ("1,2", 1), ("", 10**6), ("many", 10**6)])
def test_the_environment_bounds_the_cores(monkeypatch, asked, most):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert 1 <= usable_cores() <= min(most, os.cpu_count() or 1)
