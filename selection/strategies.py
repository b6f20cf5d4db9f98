"""Strategies: which samples to ask for next, by name; others come in by entry point.

A strategy sees the unlabelled samples as `Candidates` and gives back the chosen ones, best first.
Packages offer theirs by an entry point of the group `maskloop.strategies` that names a callable
without arguments (a class, usually) that makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from selection.diversity import core_set, facility_location, kmeans_centroids
from selection.planning import plan
from selection.reach import Reach
from selection.timeline import evenly
from selection.uncertainty import rankable

__all__ = [
    "HVSA",
    "STRATEGIES",
    "Candidates",
    "CoreSet",
    "Diversity",
    "FacilityLocation",
    "Random",
    "Strategy",
    "TemporalReach",
    "Uncertainty",
    "Uniform",
    "get_strategy",
    "register_strategy",
    "strategy_names",
]


@dataclass(frozen=True)
class Candidates:
    """The unlabelled samples that a strategy chooses from.

    Args:
        uncertainty: (N,) float, higher is more uncertain; NaN where nothing is known.
        features: (N, C) float32, one row a sample.
        positions: (N,) frame indices.
        clips: (N,) int, which clip each sample belongs to.
        labelled: Frame indices that are labelled, by clip; a clip without any may be missing.
        reach: The temporal reach of each clip's frames, by clip; where a clip is missing,
            strategies that use it go by time alone.
        clicks: (N,) what labelling each is expected to cost, from the masks so far; NaN, or None
            for all, where that is not known.

    Raises:
        ValueError: The shapes don't fit together.
    """

    uncertainty: NDArray[np.floating]
    features: NDArray[np.floating]
    positions: NDArray[Any]
    clips: NDArray[np.integer]
    labelled: Mapping[int, Sequence[int]] = field(default_factory=dict)
    reach: Mapping[int, Reach] = field(default_factory=dict)
    clicks: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        count = len(self.positions)
        for name in ("uncertainty", "positions", "clips", "clicks"):
            values = getattr(self, name)
            shape = (count,) if values is None else values.shape
            if shape != (count,):
                raise ValueError(f"{name} must be ({count},), one a candidate; got {shape}")
        if self.features.ndim != 2 or len(self.features) != count:
            raise ValueError(f"features must be ({count}, C); got {self.features.shape}")

    def __len__(self) -> int:
        return len(self.positions)

    def subset(self, indices: NDArray[np.intp]) -> Candidates:
        """The candidates at `indices`, in that order; labelled frames and reach stay."""
        return Candidates(
            self.uncertainty[indices],
            self.features[indices],
            self.positions[indices],
            self.clips[indices],
            self.labelled,
            self.reach,
            None if self.clicks is None else self.clicks[indices],
        )


@runtime_checkable
class Strategy(Protocol):
    """Chooses samples.

    `needs_uncertainty` says that it can't choose where no frame of a clip is labelled yet; there
    `ranking.order` takes the first frames by diversity instead. A strategy that chooses by
    `Candidates.reach` says so with an attribute `needs_reach`, and it is measured for it. One that
    was made for a single video says so with `by_clip`: `ranking.order` then asks it clip by clip,
    each for its share of the budget by need.
    """

    name: str
    needs_uncertainty: bool

    def select(self, candidates: Candidates, budget: int, seed: int = 0) -> NDArray[np.intp]:
        """Choose.

        Args:
            candidates: What there is, N of them.
            budget: How many to choose, ≥ 0.
            seed: The same seed on the same candidates gives the same choice.

        Returns:
            (min(budget, N),) unique indices into the candidates, best first.

        Raises:
            ValueError: `budget` is negative.
        """
        ...


class HVSA:
    """The most uncertain half, clustered by features; the sample nearest to each centroid.

    WACV 2023, section 3.2: k-means into as many clusters as the budget. The half is never smaller
    than the budget. Most uncertain first.
    """

    name: str = "hvsa"
    needs_uncertainty: bool = True
    by_clip: bool = True

    def select(self, candidates: Candidates, budget: int, seed: int = 0) -> NDArray[np.intp]:
        """Choose; see `Strategy.select`."""
        count = _clamped(budget, candidates)
        uncertain = rankable(candidates.uncertainty)
        half = max(count, (len(candidates) + 1) // 2)
        kept = np.argsort(-uncertain, kind="stable")[:half]
        chosen = kept[kmeans_centroids(candidates.features[kept], count, seed)]
        return chosen[np.argsort(-uncertain[chosen], kind="stable")]


class Uniform:
    """Even in time: each choice divides the widest stretch without a label."""

    name: str = "uniform"
    needs_uncertainty: bool = False

    def select(self, candidates: Candidates, budget: int, seed: int = 0) -> NDArray[np.intp]:
        """Choose; the seed plays no part. See `Strategy.select`."""
        count = _clamped(budget, candidates)
        return evenly(candidates.positions, count, candidates.clips, candidates.labelled)


class Random:
    """Drawn without replacement."""

    name: str = "random"
    needs_uncertainty: bool = False

    def select(self, candidates: Candidates, budget: int, seed: int = 0) -> NDArray[np.intp]:
        """Choose; see `Strategy.select`."""
        drawn = np.random.default_rng(seed).permutation(len(candidates))
        return drawn[: _clamped(budget, candidates)].astype(np.intp)


class Uncertainty:
    """The most uncertain ones, alike or not."""

    name: str = "uncertainty"
    needs_uncertainty: bool = True

    def select(self, candidates: Candidates, budget: int, seed: int = 0) -> NDArray[np.intp]:
        """Choose; the seed plays no part. See `Strategy.select`."""
        falling = np.argsort(-rankable(candidates.uncertainty), kind="stable")
        return falling[: _clamped(budget, candidates)]


class Diversity:
    """k-means over the features of all; the sample nearest to each centroid."""

    name: str = "diversity"
    needs_uncertainty: bool = False
    by_clip: bool = True

    def select(self, candidates: Candidates, budget: int, seed: int = 0) -> NDArray[np.intp]:
        """Choose; see `Strategy.select`."""
        return kmeans_centroids(candidates.features, _clamped(budget, candidates), seed)


class CoreSet:
    """Greedy k-centre over the features: none is far from a chosen one (Sener & Savarese 2018)."""

    name: str = "core-set"
    needs_uncertainty: bool = False
    by_clip: bool = True

    def select(self, candidates: Candidates, budget: int, seed: int = 0) -> NDArray[np.intp]:
        """Choose; see `Strategy.select`."""
        return core_set(candidates.features, _clamped(budget, candidates), seed)


class FacilityLocation:
    """Greedy facility location over the features: all are near to a chosen one on the mean."""

    name: str = "facility-location"
    needs_uncertainty: bool = False
    by_clip: bool = True

    def select(self, candidates: Candidates, budget: int, seed: int = 0) -> NDArray[np.intp]:
        """Choose; see `Strategy.select`."""
        return facility_location(candidates.features, _clamped(budget, candidates), seed)


class TemporalReach:
    """The frames whose labels are expected to leave least uncertain, by flow, exactly.

    Dynamic programming over what each frame's label would explain of the frames around it
    (`selection.reach`, evened; `selection.planning`); clips share the budget by what they need,
    stretches whose masks turned out uncertain get more of it, and dear frames give way to cheap
    ones that serve almost as well. The frame that explains most comes first. Needs neither labels
    nor features.
    """

    name: str = "reach"
    needs_uncertainty: bool = False
    needs_reach: bool = True

    def select(self, candidates: Candidates, budget: int, seed: int = 0) -> NDArray[np.intp]:
        """Choose; the seed plays no part. See `Strategy.select`."""
        count = _clamped(budget, candidates)
        clips, positions = candidates.clips.tolist(), candidates.positions.tolist()
        places: dict[tuple[int, int], int] = {}
        frames: dict[int, list[int]] = {}
        for index, (clip, frame) in enumerate(zip(clips, positions, strict=True)):
            if (clip, frame) not in places:  # a frame may have several tasks; one will do
                places[clip, frame] = index
                frames.setdefault(clip, []).append(int(frame))
        reaches = {
            clip: _long_enough(candidates.reach.get(clip), own, candidates.labelled.get(clip, ()))
            for clip, own in frames.items()
        }
        reaches = {clip: reach.evened() for clip, reach in reaches.items()}
        clicks = _by_frame(candidates, candidates.clicks, reaches)
        unsure = _by_frame(candidates, candidates.uncertainty, reaches)
        picked = plan(reaches, frames, candidates.labelled, count, clicks, unsure)
        chosen = [places[pair] for pair in picked]
        if len(chosen) < count:
            rest = np.setdiff1d(np.arange(len(candidates)), chosen)
            chosen.extend(rest[: count - len(chosen)].tolist())
        return np.array(chosen, dtype=np.intp)


def _by_frame(
    candidates: Candidates, values: NDArray[np.floating] | None, reaches: Mapping[int, Reach]
) -> dict[int, NDArray[np.float64]]:
    """A value of each candidate by clip and frame; NaN where it is not known."""
    found: dict[int, NDArray[np.float64]] = {
        clip: np.full(len(reach), np.nan) for clip, reach in reaches.items()
    }
    if values is not None:
        for clip, known in found.items():
            own = candidates.clips == clip
            known[candidates.positions[own].astype(np.int64)] = values[own]
    return found


def _long_enough(reach: Reach | None, frames: Sequence[int], labelled: Sequence[int]) -> Reach:
    """The reach, or one by time where there is none or it ends before the clip does."""
    length = max(*frames, *labelled, 0) + 1
    return reach if reach is not None and len(reach) >= length else Reach.from_time(length)


def _clamped(budget: int, candidates: Candidates) -> int:
    if budget < 0:
        raise ValueError(f"a budget is a number of samples, 0 or more; got {budget}")
    return min(int(budget), len(candidates))


STRATEGIES: dict[str, Callable[[], Strategy]] = {}
"""Makers of strategies by name."""


def register_strategy(name: str, maker: Callable[[], Strategy]) -> None:
    """Make `get_strategy(name)` return `maker()`; raises `ValueError` where the name is taken."""
    if name in STRATEGIES:
        raise ValueError(f"a strategy named {name!r} is registered already")
    STRATEGIES[name] = maker


for _maker in (
    HVSA,
    Uniform,
    Random,
    Uncertainty,
    Diversity,
    CoreSet,
    FacilityLocation,
    TemporalReach,
):
    register_strategy(_maker.name, _maker)


def _plugins() -> Iterator[Any]:
    yield from entry_points(group="maskloop.strategies")


def strategy_names() -> tuple[str, ...]:
    """The names that `get_strategy` knows, those of installed packages included."""
    return tuple(sorted({*STRATEGIES, *(point.name for point in _plugins())}))


def get_strategy(name: str) -> Strategy:
    """Make the strategy registered under `name`, or offered by an installed package.

    Raises:
        ValueError: No strategy has this name.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]()
    for point in _plugins():
        if point.name == name:
            strategy: Strategy = point.load()()
            return strategy
    raise ValueError(
        f"there is no strategy named {name!r}; the strategies are {', '.join(strategy_names())}"
    )
