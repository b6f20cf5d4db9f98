"""What a simulation gives: rounds, clips, and the means over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.evaluation import mean_values
from backend.scoring import FrameScore, Picture, Values

__all__ = ["LEVELS", "ClipSimulation", "SimulatedRound", "kinds", "mean_of_rounds"]

LEVELS = (80, 85, 90, 95)
"""Per cent of the quality of labelling by hand, at which clicks are told."""


@dataclass(frozen=True)
class SimulatedRound:
    """One round and where the clip stood after it.

    Attributes:
        number: From 1.
        samples: The frames labelled in it, best first; where samples are parts of frames, pairs of
            frame and sample number.
        clicks: Boundary clicks of all labels so far, each drawn from scratch.
        clicks_percent: The same, of labelling every frame by hand.
        correction_clicks: Clicks so far where each label corrects the last round's mask instead.
        unlabelled: Scores over the frames without a label; None where there are none.
        all: Scores over every frame.
        seconds: For fine-tuning, propagation, selection and all three.
    """

    number: int
    samples: list[int] | list[tuple[int, int]]
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
        samples: What was asked for: "frame", "rectangle:16", …
        seed: Of all chance.
        budget: Samples a round.
        clicks_by_hand: Of labelling every frame.
        miou_by_hand: What labelling every frame reaches, contours simplified as clicks draw them.
        rounds: In order; fewer than asked for where no frame was left.
        peak_memory_mb: The most memory the process held meanwhile.
        frames: Each frame's own score after the last round.
        pictures: A few frames after the last round.
    """

    clip: str
    class_names: tuple[str, ...]
    strategy: str
    samples: str
    seed: int
    budget: int
    clicks_by_hand: int
    miou_by_hand: float
    rounds: list[SimulatedRound]
    peak_memory_mb: float
    frames: list[FrameScore]
    pictures: list[Picture]

    @property
    def label(self) -> str:
        """Strategy and samples, for people."""
        return self.strategy if self.samples == "frame" else f"{self.strategy}, {self.samples}"

    def clicks_to_reach(self, level: float) -> float | None:
        """Clicks, in per cent of all, at which so many per cent of `miou_by_hand` are reached.

        Between rounds they are told by a straight line; what the first round reaches already
        cost at most what it did. None where no round reaches it.
        """
        wanted = level / 100 * self.miou_by_hand
        before: tuple[float, float] | None = None
        for row in self.rounds:
            quality, clicks = row.all["miou"], row.clicks_percent
            if quality is None or clicks is None:
                continue
            if quality >= wanted:
                if before is None:
                    return clicks
                share = (wanted - before[1]) / (quality - before[1])
                return before[0] + share * (clicks - before[0])
            before = (clicks, quality)
        return None

    def record(self) -> dict[str, Any]:
        """As in the JSON of `maskloop simulate`; see docs/evaluate.md."""
        return {
            "clip": self.clip,
            "frames": len(self.frames),
            "strategy": self.strategy,
            "samples": self.samples,
            "seed": self.seed,
            "budget": self.budget,
            "clicks_by_hand": self.clicks_by_hand,
            "miou_by_hand": self.miou_by_hand,
            "clicks_percent_to_reach": {str(q): self.clicks_to_reach(q) for q in LEVELS},
            "rounds": [row.record() for row in self.rounds],
            "peak_memory_mb": self.peak_memory_mb,
        }


def kinds(results: Sequence[ClipSimulation]) -> dict[tuple[str, str], list[ClipSimulation]]:
    """The runs of each strategy and kind of samples."""
    found: dict[tuple[str, str], list[ClipSimulation]] = {}
    for result in results:
        found.setdefault((result.strategy, result.samples), []).append(result)
    return found


def mean_of_rounds(results: Sequence[ClipSimulation]) -> list[dict[str, Any]]:
    """For each strategy, kind of samples and round the means over clips and seeds."""
    return [
        {"strategy": strategy, "samples": samples, "rounds": _mean_rounds(runs)}
        for (strategy, samples), runs in kinds(results).items()
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
