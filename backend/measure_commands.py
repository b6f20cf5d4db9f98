"""The commands that measure: evaluate, simulate, render."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from backend.settings import load_settings

if TYPE_CHECKING:
    from model.benchmark import LabelledClip

__all__ = ["register"]

_METHODS = "nearest, flow, network or maskloop (MASKLOOP_METHOD)"

Clips = Annotated[
    list[Path], typer.Argument(help="Labelled clips, or folders of them.", show_default=False)
]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the figures to this file; - is the screen.")
]
ReportFolder = Annotated[
    Path | None, typer.Option("--report", help="Write index.html, with pictures, to this folder.")
]
Method = Annotated[str | None, typer.Option(help=f"How frames are labelled: {_METHODS}.")]
Flow = Annotated[str | None, typer.Option(help="Optical flow (MASKLOOP_FLOW).")]
Network = Annotated[str | None, typer.Option(help="Network (MASKLOOP_NETWORK).")]
Seconds = Annotated[
    str | None,
    typer.Option(
        "--finetune-seconds",
        "--adapt",
        metavar="SECONDS",
        help="Longest adaptation to a clip: fine-tuning, judging, refinement; 0 learns nothing,"
        " auto goes by the clip's length (MASKLOOP_FINETUNE_SECONDS).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (evaluate, simulate, render):
        app.command()(command)


def evaluate(
    clips: Clips,
    keys: Annotated[
        str, typer.Option(help="Labelled frames: every:15, uniform:10, first, or 0,12,40.")
    ] = "every:15",
    method: Method = None,
    flow: Flow = None,
    network: Network = None,
    finetune_seconds: Seconds = None,
    seed: Annotated[int | None, typer.Option(help="Of all chance (MASKLOOP_SEED).")] = None,
    json_file: Json = None,
    report: ReportFolder = None,
) -> None:
    """Label clips from some of their true masks, as a round would, and score the rest."""
    from backend.evaluation import evaluate_clip, mean_of_clips
    from backend.keyframes import parse_keys
    from backend.measurement import document, show_evaluation, write_json
    from backend.report import write_evaluation_report
    from backend.workbar import WorkBar

    settings = load_settings(
        method=method, flow=flow, network=network, finetune_seconds=finetune_seconds, seed=seed
    )
    chosen = parse_keys(keys)
    results = []
    with WorkBar(Console(stderr=True)) as bar:
        opened = _open(clips, bar.on)
        for clip in opened:
            chosen.of(len(clip))
        for clip in opened:
            results.append(
                evaluate_clip(
                    clip, chosen, settings, pictures=report is not None, report=bar.on(clip.name)
                )
            )
            data = document("evaluate", {"keys": keys}, settings)
            data["clips"] = [result.record() for result in results]
            data["mean"] = mean_of_clips(results)
            write_json(json_file, data, last=clip is opened[-1])
    if report is not None:
        _errors(f"The report is in {write_evaluation_report(report, data, results)}")
    if json_file != Path("-"):
        show_evaluation(results, Console())


def simulate(
    clips: Clips,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="Who chooses; several may be compared (MASKLOOP_STRATEGY)."),
    ] = None,
    samples: Annotated[
        list[str] | None,
        typer.Option(help="What is asked for; several: frame,rectangle:16,superpixel:16."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    budget: Annotated[str, typer.Option(help="Samples a round: 5, or 10% of the clip's.")] = "10%",
    seed: Annotated[
        list[int] | None, typer.Option(help="Of all chance; several may be given (MASKLOOP_SEED).")
    ] = None,
    method: Method = None,
    flow: Flow = None,
    network: Network = None,
    finetune_seconds: Seconds = None,
    json_file: Json = None,
    report: ReportFolder = None,
    temporal: Annotated[
        bool, typer.Option(help="Measure temporal consistency too, which takes longest.")
    ] = True,
) -> None:
    """Label clips in rounds, each query answered with the truth: quality against clicks."""
    from backend.measurement import document, show_simulation, write_json
    from backend.queries import parse_budget
    from backend.report import write_simulation_report
    from backend.simulation import prepare, simulate_clip
    from backend.simulation_results import mean_of_rounds
    from backend.workbar import WorkBar
    from selection.granularity import parse_granularity
    from selection.strategies import get_strategy

    granularities = [parse_granularity(text) for text in _listed(samples) or ["frame"]]
    share = parse_budget(budget)
    base = load_settings(
        method=method, flow=flow, network=network, finetune_seconds=finetune_seconds
    )
    strategies = _listed(strategy) or [base.strategy]
    seeds = list(dict.fromkeys(seed or [base.seed]))
    for name in strategies:
        get_strategy(name)
    runs = [
        (base.model_copy(update={"strategy": name, "seed": number}), granularity)
        for granularity in granularities
        for name in strategies
        for number in seeds
    ]
    kinds = [str(granularity) for granularity in granularities]
    asked = {"strategy": strategies, "samples": kinds, "rounds": rounds, "budget": budget}
    results = []
    with WorkBar(Console(stderr=True)) as bar:
        opened = _open(clips, bar.on)
        for clip in opened:
            ground = prepare(clip, base, bar.on(clip.name))
            for settings, granularity in runs:
                results.append(
                    simulate_clip(
                        clip,
                        settings,
                        share,
                        rounds,
                        samples=granularity,
                        ground=ground,
                        pictures=report is not None,
                        follow=temporal,
                        report=bar.on(f"{clip.name}, {settings.strategy}, {granularity}"),
                    )
                )
                data = document("simulate", {**asked, "seed": seeds}, base)
                data["clips"] = [result.record() for result in results]
                data["mean"] = mean_of_rounds(results)
                last = clip is opened[-1] and (settings, granularity) == runs[-1]
                write_json(json_file, data, last=last)
    if report is not None:
        _errors(f"The report is in {write_simulation_report(report, data, results)}")
    if json_file != Path("-"):
        show_simulation(results, Console())


def render(
    folder: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    frames: Annotated[int, typer.Option(min=1, help="How many.")] = 60,
    size: Annotated[str, typer.Option(help="Width x height.")] = "320x240",
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same bytes.")] = 0,
    difficulty: Annotated[str, typer.Option(help="easy or hard.")] = "easy",
    flow: Annotated[bool, typer.Option(help="Write the exact flow beside the masks.")] = True,
) -> None:
    """Render a clip of moving toys, with exact masks and flow, in the benchmark layout."""
    from backend.workbar import WorkBar
    from model.synthetic import render_clip, write_clip

    match = re.fullmatch(r"(\d+)x(\d+)", size.strip().lower())
    if match is None:
        raise ValueError(f"size {size!r}: expected width x height, as in 480x320")
    clip = render_clip(frames, (int(match[1]), int(match[2])), seed, difficulty)
    with WorkBar(Console(stderr=True)) as bar:
        on_frame = bar.on(folder.name)
        write_clip(clip, folder, flow, partial(on_frame, "rendering"))
    _errors(f"{frames} frames of {clip.name} are in {folder}")


def _open(
    folders: Sequence[Path], on: Callable[[str], Callable[[str, int, int], None]]
) -> list[LabelledClip]:
    """Open and check all clips before anything is computed."""
    from model.benchmark import find_clips, open_labelled

    opened = []
    for folder in (clip for path in folders for clip in find_clips(path)):
        opened.append(open_labelled(folder, progress=partial(on(folder.name), "checking")))
    return opened


def _listed(texts: Iterable[str] | None) -> list[str]:
    names = (name.strip() for text in texts or () for name in text.split(","))
    return list(dict.fromkeys(name for name in names if name))


def _errors(sentence: str) -> None:
    Console(stderr=True).print(sentence, highlight=False, markup=False)
