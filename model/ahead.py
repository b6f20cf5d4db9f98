"""Working ahead: the next items of an iterator are made in a thread while one is being used.

OpenCV and numpy let go of Python's lock where they compute: flow goes on while masks are matched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["run_ahead", "work_ahead"]

S = TypeVar("S")
T = TypeVar("T")

_END = object()


def run_ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Pass items on in their order, up to `depth` of them made before they are asked for.

    They are made in one other thread, one after another. Close the generator to end the thread.

    Args:
        items: An iterator that shares nothing with whoever uses the items, or only what is locked.
        depth: How many items to make ahead, one in the making while one is used; 0 makes each when
            it is asked for, without a thread.

    Raises:
        ValueError: `depth` is negative.
        Exception: What `items` raises, in its place.
    """
    if depth < 0:
        raise ValueError(f"depth must be 0 or more, not {depth}")
    if depth == 0:
        yield from items
        return
    with ThreadPoolExecutor(1, "maskloop-ahead") as pool:
        coming: deque[Future[T | object]] = deque()
        try:
            while True:
                while len(coming) < depth:
                    coming.append(pool.submit(next, items, _END))
                item = coming.popleft().result()
                if item is _END:
                    return
                coming.append(pool.submit(next, items, _END))
                yield item  # type: ignore[misc]
        finally:
            for future in coming:
                future.cancel()


def work_ahead(
    work: Callable[[S], T], items: Iterator[S], threads: int
) -> Generator[T, None, None]:
    """Pass on what comes of each item, in their order, while the next ones are worked on.

    Items are taken in the caller's thread, no more of them than there are threads. Close the
    generator to end the threads.

    Args:
        work: What to do with an item; called from several threads at once.
        items: The items.
        threads: How many work at once; 0 works when it is asked for, without a thread.

    Raises:
        ValueError: `threads` is negative.
        Exception: What `work` or `items` raises, in its place.
    """
    if threads < 0:
        raise ValueError(f"threads must be 0 or more, not {threads}")
    if threads == 0:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, "maskloop-work") as pool:
        coming: deque[Future[T]] = deque()
        try:
            for item in items:
                coming.append(pool.submit(work, item))
                if len(coming) == threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()
