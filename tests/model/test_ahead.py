import threading

import pytest

from model.ahead import run_ahead, work_ahead


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


@pytest.mark.parametrize("threads", [0, 1, 2, 20])
def test_work_comes_in_the_order_of_its_items(threads):
    assert list(work_ahead(str, iter(range(9)), threads)) == list("012345678")
    assert list(work_ahead(str, iter([]), threads)) == []


def test_two_work_at_once_and_no_more_items_are_taken():
    taken, both = [], threading.Barrier(2, timeout=60)

    def items():
        for item in range(4):
            taken.append(item)
            yield item

    def work(item):
        both.wait()
        return item

    working = work_ahead(work, items(), 2)
    assert next(working) == 0
    assert taken == [0, 1]
    assert list(working) == [1, 2, 3]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_in_work_or_items_comes_in_its_place(threads):
    def work(item):
        return 1 / item

    working = work_ahead(work, iter([1, 0]), threads)
    assert next(working) == 1
    with pytest.raises(ZeroDivisionError):
        next(working)

    def items():
        yield 1
        yield 1
        raise ValueError("frame 2 is damaged")

    with pytest.raises(ValueError, match="frame 2 is damaged"):
        list(work_ahead(work, items(), threads))


def test_closing_ends_the_threads_that_work():
    before = set(threading.enumerate())
    working = work_ahead(str, iter(range(100)), 2)
    next(working)
    assert set(threading.enumerate()) > before
    working.close()
    assert set(threading.enumerate()) <= before


def test_a_negative_number_of_threads_is_refused():
    with pytest.raises(ValueError, match="0 or more, not -1"):
        next(work_ahead(str, iter([1]), -1))
