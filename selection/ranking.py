"""An order over all unlabelled tasks, and the scores that make Label Studio serve it."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selection.budget import share
from selection.diversity import spread
from selection.strategies import Candidates, Strategy
from selection.timeline import farthest_in_time
from selection.uncertainty import rankable

__all__ = ["apart", "order", "rank", "scores"]

_PATIENCE = 8
"""Tasks that may wait for a place apart from their twins, per annotator."""


def rank(chosen: ArrayLike, uncertainty: ArrayLike) -> NDArray[np.intp]:
    """Order all: the chosen ones first, as chosen; the rest by falling uncertainty.

    Args:
        chosen: Unique indices, best first; may be empty.
        uncertainty: (N,) float; what is not finite comes last.

    Returns:
        (N,) a permutation of the indices. Equals keep their order.

    Raises:
        ValueError: `chosen` has an index twice or outside 0..N−1.

    Warns:
        NonFiniteWarning: Some uncertainty of those not chosen is not finite.

    Example:
        >>> rank([2], [0.1, 0.9, 0.5]).tolist()
        [2, 1, 0]
    """
    values = np.asarray(uncertainty, dtype=np.float64)
    first = np.asarray(chosen, dtype=np.intp).reshape(-1)
    if first.size and (first.min() < 0 or first.max() >= values.size):
        raise ValueError(f"chosen indices must be 0 to {values.size - 1}; got {first.tolist()}")
    is_chosen = np.zeros(values.size, dtype=bool)
    is_chosen[first] = True
    if int(is_chosen.sum()) != first.size:
        raise ValueError("chosen names an index more than once")
    rest = np.flatnonzero(~is_chosen)
    falling = rest[np.argsort(-rankable(values[rest]), kind="stable")]
    return np.concatenate([first, falling])


def scores(order: ArrayLike) -> NDArray[np.float64]:
    """Scores for tasks in this order: Label Studio serves the lowest first.

    Args:
        order: The tasks (or their indices) in the order wanted; only how many matters.

    Returns:
        (N,) float64, the i-th for the i-th task of `order`: distinct, rising, from 0 to below 1,
        and distinct still after a trip through JSON and a double-precision column.
    """
    count = len(np.asarray(order))
    return np.arange(count, dtype=np.float64) / max(count, 1)


def apart(
    order: ArrayLike, positions: ArrayLike, clips: ArrayLike, annotators: int, frames: int = 2
) -> NDArray[np.intp]:
    """Keep twins from being open at the same time: neighbours in time, near each other in order.

    Where several people label, tasks that follow each other are open together. A task of the same
    clip within `frames` of one of the last `annotators` − 1 waits for the next place that is far
    enough, so nothing moves far, and with one annotator nothing moves at all.

    Args:
        order: (N,) indices into `positions`, first to label first.
        positions: Frame index of each task.
        clips: Clip of each task.
        annotators: How many label at the same time, ≥ 1.
        frames: How near in time twins are.

    Returns:
        (N,) the same indices. Only where all that wait are twins of the last ones (at the very end,
        or in a tiny clip) do twins follow each other.

    Raises:
        ValueError: `annotators` is below 1.
    """
    if annotators < 1:
        raise ValueError(f"annotators must be 1 or more; got {annotators}")
    given = np.asarray(order, dtype=np.intp)
    if annotators == 1 or len(given) < 3:
        return given
    when = np.asarray(positions)[given].tolist()
    where = np.asarray(clips)[given].tolist()
    waiting: deque[int] = deque()
    recent: deque[int] = deque(maxlen=annotators - 1)
    placed: list[int] = []
    most = _PATIENCE * annotators

    def is_twin(place: int) -> bool:
        return any(
            where[place] == where[other] and abs(when[place] - when[other]) <= frames
            for other in recent
        )

    def put(place: int) -> None:
        placed.append(place)
        recent.append(place)

    upcoming = iter(range(len(given)))
    while len(placed) < len(given):
        freed = next((place for place in waiting if not is_twin(place)), None)
        if freed is not None:
            waiting.remove(freed)
            put(freed)
            continue
        following = next(upcoming, None) if len(waiting) < most else None
        if following is None:
            put(waiting.popleft())
        elif is_twin(following):
            waiting.append(following)
        else:
            put(following)
    return given[placed]


def order(
    candidates: Candidates, strategy: Strategy, budget: int, seed: int = 0
) -> NDArray[np.intp]:
    """Order all candidates of a project for the next round.

    Clips with a labelled frame: what `strategy` chooses, then falling uncertainty; a strategy made
    for one video chooses from each clip its share of the budget, by the sum of uncertainty. Clips
    without one, where the strategy needs uncertainties: the first frames by diversity, spread over
    the clip, then always the frame farthest in time from those before it. Where there are both,
    the budget is shared in proportion to their candidates and the two orders are interleaved.

    Args:
        candidates: All unlabelled tasks, N of them.
        strategy: What chooses.
        budget: How many are asked for in the round.
        seed: Of the choice.

    Returns:
        (N,) a permutation: the first `budget` are the chosen ones.

    Raises:
        ValueError: `budget` is negative.

    Warns:
        NonFiniteWarning: An uncertainty of a clip with labels is not finite; it is ranked last.
    """
    if budget < 0:
        raise ValueError(f"a budget is a number of samples, 0 or more; got {budget}")
    has_labels = np.array(
        [bool(len(candidates.labelled.get(int(clip), ()))) for clip in candidates.clips], dtype=bool
    )
    seen, fresh = np.flatnonzero(has_labels), np.flatnonzero(~has_labels)
    if not len(fresh):
        return _ranked(candidates, strategy, budget, seed)
    if not strategy.needs_uncertainty:
        picked = _chosen(candidates, strategy, budget, seed)
        left = np.ones(len(candidates), dtype=bool)
        left[picked] = False
        known = np.flatnonzero(left & has_labels)
        known = known[rank([], candidates.uncertainty[known])]
        tail = _then_farthest(candidates, picked)[len(picked) :]
        return np.concatenate([picked, _interleaved(known, tail[~has_labels[tail]])])
    kinds = [len(seen), len(fresh)]
    parts = share(kinds, kinds, budget).tolist()
    known = seen[_ranked(candidates.subset(seen), strategy, parts[0], seed)]
    new = fresh[_first(candidates.subset(fresh), parts[1], seed)]
    return np.concatenate(
        [
            _interleaved(known[: parts[0]], new[: parts[1]]),
            _interleaved(known[parts[0] :], new[parts[1] :]),
        ]
    )


def _ranked(candidates: Candidates, strategy: Strategy, budget: int, seed: int) -> NDArray[np.intp]:
    return rank(_chosen(candidates, strategy, budget, seed), candidates.uncertainty)


def _chosen(candidates: Candidates, strategy: Strategy, budget: int, seed: int) -> NDArray[np.intp]:
    """What a strategy chooses; clip by clip where it was made for one video."""
    clips, counts = np.unique(candidates.clips, return_counts=True)
    if len(clips) < 2 or not getattr(strategy, "by_clip", False):
        return strategy.select(candidates, budget, seed)
    places = [np.flatnonzero(candidates.clips == clip) for clip in clips]
    need = [float(candidates.uncertainty[own].sum()) for own in places]
    picked = [
        own[strategy.select(candidates.subset(own), part, seed)]
        for own, part in zip(places, share(need, counts, budget).tolist(), strict=True)
    ]
    return _interleaved(*picked)


def _first(candidates: Candidates, budget: int, seed: int) -> NDArray[np.intp]:
    """The order of clips that have no label yet."""
    clips, counts = np.unique(candidates.clips, return_counts=True)
    picked = []
    for clip, count in zip(clips, share(counts, counts, budget).tolist(), strict=True):
        own = np.flatnonzero(candidates.clips == clip)
        picked.append(own[spread(candidates.features[own], candidates.positions[own], count, seed)])
    return _then_farthest(candidates, _interleaved(*picked))


def _then_farthest(candidates: Candidates, picked: NDArray[np.intp]) -> NDArray[np.intp]:
    """Append the rest, always the frame farthest in time from what comes before it."""
    is_picked = np.zeros(len(candidates), dtype=bool)
    is_picked[picked] = True
    rest = np.flatnonzero(~is_picked)
    anchors = {int(clip): list(places) for clip, places in candidates.labelled.items()}
    for index in picked:
        anchors.setdefault(int(candidates.clips[index]), []).append(
            int(candidates.positions[index])
        )
    tail = farthest_in_time(candidates.positions[rest], candidates.clips[rest], anchors)
    return np.concatenate([picked, rest[tail]])


def _interleaved(*parts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Merge, each part spread evenly over the whole and in its own order."""
    places = [(np.arange(len(part)) + 0.5) / max(len(part), 1) for part in parts]
    merged = np.argsort(np.concatenate(places), kind="stable")
    return np.concatenate(parts)[merged]
