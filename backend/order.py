"""The order in which a project's frames are to be labelled, over all of its clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selection.budget import expected_clicks
from selection.ranking import apart, order
from selection.reach import Reach
from selection.strategies import Candidates, get_strategy

__all__ = ["ClipState", "Ranked", "order_frames"]


@dataclass(frozen=True, slots=True)
class ClipState:
    """What is known of a clip's N frames when the next ones are chosen.

    Attributes:
        positions: (N,) frame numbers, rising.
        labelled: (N,) bool: has a label; such a frame is not chosen.
        uncertainty: (N,) 0..1; any value where the clip has no label yet.
        features: (N, C) float32; C may differ from clip to clip.
        reach: The temporal reach of the N frames, where it was measured.
        clicks: (N,) what the labels cost; NaN where there is none. None where it is not known.
        skipped: (N,) bool: people skipped it, and it has no label; it is not chosen, and comes
            last. None for no frame.
    """

    positions: npt.NDArray[np.int64]
    labelled: npt.NDArray[np.bool_]
    uncertainty: npt.NDArray[np.float64]
    features: npt.NDArray[np.float32]
    reach: Reach | None = None
    clicks: npt.NDArray[np.float64] | None = None
    skipped: npt.NDArray[np.bool_] | None = None

    @property
    def open(self) -> npt.NDArray[np.bool_]:
        """(N,) the frames that may be chosen."""
        return ~self.labelled if self.skipped is None else ~self.labelled & ~self.skipped

    @property
    def times(self) -> npt.NDArray[np.int64]:
        """(N,) when each frame is: its number, or its index where reach tells the distances."""
        return self.positions if self.reach is None else np.arange(len(self.positions))

    def expected_clicks(self) -> npt.NDArray[np.float64]:
        """(N,) what labelling each frame would cost, told from the labels so far."""
        if self.clicks is None:
            return np.full(len(self.positions), np.nan)
        known = np.flatnonzero(np.isfinite(self.clicks))
        return expected_clicks(self.times, self.times[known], self.clicks[known])


@dataclass(frozen=True, slots=True)
class Ranked:
    """A frame's place in the order: clip and frame by index, and whether it was chosen."""

    clip: int
    frame: int
    chosen: bool


def order_frames(
    clips: Sequence[ClipState], strategy: str, budget: int, seed: int, annotators: int = 1
) -> list[Ranked]:
    """Order every unlabelled frame of a project, the chosen ones of this round first.

    Frames that people skipped come after all others.

    Args:
        clips: The project's clips.
        strategy: Name in `selection.strategies`.
        budget: Frames to choose.
        seed: Seed of every random choice.
        annotators: How many people label at the same time; what they have open together is then
            not of the same moment of a clip.

    Returns:
        All unlabelled frames, first to label first.

    Raises:
        ValueError: When there is no such strategy.
    """
    places = _places(clips, [state.open for state in clips])
    late = _places(clips, [~state.labelled & ~state.open for state in clips])
    late.sort(key=lambda place: -clips[place[0]].uncertainty[place[1]])
    last = [Ranked(clip, frame, chosen=False) for clip, frame in late]
    if not places:
        return last
    costs = [state.expected_clicks() for state in clips]
    width = max(state.features.shape[1] for state in clips)
    candidates = Candidates(
        uncertainty=np.array([clips[clip].uncertainty[frame] for clip, frame in places]),
        features=np.stack([_padded(clips[clip].features[frame], width) for clip, frame in places]),
        positions=np.array([clips[clip].times[frame] for clip, frame in places]),
        clips=np.array([clip for clip, _ in places]),
        labelled={clip: state.times[state.labelled].tolist() for clip, state in enumerate(clips)},
        clicks=np.array([costs[clip][frame] for clip, frame in places]),
        reach={clip: state.reach for clip, state in enumerate(clips) if state.reach is not None},
    )
    ranked = order(candidates, get_strategy(strategy), budget, seed)
    chosen = set(ranked[:budget].tolist())
    moved = apart(ranked, candidates.positions, candidates.clips, annotators)
    return [
        *(Ranked(places[i][0], places[i][1], chosen=i in chosen) for i in moved.tolist()),
        *last,
    ]


def _places(
    clips: Sequence[ClipState], wanted: Sequence[npt.NDArray[np.bool_]]
) -> list[tuple[int, int]]:
    """Clip and frame, by index, of the frames that are wanted."""
    return [
        (clip, int(frame)) for clip in range(len(clips)) for frame in np.flatnonzero(wanted[clip])
    ]


def _padded(feature: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float32]:
    return np.pad(feature, (0, width - len(feature)))
