"""What selection saves: the page docs/selection-report.md with its curves, by one command:

    python -m benchmarks.selection_report [CLIPS] --shrink 2 --runs build/selection [--out docs]

Simulates every strategy on frames (those without chance once, the others with three seeds), with a
few large and with many small rounds; and `reach` on frames, rectangles and super-pixels. Without
CLIPS: four rendered ones of 100 frames, and those in ../shared/data (MASKLOOP_DATA) where they are.
Each run is kept in the folder; one that is there is not made again. `--page` makes none.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from backend.figures import click_curves
from backend.settings import load_settings
from backend.simulation_results import LEVELS
from backend.workbar import WorkBar
from benchmarks.selection_runs import Record, asked_for, known_runs, make_runs, standard
from model.benchmark import find_clips, open_labelled

STRATEGIES = "reach,uniform,hvsa,uncertainty,diversity,random"
_IN_FIGURE = 6
"""Strategies that a figure tells apart."""


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
    """Strategies by clip: the area under quality against clicks; what the first one leads by."""
    found = areas(runs)
    clips = list(dict.fromkeys(clip for clip, _, _ in found))
    names = list(dict.fromkeys(strategy for _, strategy, _ in found))
    lines = [_row(["clip", *names]), "|---|" + "---|" * len(names)]
    for clip in clips:
        lines.append(_row([clip, *(f"{np.mean(_seeds(found, clip, n)):.4f}" for n in names)]))
    means, spreads, leads = [], [], []
    for name in names:
        # How much the mean over the clips moves with the seed.
        seeds = min(len(_seeds(found, clip, name)) for clip in clips)
        by_seed = [np.mean([_seeds(found, clip, name)[s] for clip in clips]) for s in range(seeds)]
        means.append(f"**{np.mean(by_seed):.4f}**")
        spreads.append("no chance" if seeds == 1 else f"± {np.std(by_seed, ddof=1):.4f}")
        leads.append(_lead(found, clips, names[0], name))
    return [
        *lines,
        _row(["**mean**", *means]),
        _row(["spread over seeds", *spreads]),
        _row([f"{names[0]} leads by", *leads]),
    ]


def _lead(
    found: Mapping[tuple[str, str, int], float], clips: Sequence[str], first: str, other: str
) -> str:
    """By how much a strategy leads: mean, standard error over the clips, clips where it does."""
    ahead = [
        float(np.mean(_seeds(found, clip, first)) - np.mean(_seeds(found, clip, other)))
        for clip in clips
    ]
    if first == other:
        return ""
    error = f" ± {np.std(ahead, ddof=1) / np.sqrt(len(ahead)):.4f}" if len(ahead) > 1 else ""
    return f"{np.mean(ahead):+.4f}{error} ({sum(lead > 0 for lead in ahead)} of {len(ahead)})"


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


def page(runs: Sequence[Record], head: Record, command: str) -> tuple[str, dict[str, str]]:
    """The page, and its figures by file name."""
    settings, machine = head["settings"], head["machine"]
    size = settings.get("shrink", 1)
    clips = list(dict.fromkeys(run["clip"] for run in runs))
    seeds = len({run["seed"] for run in runs})
    smaller = f" Real clips are at 1/{size} of their width and height." if size > 1 else ""
    lines = [
        "# What selection saves",
        "",
        f"Written by `{command}`, Maskloop {head['version']}, on {machine['cpu']}. Without "
        "`--page` the command makes the runs that are missing in its folder.",
        "",
        f"A simulated annotator answers with the truth; frames are labelled by the method "
        f"`{settings['method']}`. Clicks are HVSA's boundary clicks (ε = 1), in per cent of "
        "labelling every frame by hand; quality is the mIoU over all frames, labelled ones as "
        "labelled. *By hand* is what labelling every frame reaches with contours simplified as "
        f"the clicks draw them. {len(clips)} clips; {seeds} seeds where there is chance.{smaller} "
        "What this says, and what else was measured: [selection](selection.md#measured).",
    ]
    figures = {}
    plans = dict.fromkeys(run["plan"] for run in runs if run["samples"] == "frame")
    for budget, rounds in plans:
        all_of_it = [
            run for run in runs if run["samples"] == "frame" and run["plan"] == (budget, rounds)
        ]
        own, missing = _complete(all_of_it)
        name = f"selection-strategies-{rounds}.svg"
        figures[name] = click_curves(_curves(own))
        lines += [
            "",
            f"## Strategies, whole frames: {rounds} rounds of {budget}",
            "",
            f"![mIoU against clicks, by strategy](images/{name})",
            "",
            "Thick lines are means over clips and seeds, round by round; thin ones, over the clips,"
            " one seed each.",
            "",
            "Mean mIoU over the clicks that all strategies cover (the area under the curve):",
            "",
            *area_table(own),
            "",
            "Clicks, in per cent of all, to reach 95 % of labelling by hand (≤: the first round "
            "did; >: in",
            "some run no round did):",
            "",
            *reach_table(_grouped(own, "strategy"), 95),
        ]
        if missing:
            lines += ["", f"Not run on all clips yet, so left out: {missing}."]
    parts = {(run["clip"], run["plan"]) for run in runs if run["samples"] != "frame"}
    kinds = [
        run for run in runs if run["strategy"] == "reach" and (run["clip"], run["plan"]) in parts
    ]
    if kinds:
        groups = _grouped(kinds, "samples")
        curves = {name: [curve(run) for run in own] for name, own in groups.items()}
        figures["selection-samples.svg"] = click_curves(curves)
        rounds_of = ", ".join(
            f"{rounds} rounds of {share}" for share, rounds in {p for _, p in parts}
        )
        lines += [
            "",
            f"## Frames, rectangles, super-pixels: {rounds_of}",
            "",
            "![mIoU against clicks, by kind of samples](images/selection-samples.svg)",
            "",
            "Thin lines are single clips. Clicks, in per cent of all, to reach so much of labelling"
            " by hand; *corrected*: where the masks that are shown are corrected instead of drawn "
            "anew, and super-pixels whose class is right are left alone:",
            "",
            *reach_table(groups),
        ]
    return "\n".join(lines) + "\n", figures


def _complete(runs: Sequence[Record]) -> tuple[list[Record], str]:
    """The runs of strategies that were run on all clips; which others there are, in words."""
    clips = {run["clip"] for run in runs}
    done = {
        name: len({run["clip"] for run in own}) for name, own in _grouped(runs, "strategy").items()
    }
    words = [f"`{name}` ({n} of {len(clips)})" for name, n in done.items() if n < len(clips)]
    return [run for run in runs if done[run["strategy"]] == len(clips)], ", ".join(words)


def _grouped(runs: Iterable[Record], by: str) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for run in runs:
        groups.setdefault(run[by], []).append(run)
    return groups


def _curves(runs: Sequence[Record]) -> dict[str, list[npt.NDArray[np.float64]]]:
    """Of each strategy a curve a seed: the means over the clips, round by round."""
    out = {}
    for name, own in itertools.islice(_grouped(runs, "strategy").items(), _IN_FIGURE):
        same = _grouped(own, "seed").values()
        out[name] = [_mean_curve([curve(run) for run in of_seed]) for of_seed in same]
    return out


def _mean_curve(curves: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    rounds = min(each.shape[1] for each in curves)
    return np.asarray(np.mean([each[:, :rounds] for each in curves], axis=0))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--runs", type=Path, required=True, help="Folder that keeps each run.")
    parser.add_argument("--page", action="store_true", help="Only write the page.")
    parser.add_argument("--method", default="flow")
    parser.add_argument("--finetune-seconds", type=float)
    parser.add_argument("--strategies", default=STRATEGIES)
    parser.add_argument("--samples", default="rectangle:16,superpixel:16")
    parser.add_argument("--sampled", default="", help="Clips for these, by their last names.")
    parser.add_argument("--plans", default="10%x3,5%x6", help="Samples a round x rounds.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shrink", type=int, default=1, help="Make real clips so much smaller.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs")
    return parser.parse_args(arguments)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _simulate(options: argparse.Namespace) -> None:
    base = load_settings(method=options.method, finetune_seconds=options.finetune_seconds)
    plans = [(share, int(rounds)) for share, rounds in map(_plan, _listed(options.plans))]
    folders = [folder for path in options.clips for folder in find_clips(path)]
    options.runs.mkdir(parents=True, exist_ok=True)
    sampled = _listed(options.sampled)
    with WorkBar(Console(stderr=True)) as bar:
        for clip in map(open_labelled, folders) if folders else standard():
            wants_samples = not sampled or clip.name.rsplit("/", 1)[-1] in sampled
            asked = asked_for(
                _listed(options.strategies),
                _listed(options.samples) if wants_samples else [],
                plans,
                options.seeds,
                chance=options.method not in ("flow", "nearest"),
            )
            make_runs(clip, asked, base, options.shrink, options.runs, bar.on(clip.name))


def _plan(text: str) -> tuple[str, str]:
    share, cross, rounds = text.partition("x")
    if not cross or not rounds.isdigit() or int(rounds) < 1:
        raise ValueError(f"plan {text!r}: expected samples a round x rounds, as in 10%x3")
    return share, rounds


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    if not options.page:
        _simulate(options)
    words = sys.argv[1:] if arguments is None else list(arguments)
    runs, head = known_runs(options.runs)
    strategies = _listed(options.strategies)
    runs.sort(key=lambda run: (_place(run["clip"]), _rank(strategies, run), run["seed"]))
    said = " ".join(["python -m benchmarks.selection_report", *words])
    text, figures = page(runs, head, said)
    (options.out / "images").mkdir(parents=True, exist_ok=True)
    for name, svg in figures.items():
        (options.out / "images" / name).write_text(svg + "\n", encoding="utf-8")
    (options.out / "selection-report.md").write_text(text, encoding="utf-8")


def _place(clip: str) -> tuple[bool, str]:
    """Rendered clips first."""
    return not clip.startswith("rendered/"), clip


def _rank(strategies: Sequence[str], run: Record) -> int:
    name = run["strategy"]
    return strategies.index(name) if name in strategies else len(strategies)


if __name__ == "__main__":
    main()
