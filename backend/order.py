"""The order in which a project's frames are to be labelled, over all of its clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selection.diversity import spread
from selection.ranking import rank
from selection.strategies import Candidates, get_strategy

__all__ = ["ClipState", "Ranked", "order_frames"]


@dataclass(frozen=True, slots=True)
class ClipState:
    """What is known of a clip's N frames when the next ones are chosen.

    Attributes:
        positions: (N,) frame numbers, rising.
        labelled: (N,) bool: has a label; such a frame is not chosen.
        uncertainty: (N,) 0..1; any value where the clip has no label yet.
        features: (N, C) float32.
    """

    positions: npt.NDArray[np.float64]
    labelled: npt.NDArray[np.bool_]
    uncertainty: npt.NDArray[np.float64]
    features: npt.NDArray[np.float32]

    @property
    def fresh(self) -> bool:
        """Whether no frame of the clip has a label."""
        return not bool(self.labelled.any())

    @property
    def need(self) -> float:
        """How much there is to learn: the unlabelled frames' uncertainty, in whole frames."""
        if self.fresh:
            return float(len(self.positions))
        return float(np.nan_to_num(self.uncertainty[~self.labelled], nan=1.0).sum())


@dataclass(frozen=True, slots=True)
class Ranked:
    """A frame's place in the order: clip and frame by index, and whether it was chosen."""

    clip: int
    frame: int
    chosen: bool


def order_frames(clips: Sequence[ClipState], strategy: str, budget: int, seed: int) -> list[Ranked]:
    """Order every unlabelled frame of a project.

    The budget is shared by the clips' need. A clip without labels is sampled by diversity alone,
    spread over the clip; the others by the strategy. The chosen frames come first, the clips
    taking turns; the rest follow by falling uncertainty.

    Args:
        clips: The project's clips.
        strategy: Name in `selection.strategies`.
        budget: Frames to choose.
        seed: Seed of every random choice.

    Returns:
        All unlabelled frames, first to label first.
    """
    shares = _share(budget, clips)
    orders = [
        _order_clip(state, strategy, share, seed)
        for state, share in zip(clips, shares, strict=True)
    ]
    chosen = [
        Ranked(clip, int(order[turn]), True)
        for turn in range(max(shares, default=0))
        for clip, (order, share) in enumerate(zip(orders, shares, strict=True))
        if turn < share
    ]
    rest = [
        (clip, place, int(frame))
        for clip, (order, share) in enumerate(zip(orders, shares, strict=True))
        for place, frame in enumerate(order[share:])
    ]
    rest.sort(key=lambda item: _rest_key(clips[item[0]], *item))
    return chosen + [Ranked(clip, frame, False) for clip, _, frame in rest]


def _rest_key(state: ClipState, clip: int, place: int, frame: int) -> tuple[float, int, int]:
    if state.fresh:  # Nothing is known of it: as uncertain as can be, in its own spread order.
        return (-1.0, place, clip)
    value = float(state.uncertainty[frame])
    return (-value if np.isfinite(value) else 0.0, place, clip)


def _order_clip(state: ClipState, strategy: str, budget: int, seed: int) -> npt.NDArray[np.int64]:
    """All unlabelled frames of one clip, the ``budget`` chosen ones first."""
    open_frames = np.flatnonzero(~state.labelled)
    if len(open_frames) == 0:
        return open_frames
    features, positions = state.features[open_frames], state.positions[open_frames]
    if state.fresh:
        return open_frames[_spread_order(features, positions, budget, seed)]
    candidates = Candidates(
        uncertainty=state.uncertainty[open_frames],
        features=features,
        positions=positions,
        clips=np.zeros(len(open_frames), dtype=np.int64),
        labelled={0: [float(p) for p in state.positions[state.labelled]]},
    )
    chosen = get_strategy(strategy).select(candidates, budget, seed)
    return open_frames[rank(chosen, candidates.uncertainty)]


def _spread_order(
    features: npt.NDArray[np.float32], positions: npt.NDArray[np.float64], budget: int, seed: int
) -> npt.NDArray[np.int64]:
    """The ``budget`` first frames by diversity, then always the one farthest from all before."""
    first = list(spread(features, positions, budget, seed))
    distance = np.full(len(positions), np.inf)
    for index in first:
        distance = np.minimum(distance, np.abs(positions - positions[index]))
        distance[index] = -1.0
    order = first
    while len(order) < len(positions):
        index = int(np.argmax(distance))
        order.append(index)
        distance = np.minimum(distance, np.abs(positions - positions[index]))
        distance[index] = -1.0
    return np.asarray(order, dtype=np.int64)


def _share(budget: int, clips: Sequence[ClipState]) -> list[int]:
    """Whole samples per clip by need (largest remainder), none more than it has open frames."""
    room = np.array([int((~state.labelled).sum()) for state in clips], dtype=np.int64)
    need = np.array([state.need for state in clips]) * (room > 0) + 1e-9 * (room > 0)
    shares = np.zeros(len(clips), dtype=np.int64)
    left = int(min(budget, room.sum()))
    while left > 0:
        weight = np.where(shares < room, need, 0.0)
        ideal = left * weight / weight.sum()
        whole = np.minimum(np.floor(ideal).astype(np.int64), room - shares)
        if whole.sum() == 0:
            best = int(np.argmax(np.where(shares < room, ideal, -1.0)))
            whole[best] = 1
        shares += whole
        left -= int(whole.sum())
    return [int(share) for share in shares]
