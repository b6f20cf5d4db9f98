"""Simulated runs for the page on what selection saves, each in a file of its own.

A run whose file is there is not made again, so that what was stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from backend.evaluation import Report
from backend.measurement import document, write_json
from backend.queries import parse_budget
from backend.settings import Settings
from backend.simulation import Groundwork, prepare, simulate_clip
from model.benchmark import LabelledClip, MaskFiles, find_clips, open_labelled
from model.synthetic import render_clip
from selection.granularity import parse_granularity

__all__ = ["Asked", "Record", "asked_for", "known_runs", "made_ready", "make_runs", "standard"]

DATA = Path(
    os.environ.get("MASKLOOP_DATA", Path(__file__).parent.parent.parent / "shared" / "data")
)
WITHOUT_CHANCE = ("reach", "uniform")
"""Where no network is trained; all others draw the first round, or every one, by seed."""

Record = Mapping[str, Any]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Asked:
    """A run, but for its clip.

    Attributes:
        strategy: Who chooses.
        samples: What is asked for: "frame", "rectangle:16", …
        seed: Of all chance.
        budget: Samples a round: "5", or "10%".
        rounds: How many.
    """

    strategy: str
    samples: str
    seed: int
    budget: str
    rounds: int

    def file(self, clip: str) -> str:
        """The name of the run's file."""
        plan = f"{self.budget}x{self.rounds}"
        parts = (clip, plan, self.strategy, self.samples, f"seed{self.seed}")
        return re.sub(r"[^\w.-]+", "-", "-".join(parts)) + ".json"


@dataclass
class _Held:
    """Frames or masks of a clip, smaller by a whole factor, decoded once and kept."""

    source: Any
    factor: int
    interpolation: int
    kept: dict[int, Picture] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Picture:
        if index not in self.kept:
            picture = self.source.read(index)
            size = (picture.shape[1] // self.factor, picture.shape[0] // self.factor)
            if self.factor > 1:
                picture = cv2.resize(picture, size, interpolation=self.interpolation)
            self.kept[index] = np.asarray(picture, np.uint8)
        return self.kept[index]


def standard(data: Path = DATA) -> Iterator[LabelledClip]:
    """The clips that the page is about: four rendered ones of 100 frames, CamVid 15 Hz, DAVIS."""
    for difficulty in ("easy", "hard"):
        for seed in (1, 2):
            drawn = render_clip(100, (320, 240), seed, difficulty)
            name = f"rendered/{difficulty}{seed}"
            yield LabelledClip(drawn, drawn.masks, drawn.class_names, name)
    for folder in ("camvid-15hz", "davis"):
        if (data / folder).is_dir():
            yield from map(open_labelled, find_clips(data / folder))


def made_ready(clip: LabelledClip, shrink: int) -> LabelledClip:
    """The clip held in memory; a real one smaller by a whole factor (rendered ones are small)."""
    factor = shrink if isinstance(clip.masks, MaskFiles) else 1
    frames = _Held(clip.source, factor, cv2.INTER_AREA)
    masks: Any = _Held(clip.masks, factor, cv2.INTER_NEAREST)
    return LabelledClip(frames, masks, clip.class_names, clip.name)


def asked_for(
    strategies: Iterable[str],
    samples: Iterable[str],
    plans: Iterable[tuple[str, int]],
    seeds: int,
    *,
    chance: bool,
) -> list[Asked]:
    """All runs of a clip.

    Args:
        strategies: On frames.
        samples: Parts of frames, which are chosen by `reach`, with the last plan.
        plans: Budget and rounds.
        seeds: How many, where there is chance.
        chance: Whether there is in all of them, as where a network is trained.
    """
    known = list(plans)
    runs = [
        Asked(name, "frame", seed, budget, rounds)
        for budget, rounds in known
        for name in strategies
        for seed in range(seeds if chance or name not in WITHOUT_CHANCE else 1)
    ]
    return [*runs, *(Asked("reach", kind, 0, *known[-1]) for kind in samples)]


def make_runs(
    clip: LabelledClip,
    asked: Sequence[Asked],
    base: Settings,
    shrink: int,
    folder: Path,
    report: Report | None = None,
) -> None:
    """Make the runs of a clip that have no file yet.

    Args:
        clip: As it was opened.
        asked: Which runs.
        base: The settings, but for strategy and seed.
        shrink: By what factor a real clip is made smaller.
        folder: Where the files are.
        report: Told of the progress.

    Raises:
        ValueError: A file is there of a run with other settings.
    """
    missing = [run for run in asked if not _is_made(folder / run.file(clip.name), base, shrink)]
    if not missing:
        return
    small = made_ready(clip, shrink)
    ground: Groundwork = prepare(small, base, report)
    for run in missing:
        result = simulate_clip(
            small,
            base.model_copy(update={"strategy": run.strategy, "seed": run.seed}),
            parse_budget(run.budget),
            run.rounds,
            samples=parse_granularity(run.samples),
            ground=ground,
            follow=False,
            report=report,
        )
        settings = {"budget": run.budget, "rounds": run.rounds, "shrink": shrink}
        data = {**document("simulate", settings, base), "clips": [result.record()]}
        write_json(folder / run.file(clip.name), data, last=True)


def _is_made(file: Path, base: Settings, shrink: int) -> bool:
    if not file.exists():
        return False
    settings = json.loads(file.read_text(encoding="utf-8"))["settings"]
    wanted = {
        "method": base.method,
        "flow": base.flow,
        "finetune_seconds": base.finetune_seconds,
        "shrink": shrink,
    }
    for name, value in wanted.items():
        if settings.get(name) != value:
            raise ValueError(
                f"{file} was made with {name} {settings.get(name)}, and now {value} is asked for;"
                " give another folder"
            )
    return True


def known_runs(folder: Path) -> tuple[list[Record], Record]:
    """Read all runs of a folder.

    Returns:
        The runs, each with its `plan`, (budget, rounds); and the head of one of the files.

    Raises:
        ValueError: There is none.
    """
    runs: list[Record] = []
    head: Record = {}
    for file in sorted(folder.glob("*.json")):
        head = json.loads(file.read_text(encoding="utf-8"))
        plan = (head["settings"]["budget"], head["settings"]["rounds"])
        runs += [{**run, "plan": plan} for run in head["clips"]]
    if not runs:
        raise ValueError(f"{folder} holds no runs; leave out --page to make them")
    return runs, head
