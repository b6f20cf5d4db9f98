import threading

import pytest

from model.ahead import run_ahead


@pytest.mark.parametrize("depth", [0, 1, 3, 20])
def test_all_items_come_in_order(depth):
    assert list(run_ahead(iter(range(9)), depth)) == list(range(9))
    assert list(run_ahead(iter([]), depth)) == []


@pytest.mark.parametrize("depth", [0, 1])
def test_items_are_made_in_a_thread_where_they_are_made_ahead(depth):
    def makers():
        while True:
            yield threading.get_ident()

    running = run_ahead(makers(), depth)
    assert (next(running) == threading.get_ident()) == (depth == 0)
    running.close()


def test_no_more_is_made_ahead_than_asked_for():
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


@pytest.mark.parametrize("depth", [0, 2])
def test_an_error_comes_in_its_place(depth):
    def items():
        yield 1
        raise ValueError("frame 2 is damaged")

    running = run_ahead(items(), depth)
    assert next(running) == 1
    with pytest.raises(ValueError, match="frame 2 is damaged"):
        next(running)


def test_closing_ends_the_thread():
    before = set(threading.enumerate())
    running = run_ahead(iter(range(100)), 2)
    next(running)
    assert set(threading.enumerate()) > before
    running.close()
    assert set(threading.enumerate()) <= before


def test_a_negative_depth_is_refused():
    with pytest.raises(ValueError, match="0 or more, not -1"):
        next(run_ahead(iter([1]), -1))
