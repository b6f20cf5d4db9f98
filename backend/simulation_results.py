"""What a simulation gives: rounds, clips, and the means over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.evaluation import mean_values
from backend.scoring import FrameScore, Picture, Values

__all__ = ["ClipSimulation", "SimulatedRound", "mean_of_rounds"]


@dataclass(frozen=True)
class SimulatedRound:
    """One round and where the clip stood after it.

    Attributes:
        number: From 1.
        samples: The frames labelled in it, best first.
        clicks: Boundary clicks of all labels so far, each drawn from scratch.
        clicks_percent: The same, of labelling every frame by hand.
        correction_clicks: Clicks so far where each label corrects the last round's mask instead.
        unlabelled: Scores over the frames without a label; None where there are none.
        all: Scores over every frame.
        seconds: For fine-tuning, propagation, selection and all three.
    """

    number: int
    samples: list[int]
    clicks: int
    clicks_percent: float | None
    correction_clicks: int
    unlabelled: Values | None
    all: Values
    seconds: dict[str, float]

    def record(self) -> dict[str, Any]:
        """As in the JSON of `maskloop simulate`."""
        return {
            "round": self.number,
            "samples": self.samples,
            "clicks": self.clicks,
            "clicks_percent": self.clicks_percent,
            "correction_clicks": self.correction_clicks,
            "unlabelled": self.unlabelled,
            "all": self.all,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class ClipSimulation:
    """All rounds of one clip, strategy and seed.

    Attributes:
        clip: The clip's name.
        class_names: By class index.
        strategy: Who chose.
        seed: Of all chance.
        budget: Frames a round.
        clicks_by_hand: Of labelling every frame.
        rounds: In order; fewer than asked for where no frame was left.
        peak_memory_mb: The most memory the process held meanwhile.
        frames: Each frame's own score after the last round.
        pictures: A few frames after the last round.
    """

    clip: str
    class_names: tuple[str, ...]
    strategy: str
    seed: int
    budget: int
    clicks_by_hand: int
    rounds: list[SimulatedRound]
    peak_memory_mb: float
    frames: list[FrameScore]
    pictures: list[Picture]

    def record(self) -> dict[str, Any]:
        """As in the JSON of `maskloop simulate`; see docs/evaluate.md."""
        return {
            "clip": self.clip,
            "frames": len(self.frames),
            "strategy": self.strategy,
            "samples": "frame",
            "seed": self.seed,
            "budget": self.budget,
            "clicks_by_hand": self.clicks_by_hand,
            "rounds": [row.record() for row in self.rounds],
            "peak_memory_mb": self.peak_memory_mb,
        }


def mean_of_rounds(results: Sequence[ClipSimulation]) -> list[dict[str, Any]]:
    """For each strategy and round the means over clips and seeds, as in the JSON."""
    by_strategy: dict[str, list[ClipSimulation]] = {}
    for result in results:
        by_strategy.setdefault(result.strategy, []).append(result)
    return [
        {"strategy": strategy, "rounds": _mean_rounds(runs)}
        for strategy, runs in by_strategy.items()
    ]


def _mean_rounds(runs: Sequence[ClipSimulation]) -> list[Mapping[str, Any]]:
    out: list[Mapping[str, Any]] = []
    for number in range(1, max(len(run.rounds) for run in runs) + 1):
        rows = [run.rounds[number - 1] for run in runs if len(run.rounds) >= number]
        out.append(
            {
                "round": number,
                **mean_values(
                    [
                        {
                            "clicks": float(row.clicks),
                            "clicks_percent": row.clicks_percent,
                            "correction_clicks": float(row.correction_clicks),
                        }
                        for row in rows
                    ]
                ),
                "unlabelled": mean_values([row.unlabelled or {} for row in rows]),
                "all": mean_values([row.all for row in rows]),
            }
        )
    return out
