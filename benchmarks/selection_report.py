"""What selection saves: the page docs/selection-report.md with its curves, by one command:

    python -m benchmarks.selection_report [CLIPS] [--method flow] [--shrink 2] [--out docs]

Simulates every strategy on frames (those without chance once, the others with three seeds), and
`reach` on frames, rectangles and super-pixels. Without CLIPS: four rendered ones of 100 frames, and
those in ../shared/data (MASKLOOP_DATA) where they are. `--from FILE…` makes the page of what
`maskloop simulate --json` wrote, instead of simulating.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console

from backend.evaluation import Report
from backend.figures import click_curves
from backend.measurement import document, write_json
from backend.queries import parse_budget
from backend.settings import load_settings
from backend.simulation import prepare, simulate_clip
from backend.simulation_results import LEVELS
from backend.workbar import WorkBar
from model.benchmark import LabelledClip, MaskFiles, find_clips, open_labelled
from model.synthetic import render_clip
from selection.granularity import parse_granularity

HERE = Path(__file__).parent
DATA = Path(os.environ.get("MASKLOOP_DATA", HERE.parent.parent / "shared" / "data"))
WITHOUT_CHANCE = ("reach", "uniform", "uncertainty")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Shrunk:
    """Frames or masks of a clip, made smaller by a whole factor."""

    source: Any
    factor: int
    interpolation: int

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        picture = self.source.read(index)
        size = (picture.shape[1] // self.factor, picture.shape[0] // self.factor)
        return np.asarray(cv2.resize(picture, size, interpolation=self.interpolation), np.uint8)


def standard(data: Path) -> Iterator[LabelledClip]:
    """The clips that the page is about."""
    for difficulty in ("easy", "hard"):
        for seed in (1, 2):
            drawn = render_clip(100, (320, 240), seed, difficulty)
            yield LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)
    for folder in ("camvid-15hz", "davis"):
        if (data / folder).is_dir():
            yield from map(open_labelled, find_clips(data / folder))


def shrunk(clip: LabelledClip, factor: int) -> LabelledClip:
    """A real clip made smaller; rendered ones are small."""
    if factor == 1 or not isinstance(clip.masks, MaskFiles):
        return clip
    frames = Shrunk(clip.source, factor, cv2.INTER_AREA)
    masks: Any = Shrunk(clip.masks, factor, cv2.INTER_NEAREST)
    return LabelledClip(frames, masks, clip.class_names, clip.name)


def simulated(clip: LabelledClip, options: argparse.Namespace, report: Report) -> Iterator[Record]:
    """All runs on a clip."""
    base = load_settings(method=options.method, finetune_seconds=options.finetune_seconds)
    ground = prepare(clip, base, report)
    budget = parse_budget(options.budget)
    runs = [
        (name, "frame", seed)
        for name in options.strategies.split(",")
        for seed in range(1 if name in WITHOUT_CHANCE else options.seeds)
    ]
    runs += [("reach", samples, 0) for samples in options.samples.split(",") if samples != "frame"]
    for strategy, samples, seed in runs:
        yield simulate_clip(
            clip,
            base.model_copy(update={"strategy": strategy, "seed": seed}),
            budget,
            options.rounds,
            samples=parse_granularity(samples),
            ground=ground,
            follow=False,
            report=report,
        ).record()


def curve(run: Record) -> npt.NDArray[np.float64]:
    """(2, rounds): clicks in per cent, mIoU."""
    points = [(row["clicks_percent"], row["all"]["miou"]) for row in run["rounds"]]
    return np.array(points, dtype=np.float64).T


def areas(runs: Sequence[Record]) -> dict[tuple[str, str, int], float]:
    """Mean mIoU over the clicks that all runs of a clip cover, by clip, strategy and seed."""
    found = {}
    for clip in dict.fromkeys(run["clip"] for run in runs):
        own = [run for run in runs if run["clip"] == clip]
        low = max(curve(run)[0, 0] for run in own)
        high = min(curve(run)[0, -1] for run in own)
        if high <= low:
            continue
        where = np.linspace(low, high, 101)
        for run in own:
            quality = float(np.interp(where, *curve(run)).mean())
            found[clip, run["strategy"], run["seed"]] = quality
    return found


def area_table(runs: Sequence[Record]) -> list[str]:
    """Strategies by clip: the area under quality against clicks."""
    found = areas(runs)
    clips = list(dict.fromkeys(clip for clip, _, _ in found))
    names = list(dict.fromkeys(strategy for _, strategy, _ in found))
    lines = [_row(["clip", *names]), "|---|" + "---|" * len(names)]
    for clip in clips:
        lines.append(_row([clip, *(f"{np.mean(_seeds(found, clip, n)):.4f}" for n in names)]))
    means, spreads = [], []
    for name in names:
        # How much the mean over the clips moves with the seed.
        seeds = min(len(_seeds(found, clip, name)) for clip in clips)
        by_seed = [np.mean([_seeds(found, clip, name)[s] for clip in clips]) for s in range(seeds)]
        means.append(f"**{np.mean(by_seed):.4f}**")
        spreads.append("no chance" if seeds == 1 else f"± {np.std(by_seed, ddof=1):.4f}")
    return [*lines, _row(["**mean**", *means]), _row(["spread over seeds", *spreads])]


def _seeds(found: Mapping[tuple[str, str, int], float], clip: str, name: str) -> list[float]:
    return [value for (c, n, _), value in found.items() if (c, n) == (clip, name)]


def reach_table(groups: Mapping[str, Sequence[Record]], level: int | None = None) -> list[str]:
    """Clicks to reach 80 to 95 % of labelling by hand; of one level, a column a group."""
    clips = list(dict.fromkeys(run["clip"] for runs in groups.values() for run in runs))
    if level is not None:
        lines = [_row(["clip", *groups]), "|---|" + "---|" * len(groups)]
        for clip in clips:
            lines.append(_row([clip, *(_reached(runs, clip, level) for runs in groups.values())]))
        return lines
    lines = [_row(["clip", "samples", *(f"{each} %" for each in LEVELS)])]
    lines.append("|---|---|" + "---|" * len(LEVELS))
    for clip in clips:
        for name, runs in groups.items():
            own = [run for run in runs if run["clip"] == clip]
            if own:
                lines.append(_row([clip, name, *(_reached(own, clip, each) for each in LEVELS)]))
                corrected = [corrections(run) for run in own]
                cells = (_reached(corrected, clip, each) for each in LEVELS)
                lines.append(_row([clip, f"{name}, corrected", *cells]))
    return lines


def corrections(run: Record) -> Record:
    """The run with the clicks of correcting the last masks in place of drawing from scratch."""
    rounds = [
        {**row, "clicks_percent": 100 * row["correction_clicks"] / run["clicks_by_hand"]}
        for row in run["rounds"]
    ]
    found: dict[str, float | None] = {}
    clicks, quality = curve({"rounds": rounds})
    for level in LEVELS:
        wanted = level / 100 * run["miou_by_hand"]
        first = next((n for n, value in enumerate(quality) if value >= wanted), None)
        if first is None or first == 0:
            found[str(level)] = None if first is None else float(clicks[0])
        else:
            pair = slice(first - 1, first + 1)
            found[str(level)] = float(np.interp(wanted, quality[pair], clicks[pair]))
    return {**run, "rounds": rounds, "clicks_percent_to_reach": found}


def _reached(runs: Iterable[Record], clip: str, level: int) -> str:
    own = [run for run in runs if run["clip"] == clip]
    if not own:
        return "–"
    values = [run["clicks_percent_to_reach"][str(level)] for run in own]
    if None in values:
        return f"> {min(curve(run)[0, -1] for run in own):.0f}"
    at_once = all(v <= curve(run)[0, 0] for v, run in zip(values, own, strict=True))
    return ("≤ " if at_once else "") + f"{np.mean(values):.1f}"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def page(
    runs: Sequence[Record], head: Mapping[str, Any], command: str, note: str = ""
) -> tuple[str, dict[str, str]]:
    """The page, and its figures by file name."""
    frames = [run for run in runs if run["samples"] == "frame"]
    by_strategy: dict[str, list[Record]] = {}
    for run in frames:
        by_strategy.setdefault(run["strategy"], []).append(run)
    kinds: dict[str, list[Record]] = {}
    parts = {run["clip"] for run in runs if run["samples"] != "frame"}
    for run in runs:
        if run["strategy"] == "reach" and run["clip"] in parts:
            kinds.setdefault(run["samples"], []).append(run)
    figures = {"selection-strategies.svg": click_curves(_curves(by_strategy))}
    settings, machine = head["settings"], head["machine"]
    lines = [
        "# What selection saves",
        "",
        f"Written by `{command}`, Maskloop {head['version']}, on {machine['cpu']}.",
        "",
        f"A simulated annotator answers with the truth; frames are labelled by the method "
        f"`{settings['method']}`. Each round asks for {settings['budget']} of a clip's samples, "
        f"{settings['rounds']} rounds. Clicks are HVSA's boundary clicks (ε = 1), in per cent of "
        "labelling every frame by hand; quality is the mIoU over all frames, labelled ones as "
        "labelled. *By hand* is what labelling every frame reaches with contours simplified as "
        f"the clicks draw them. {note}".strip(),
        "",
        "## Strategies, whole frames",
        "",
        "![mIoU against clicks, by strategy](images/selection-strategies.svg)",
        "",
        "Thick lines are means over clips and seeds, round by round; thin ones are single runs.",
        "",
        "Mean mIoU over the clicks that all strategies cover (the area under the curve):",
        "",
        *area_table(frames),
        "",
        "Clicks, in per cent of all, to reach 95 % of labelling by hand (≤: the first round did;",
        ">: no round did):",
        "",
        *reach_table(by_strategy, 95),
    ]
    if len(kinds) > 1:
        figures["selection-samples.svg"] = click_curves(_curves(kinds))
        lines += [
            "",
            "## Frames, rectangles, super-pixels",
            "",
            "![mIoU against clicks, by kind of samples](images/selection-samples.svg)",
            "",
            "Clicks, in per cent of all, to reach so much of labelling by hand; *corrected*: where "
            "the masks that are shown are corrected instead of drawn anew, and super-pixels whose "
            "class is right are left alone:",
            "",
            *reach_table(kinds),
        ]
    return "\n".join(lines) + "\n", figures


def _curves(groups: Mapping[str, Sequence[Record]]) -> dict[str, list[npt.NDArray[np.float64]]]:
    return {name: [curve(run) for run in runs] for name, runs in groups.items()}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--from", dest="known", nargs="+", type=Path, default=[])
    parser.add_argument("--method", default="flow")
    parser.add_argument("--finetune-seconds", type=float)
    parser.add_argument("--strategies", default="reach,uniform,hvsa,random")
    parser.add_argument("--samples", default="frame,rectangle:16,superpixel:16")
    parser.add_argument("--budget", default="5%")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shrink", type=int, default=1, help="Make real clips so much smaller.")
    parser.add_argument("--note", default="", help="A sentence on how it was run.")
    parser.add_argument("--json", type=Path, help="Keep the figures here.")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    base = load_settings(method=options.method, finetune_seconds=options.finetune_seconds)
    head = document("simulate", {"budget": options.budget, "rounds": options.rounds}, base)
    runs: list[Record] = []
    for known in map(json.loads, (path.read_text() for path in options.known)):
        runs += known["clips"]
        head = known
    if not options.known:
        folders = [folder for path in options.clips for folder in find_clips(path)]
        clips = map(open_labelled, folders) if folders else standard(DATA)
        with WorkBar(Console(stderr=True)) as bar:
            for clip in clips:
                small = shrunk(clip, options.shrink)
                for run in simulated(small, options, bar.on(clip.name)):
                    runs.append(run)
                    write_json(options.json, {**head, "clips": runs}, last=False)
    words = sys.argv[1:] if arguments is None else list(arguments)
    command = ["python -m benchmarks.selection_report", *words]
    if options.known:
        command = [command[0], "--from", *(path.name for path in options.known)]
    text, figures = page(runs, head, " ".join(command), options.note)
    (options.out / "images").mkdir(parents=True, exist_ok=True)
    for name, svg in figures.items():
        (options.out / "images" / name).write_text(svg + "\n", encoding="utf-8")
    (options.out / "selection-report.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
