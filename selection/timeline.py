"""Choosing by time alone, in one clip or several.

Times of different clips are never compared, only the widths of what lies open between labels.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["evenly", "farthest_in_time"]


@dataclass(frozen=True)
class _Gap:
    """Sorted candidates `first` to `first + len(times) - 1` between two anchors or clip ends.

    `left` and `right` are the anchors, infinite where there is none.
    """

    times: NDArray[np.float64]
    first: int
    left: float
    right: float

    @property
    def span(self) -> tuple[float, float]:
        return (
            self.left if np.isfinite(self.left) else float(self.times[0]),
            self.right if np.isfinite(self.right) else float(self.times[-1]),
        )

    def radius(self, count: int) -> float:
        """The greatest distance to the nearest anchor or choice, with `count` choices inside."""
        parts = 2 * count + int(np.isfinite(self.left)) + int(np.isfinite(self.right))
        start, end = self.span
        return (end - start) / parts if parts else np.inf

    def place(self, count: int) -> NDArray[np.intp]:
        """The indices of `count` choices that divide the gap."""
        radius, size = self.radius(count), len(self.times)
        offset = 2 * radius if np.isfinite(self.left) else radius
        wanted = self.span[0] + offset + 2 * radius * np.arange(count)
        after = np.minimum(np.searchsorted(self.times, wanted), size - 1)
        before = np.maximum(after - 1, 0)
        nearer = np.abs(self.times[after] - wanted) < np.abs(self.times[before] - wanted)
        index = np.where(nearer, after, before)
        steps = np.arange(count)  # no index twice, and none outside the gap
        index = np.maximum.accumulate(index - steps) + steps
        index = np.minimum(index, size - count + steps)
        return np.asarray(self.first + index, dtype=np.intp)


def evenly(
    positions: ArrayLike,
    budget: int,
    clips: ArrayLike | None = None,
    anchors: Mapping[int, Sequence[float]] | None = None,
) -> NDArray[np.intp]:
    """Choose so that no position is far from a chosen one or an anchor.

    Each choice goes to the gap in which the greatest distance to the nearest anchor is largest;
    those of one gap divide it evenly. Without anchors this gives the middles of `budget` equal
    parts. A clip with neither comes before all others.

    Args:
        positions: (N,) frame indices.
        budget: How many to choose, ≥ 0; all where it exceeds N.
        clips: (N,) int, which clip each belongs to; one clip (0) where it is None.
        anchors: Labelled frame indices by clip.

    Returns:
        (min(budget, N),) unique indices, by clip and position.

    Raises:
        ValueError: Shapes don't fit, or `budget` is negative.
    """
    if budget < 0:
        raise ValueError(f"a budget is a number of samples, 0 or more; got {budget}")
    by_time, gaps = _divide(positions, clips, anchors)
    counts = [0] * len(gaps)
    heap = [(-gap.radius(0), -len(gap.times), i) for i, gap in enumerate(gaps)]
    heapq.heapify(heap)
    for _ in range(min(int(budget), len(by_time))):
        i = heapq.heappop(heap)[2]
        counts[i] += 1
        if counts[i] < len(gaps[i].times):
            heapq.heappush(heap, (-gaps[i].radius(counts[i]), -len(gaps[i].times), i))
    picked = [gap.place(n) for gap, n in zip(gaps, counts, strict=True) if n]
    return by_time[np.concatenate(picked)] if picked else np.zeros(0, dtype=np.intp)


def farthest_in_time(
    positions: ArrayLike,
    clips: ArrayLike | None = None,
    anchors: Mapping[int, Sequence[float]] | None = None,
) -> NDArray[np.intp]:
    """Order all so that each is the farthest in time from the anchors and those before it.

    Args:
        positions: (N,) frame indices.
        clips: (N,) int, which clip each belongs to; one clip (0) where it is None. The clip with
            the widest gap comes next.
        anchors: Labelled frame indices by clip.

    Returns:
        (N,) a permutation. A clip without an anchor begins with its middle frame.

    Raises:
        ValueError: The shapes differ.
    """
    by_time, gaps = _divide(positions, clips, anchors)
    clock = np.asarray(positions, dtype=np.float64)[by_time]
    heap: list[tuple[float, int, int, int, float, float]] = []

    def offer(first: int, last: int, left: float, right: float) -> None:
        """Put the farthest of the sorted candidates `first` to `last` - 1 on the heap."""
        if first < last:
            pick, distance = _farthest(clock, first, last, left, right)
            heapq.heappush(heap, (-distance, pick, first, last, left, right))

    for gap in gaps:
        offer(gap.first, gap.first + len(gap.times), gap.left, gap.right)
    order = np.empty(len(clock), dtype=np.intp)
    for place in range(len(clock)):
        _, pick, first, last, left, right = heapq.heappop(heap)
        order[place] = pick
        here = float(clock[pick])
        offer(first, pick, left, here)
        offer(pick + 1, last, here, right)
    return np.asarray(by_time[order], dtype=np.intp)


def _farthest(
    clock: NDArray[np.float64], first: int, last: int, left: float, right: float
) -> tuple[int, float]:
    """Which of `clock[first:last]` is farthest from both walls, and how far."""
    if np.isinf(left) and np.isinf(right):
        return (first + last - 1) // 2, np.inf
    if np.isinf(left):
        return first, float(right - clock[first])
    if np.isinf(right):
        return last - 1, float(clock[last - 1] - left)
    middle = (left + right) / 2
    pick = first + int(np.searchsorted(clock[first:last], middle))
    if pick == last or (pick > first and middle - clock[pick - 1] <= clock[pick] - middle):
        pick -= 1
    return pick, float(min(clock[pick] - left, right - clock[pick]))


def _divide(
    positions: ArrayLike, clips: ArrayLike | None, anchors: Mapping[int, Sequence[float]] | None
) -> tuple[NDArray[np.intp], list[_Gap]]:
    """Sort by clip and time, and cut at clip ends and anchors; gaps hold a candidate at least."""
    times = np.asarray(positions, dtype=np.float64)
    if times.ndim != 1:
        raise ValueError(f"positions must be (N,); got {times.shape}")
    owner = np.zeros(len(times), dtype=np.int64) if clips is None else np.asarray(clips)
    if owner.shape != times.shape:
        raise ValueError(f"clips must be {times.shape}, one a position; got {owner.shape}")
    by_time = np.lexsort((times, owner))
    clock, owner = times[by_time], owner[by_time]
    ends = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(times)] if len(times) else []
    gaps = []
    for first, last in itertools.pairwise(ends):
        marks = np.unique(np.asarray((anchors or {}).get(int(owner[first]), ()), dtype=np.float64))
        cuts = [first, *(first + np.searchsorted(clock[first:last], marks)).tolist(), last]
        walls = [-np.inf, *marks.tolist(), np.inf]
        for i, (low, high) in enumerate(itertools.pairwise(cuts)):
            if high > low:
                gaps.append(_Gap(clock[low:high], low, walls[i], walls[i + 1]))
    return by_time, gaps
