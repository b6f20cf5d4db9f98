"""Working ahead: the next items of an iterator are made in a thread while one is being used.

OpenCV and numpy let go of Python's lock where they compute: flow goes on while masks are matched.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["run_ahead", "usable_cores"]

T = TypeVar("T")

_END = object()


def usable_cores() -> int:
    """How many cores this process may use: by its affinity, and by OMP_NUM_THREADS where set."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) > 0 else cores


def run_ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Pass items on in their order, up to `depth` of them made before they are asked for.

    They are made in one other thread, one after another; on a single core when they are asked for.
    Close the generator to end the thread.

    Args:
        items: An iterator that shares nothing with whoever uses the items, or only what is locked.
        depth: How many items to make ahead, 1 or more: one is in the making while one is used.

    Raises:
        ValueError: `depth` is below 1.
        Exception: What `items` raises, in its place.
    """
    if depth < 1:
        raise ValueError(f"depth must be 1 or more, not {depth}")
    if usable_cores() < 2:
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
