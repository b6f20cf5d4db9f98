"""How a budget is shared over clips, and what to do next: go on, change granularity, or stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Advice", "Progress", "expected_clicks", "recommend", "share"]

_WORTH = 1.5
"""How many times more another granularity must promise per click before a change is advised."""
_STALLED = 0.002
"""Gain in expected quality per round below which labelling more is hardly worth it."""


def share(need: ArrayLike, most: ArrayLike, budget: int) -> NDArray[np.int64]:
    """Share a budget over clips in proportion to what they need (largest remainders).

    Args:
        need: (M,) ≥ 0, say the sum of a clip's uncertainty; not finite counts as the greatest.
        most: (M,) the most samples that each clip can take.
        budget: Samples to share.

    Returns:
        (M,) int64 with the sum min(budget, sum of `most`), none above its `most`. What is left over
        after rounding down goes to clips that have got none first.

    Raises:
        ValueError: Shapes differ, or something is negative.

    Example:
        >>> share([3.0, 1.0], [10, 10], 4).tolist()
        [3, 1]
    """
    wanted = np.array(need, dtype=np.float64)
    caps = np.array(most, dtype=np.int64)
    if wanted.ndim != 1 or wanted.shape != caps.shape:
        raise ValueError(f"need and most must be (clips,); got {wanted.shape} and {caps.shape}")
    if budget < 0 or (caps < 0).any() or (wanted < 0).any():
        raise ValueError("a budget, a need and the most a clip can take are 0 or more")
    finite = wanted[np.isfinite(wanted)]
    wanted[~np.isfinite(wanted)] = finite.max() if finite.size else 1.0
    if not wanted[caps > 0].any():
        wanted[:] = 1.0
    given = np.zeros(len(caps), dtype=np.int64)
    budget = int(min(budget, caps.sum()))
    while (left := budget - int(given.sum())) > 0:
        open_clips = np.flatnonzero((given < caps) & (wanted > 0))
        if not len(open_clips):  # only clips without need have room
            wanted[given < caps] = 1.0
            continue
        parts = left * wanted[open_clips] / wanted[open_clips].sum()
        whole = np.minimum(np.floor(parts + 1e-9).astype(np.int64), (caps - given)[open_clips])
        if whole.any():
            given[open_clips] += whole
        else:
            first = np.argsort(-(parts + 1.0 * (given[open_clips] == 0)), kind="stable")[:left]
            given[open_clips[first]] += 1
    return given


def expected_clicks(
    times: ArrayLike, labelled: ArrayLike, clicks: ArrayLike
) -> NDArray[np.float64]:
    """What labelling each frame of a clip is expected to cost, told from its labels so far.

    Between labelled frames the clicks go from one to the other by equal factors; before the first
    and after the last they stay.

    Args:
        times: (N,) frames asked about.
        labelled: (M,) labelled frames, in any order.
        clicks: (M,) what their labels cost.

    Returns:
        (N,) float64; NaN where no frame is labelled.

    Raises:
        ValueError: `labelled` and `clicks` differ in length, or a label cost less than nothing.
    """
    when = np.asarray(times, dtype=np.float64)
    marks, cost = np.asarray(labelled, dtype=np.float64), np.asarray(clicks, dtype=np.float64)
    if marks.ndim != 1 or marks.shape != cost.shape or (cost < 0).any():
        raise ValueError(
            f"each labelled frame has its clicks, 0 or more; got {marks.shape} and {cost.shape}"
        )
    if not len(marks):
        return np.full(when.shape, np.nan)
    rising = np.argsort(marks, kind="stable")
    out = np.exp(np.interp(when, marks[rising], np.log1p(cost[rising]))) - 1.0
    return np.asarray(out, dtype=np.float64)


@dataclass(frozen=True)
class Progress:
    """Where a clip or project stood after a round.

    Attributes:
        granularity: What was labelled in it, such as "frame" or "rectangle:16".
        clicks: Clicks spent so far, this round included.
        quality: Expected quality without ground truth (mIoU), 0..1; NaN where not known yet.
        samples: Samples labelled so far.
    """

    granularity: str
    clicks: int
    quality: float
    samples: int = 0


@dataclass(frozen=True)
class Advice:
    """What to do after a round.

    Attributes:
        action: "go on", "switch" or "stop".
        granularity: What to label next; what was labelled last where the action is "stop".
        reason: One sentence for people.
    """

    action: str
    granularity: str
    reason: str


def recommend(
    rounds: Sequence[Progress],
    *,
    target: float,
    clicks: int | None = None,
    samples: int | None = None,
    promise: Mapping[str, float] | None = None,
) -> Advice:
    """Advise what to do after the last of `rounds`.

    Args:
        rounds: All rounds so far, oldest first.
        target: The quality wanted, 0..1.
        clicks: The most clicks in all; None is no limit.
        samples: The most samples in all; None is no limit.
        promise: For each granularity the uncertainty that a click on its best samples is expected
            to remove (uncertainty × area, summed over the next samples, divided by their clicks).
            Granularities are compared with the last round's; without it none is advised.

    Returns:
        The advice: stop where the target is reached, the budget is spent, or the last two rounds
        gained next to nothing with no better granularity at hand; switch where another promises
        half as much again per click; else go on.

    Raises:
        ValueError: No round yet, or a target outside 0..1.
    """
    if not rounds:
        raise ValueError("there is no round to advise after yet")
    if not 0.0 <= target <= 1.0:
        raise ValueError(f"a target is a quality between 0 and 1; got {target}")
    last = rounds[-1]
    if last.quality >= target:
        return Advice(
            "stop",
            last.granularity,
            f"Expected quality {last.quality:.3f}: the target of {target:.3f} is reached.",
        )
    if clicks is not None and last.clicks >= clicks:
        return Advice(
            "stop", last.granularity, f"All {clicks} clicks are spent ({last.clicks} so far)."
        )
    if samples is not None and last.samples >= samples:
        return Advice(
            "stop", last.granularity, f"All {samples} samples are labelled ({last.samples} so far)."
        )
    known = {name: value for name, value in (promise or {}).items() if np.isfinite(value)}
    here = known.get(last.granularity, 0.0)
    best = max(known, key=lambda name: known[name], default=last.granularity)
    if last.granularity in known and best != last.granularity and known[best] > _WORTH * here:
        times = f"{known[best] / here:.1f} times" if here > 0 else "far"
        return Advice(
            "switch",
            best,
            f"A click on samples of {best} is expected to clear up {times} more than one of"
            f" {last.granularity}.",
        )
    qualities = [row.quality for row in rounds[-3:]]
    if len(qualities) == 3 and np.isfinite(qualities).all():
        gain = (qualities[2] - qualities[0]) / 2
        if gain < _STALLED:
            return Advice(
                "stop",
                last.granularity,
                f"The last two rounds gained {gain:.4f} each; {last.quality:.3f} is about what"
                " more labels can give.",
            )
    return Advice("go on", last.granularity, _outlook(rounds, target))


def _outlook(rounds: Sequence[Progress], target: float) -> str:
    """How far it is, told from the last round's gain per click."""
    last = rounds[-1]
    if not np.isfinite(last.quality):
        return "The quality is not known yet: label two frames or more."
    sentence = f"Expected quality {last.quality:.3f}, the target is {target:.3f}"
    if len(rounds) > 1:
        before = rounds[-2]
        gain, spent = last.quality - before.quality, last.clicks - before.clicks
        if gain > 0 and spent > 0:
            more = int(np.ceil((target - last.quality) * spent / gain))
            return f"{sentence}: at the last round's pace about {more} clicks more."
    return f"{sentence}."
