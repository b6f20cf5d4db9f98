"""The best frames to label by temporal reach: exact, for several clips and given labels.

Labelled frames cut a clip into segments. Within a segment the least loss with n more labels is
found for every n by dynamic programming over where the last of them is; the segments of all clips
then share the budget so that the sum is least (a knapsack over n).

Where it is known what labelling a frame would cost, dear frames are left for cheap ones that serve
almost as well: a frame's price is its clicks, valued at half of what the last label of a plan
without prices gains (the whole is the Lagrangian of the least loss for given clicks; but a dear
frame also serves the rounds to come). Where masks turn out less certain than the reach says, the
loss between two labels counts for more (`selection.measured`).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selection.measured import Ends, stakes
from selection.reach import Reach

__all__ = ["plan"]

_PRICE = 0.5
"""What a click counts for, of what the last label gains."""
_MOST_STEPS = 1_500_000_000
"""Frames × span × labels that one segment's program may take; larger ones are halved."""
_QUICK_STEPS = 100_000_000
"""Up to which a program looks at every gap of the reach."""
_MOST_SHARES = 50_000_000
"""Segments × budget up to which the budget is shared exactly; beyond, by falling gain."""


@dataclass(frozen=True)
class _Segment:
    """The frames that may be chosen between two labelled ones (−1 and N: the clip's ends)."""

    clip: int
    reach: Reach
    left: int
    right: int
    frames: NDArray[np.int64]
    prices: NDArray[np.float64]
    stake: float = 1.0


@dataclass(frozen=True)
class _Solution:
    """The least loss `costs[n]` of a segment with n labels more, and where they are."""

    segment: _Segment
    costs: NDArray[np.float64]
    ends: NDArray[np.int64]
    back: NDArray[np.int32]

    def picks(self, count: int) -> list[int]:
        """The frames chosen where `count` are."""
        place = int(self.ends[count])
        picks = []
        for row in range(count - 1, -1, -1):
            picks.append(int(self.segment.frames[0]) + place)
            place = int(self.back[row, place])
        return picks[::-1]


def plan(
    reaches: Mapping[int, Reach],
    candidates: Mapping[int, Sequence[int]],
    labelled: Mapping[int, Sequence[int]],
    budget: int,
    clicks: Mapping[int, NDArray[np.floating]] | None = None,
    uncertainty: Mapping[int, NDArray[np.floating]] | None = None,
) -> list[tuple[int, int]]:
    """Choose the frames whose labels leave the least loss, for what they cost.

    Args:
        reaches: Each clip's reach.
        candidates: The frames of each clip that may be chosen, each less than the clip's length.
        labelled: The frames of each clip that are labelled already.
        budget: How many to choose, over all clips.
        clicks: What labelling each frame of a clip is expected to cost, by frame; a clip may be
            missing, and NaN is not known: as dear as most.
        uncertainty: How uncertain each frame's mask is, by frame, ≥ 0; of clips without a label
            it is not read. A clip may be missing, and NaN is not known.

    Returns:
        min(budget, candidates) pairs (clip, frame), unique. The one that removes most loss first,
        then always the one that removes most after those before it.

    Raises:
        ValueError: A clip has no reach, or a frame lies outside it.
    """
    free: dict[int, NDArray[np.float64]] = {
        clip: np.zeros(len(reach)) for clip, reach in reaches.items()
    }
    by_ends = stakes(reaches, labelled, uncertainty or {})
    chosen, worth = _choose(reaches, candidates, labelled, budget, free, by_ends)
    prices = free
    if chosen and clicks and worth > 0:
        prices = _prices(reaches, candidates, clicks, worth)
        chosen, _ = _choose(reaches, candidates, labelled, budget, prices, by_ends)
    return _best_first(
        [
            segment
            for clip, frames in chosen.items()
            for segment in _cut(clip, reaches, frames, labelled.get(clip, ()), prices, by_ends)
        ]
    )


def _choose(
    reaches: Mapping[int, Reach],
    candidates: Mapping[int, Sequence[int]],
    labelled: Mapping[int, Sequence[int]],
    budget: int,
    prices: Mapping[int, NDArray[np.float64]],
    by_ends: Mapping[Ends, float],
) -> tuple[dict[int, list[int]], float]:
    """The frames chosen, by clip, and the loss that the last of them removes."""
    segments = [
        segment
        for clip in sorted(candidates)
        for segment in _cut(
            clip, reaches, candidates[clip], labelled.get(clip, ()), prices, by_ends
        )
    ]
    total = sum(len(segment.frames) for segment in segments)
    budget = min(budget, total)
    if budget <= 0:
        return {}, 0.0
    fixed: list[tuple[int, int]] = []
    pieces = [
        piece for segment in segments for piece in _halved(segment, budget / total, budget, fixed)
    ]
    solutions = [_solve(segment, cap) for segment, cap in pieces]
    curves = [solution.costs for solution in solutions]
    counts = _shared(curves, budget - len(fixed))
    fewer = _shared(curves, max(budget - len(fixed) - 1, 0))
    worth = _sum_at(curves, fewer) - _sum_at(curves, counts)
    chosen: dict[int, list[int]] = {}
    for clip, frame in fixed:
        chosen.setdefault(clip, []).append(frame)
    for solution, count in zip(solutions, counts, strict=True):
        chosen.setdefault(solution.segment.clip, []).extend(solution.picks(int(count)))
    return chosen, worth


def _sum_at(curves: Sequence[NDArray[np.float64]], counts: NDArray[np.int64]) -> float:
    return float(sum(curve[count] for curve, count in zip(curves, counts, strict=True)))


def _prices(
    reaches: Mapping[int, Reach],
    candidates: Mapping[int, Sequence[int]],
    clicks: Mapping[int, NDArray[np.floating]],
    worth: float,
) -> dict[int, NDArray[np.float64]]:
    """Each frame's clicks beyond what most frames cost, in units of loss; below: less than 0."""
    for clip, reach in reaches.items():
        if clip in clicks and len(clicks[clip]) < len(reach):
            raise ValueError(
                f"clip {clip} has {len(reach)} frames but clicks for {len(clicks[clip])}"
            )
    known = [
        np.asarray(clicks[clip], dtype=np.float64)[np.asarray(frames, dtype=np.int64)]
        for clip, frames in candidates.items()
        if clip in clicks and len(frames)
    ]
    everything = np.concatenate(known) if known else np.zeros(0)
    everything = everything[np.isfinite(everything)]
    usual = float(np.median(everything)) if everything.size else 0.0
    prices = {}
    for clip, reach in reaches.items():
        own = np.asarray(clicks.get(clip, np.full(len(reach), np.nan)), dtype=np.float64)
        above = own[: len(reach)] / usual - 1.0 if usual > 0 else np.zeros(len(reach))
        prices[clip] = _PRICE * worth * np.where(np.isfinite(above), above, 0.0)
    return prices


def _cut(
    clip: int,
    reaches: Mapping[int, Reach],
    candidates: Sequence[int],
    labelled: Sequence[int],
    prices: Mapping[int, NDArray[np.float64]],
    by_ends: Mapping[Ends, float],
) -> list[_Segment]:
    if clip not in reaches:
        raise ValueError(f"clip {clip} has candidates but no reach")
    reach = reaches[clip]
    marks = np.unique(np.asarray(labelled, dtype=np.int64))
    frames = np.setdiff1d(np.asarray(candidates, dtype=np.int64), marks)
    everything = np.concatenate([frames, marks])
    if everything.size and (everything.min() < 0 or everything.max() >= len(reach)):
        raise ValueError(
            f"clip {clip} has {len(reach)} frames, but frame {int(everything.max())} is named"
        )
    ends = [-1, *marks.tolist(), len(reach)]
    parts = np.split(frames, np.searchsorted(frames, marks))
    return [
        _Segment(
            *(clip, reach, left, right, part, prices[clip][part]),
            stake=by_ends.get((clip, left, right), 1.0),
        )
        for left, right, part in zip(ends[:-1], ends[1:], parts, strict=True)
        if len(part)
    ]


def _halved(
    segment: _Segment, density: float, budget: int, fixed: list[tuple[int, int]]
) -> list[tuple[_Segment, int]]:
    """Halve a segment until its program is small enough; with the most labels each may get.

    The middle frame of a halved segment is as good as any where there are so many: it is chosen,
    and appended to `fixed`.
    """
    size = len(segment.frames)
    width = int(segment.frames[-1] - segment.frames[0]) + 1
    cap = min(budget, size)
    if width * _span(segment.reach, width, cap) * cap > _MOST_STEPS:
        cap = min(cap, 2 * int(np.ceil(density * size)) + 8)  # ample, so that need can decide
    if width * _span(segment.reach, width, cap) * cap <= _MOST_STEPS or size < 3:
        return [(segment, cap)]
    middle = size // 2
    frame = int(segment.frames[middle])
    fixed.append((segment.clip, frame))
    first, second = slice(middle), slice(middle + 1, None)
    before = replace(
        segment, right=frame, frames=segment.frames[first], prices=segment.prices[first]
    )
    after = replace(
        segment, left=frame, frames=segment.frames[second], prices=segment.prices[second]
    )
    return [
        *_halved(before, density, budget, fixed),
        *_halved(after, density, budget, fixed),
    ]


def _span(reach: Reach, width: int, cap: int) -> int:
    """The widest gap looked up exactly: all where that is quick, else four times the mean gap."""
    span = min(reach.span, width)
    if width * span * cap > _QUICK_STEPS:
        span = min(span, max(16, 4 * width // cap))
    return span


def _solve(segment: _Segment, cap: int) -> _Solution:
    """The program: `costs[c]` is the least loss up to frame c where c is the n-th label."""
    reach, low = segment.reach, int(segment.frames[0])
    size = int(segment.frames[-1]) + 1 - low
    here = np.arange(low, low + size)
    shut = np.ones(size, dtype=bool)
    shut[segment.frames - low] = False
    price = np.zeros(size, dtype=np.float32)
    price[segment.frames - low] = segment.prices / segment.stake
    span = _span(reach, size, cap)
    half = span // 2
    near = np.ascontiguousarray(reach.between[low : low + size, span:0:-1])
    to_end = reach.gaps(here, segment.right)
    leave = reach.after[here, half] - here
    arrive = reach.before[here, half] + here - 1.0 - 2 * half
    # float32 in the inner loop: losses are sums of at most `size` numbers up to 1
    cost = reach.gaps(segment.left, here).astype(np.float32) + price
    cost[shut] = np.inf
    costs = [float(reach.gaps(segment.left, segment.right))]
    ends = [-1]
    back = np.full((cap, size), -1, dtype=np.int32)
    padded = np.full(span + size, np.inf, dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, span)[:size]
    for n in range(cap):
        if n:
            padded[span:] = cost
            sums = windows + near
            step = sums.argmin(axis=1)
            best = sums[np.arange(size), step]
            origin = np.arange(size) - span + step
            if size > span + 1:
                _jump(cost, leave, arrive, span, best, origin)
            best += price
            best[shut] = np.inf
            cost, back[n] = best, origin
        full = cost + to_end
        end = int(full.argmin())
        ends.append(end)
        costs.append(float(full[end]))
    return _Solution(segment, segment.stake * np.array(costs), np.array(ends, dtype=np.int64), back)


def _jump(
    cost: NDArray[np.float32],
    leave: NDArray[np.floating],
    arrive: NDArray[np.floating],
    span: int,
    best: NDArray[np.float32],
    origin: NDArray[np.intp],
) -> None:
    """Take gaps wider than the span where they are better; changes `best` and `origin`."""
    start = cost + leave
    low = np.minimum.accumulate(start)
    is_low = start <= low
    where = np.maximum.accumulate(np.where(is_low, np.arange(len(start)), 0))
    later = np.arange(span + 1, len(cost))
    value = (low[later - span - 1] + arrive[later]).astype(np.float32)
    better = value < best[later]
    best[later[better]] = value[better]
    origin[later[better]] = where[later - span - 1][better]


def _shared(costs: Sequence[NDArray[np.float64]], budget: int) -> NDArray[np.int64]:
    """How many labels each segment gets, so that all are given and the sum of costs is least."""
    sizes = [len(cost) - 1 for cost in costs]
    if len(costs) == 1:
        return np.array([min(budget, sizes[0])])
    if sum(sizes) * (budget + 1) > _MOST_SHARES * 20 or len(costs) * (budget + 1) > _MOST_SHARES:
        gains = [np.minimum.accumulate(-np.diff(cost)) for cost in costs]
        owner = np.repeat(np.arange(len(costs)), sizes)
        first = np.argsort(-np.concatenate(gains), kind="stable")[:budget]
        return np.bincount(owner[first], minlength=len(costs))
    least = np.full(budget + 1, np.inf)
    least[0] = 0.0
    taken = np.zeros((len(costs), budget + 1), dtype=np.int32)
    for i, cost in enumerate(costs):
        new = least + cost[0]
        for n in range(1, min(len(cost) - 1, budget) + 1):
            other = least[: budget + 1 - n] + cost[n]
            better = other < new[n:]
            new[n:][better] = other[better]
            taken[i, n:][better] = n
        least = new
    counts = np.zeros(len(costs), dtype=np.int64)
    left = budget
    for i in range(len(costs) - 1, -1, -1):
        counts[i] = taken[i, left]
        left -= int(counts[i])
    return counts


def _best_first(segments: Sequence[_Segment]) -> list[tuple[int, int]]:
    """Order the frames by what each removes, less its price, after those before it."""
    heap: list[tuple[float, int, int, int, int, int, int]] = []

    def offer(which: int, left: int, right: int, first: int, last: int) -> None:
        """Put the best of the segment's frames `first` to `last` - 1 on the heap."""
        if first < last:
            segment = segments[which]
            gains = segment.stake * segment.reach.gain(segment.frames[first:last], left, right)
            gains -= segment.prices[first:last]
            pick = int(gains.argmax())
            heapq.heappush(
                heap, (-float(gains[pick]), which, first + pick, left, right, first, last)
            )

    for which, segment in enumerate(segments):
        offer(which, segment.left, segment.right, 0, len(segment.frames))
    order = []
    while heap:
        _, which, pick, left, right, first, last = heapq.heappop(heap)
        frame = int(segments[which].frames[pick])
        order.append((segments[which].clip, frame))
        offer(which, left, frame, first, pick)
        offer(which, frame, right, pick + 1, last)
    return order
