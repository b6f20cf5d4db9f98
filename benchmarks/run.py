"""The standard table: `make bench`, or

    python -m benchmarks.run [--methods flow,propagation,maskloop] [--data FOLDER] [--out FILE]

Evaluates each method on the clips in ../shared/data (MASKLOOP_DATA) where they are, on rendered
clips else, and writes benchmarks/results.md as it goes. `propagation` is the method `maskloop`
without a network and without adaptation (`maskloop evaluate --adapt 0`).
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from backend import __version__
from backend.evaluation import ClipEvaluation, evaluate_clip, mean_of_clips
from backend.keyframes import parse_keys
from backend.machine import describe_machine
from backend.settings import Settings, load_settings
from backend.workbar import WorkBar
from model.benchmark import LabelledClip, find_clips, open_labelled
from model.synthetic import render_clip

HERE = Path(__file__).parent
DATA = Path(os.environ.get("MASKLOOP_DATA", HERE.parent.parent / "shared" / "data"))
METHODS = ("nearest", "flow", "propagation", "maskloop")


@dataclass
class Row:
    """Some clips with some key frames, by every method."""

    title: str
    clips: Sequence[LabelledClip]
    keys: str
    metrics: tuple[str, str]
    results: dict[str, list[ClipEvaluation]] = field(default_factory=dict)


def settings_of(method: str) -> Settings:
    """The settings under which a column of the table is measured."""
    if method == "propagation":
        return load_settings(method="maskloop", finetune_seconds=0)
    return load_settings(method=method)


def standard(data: Path) -> list[Row]:
    """The rows over real clips; over rendered ones where those are missing."""
    if not data.is_dir():
        rendered = [
            LabelledClip(clip, clip.masks, clip.class_names, clip.name)
            for clip in (
                render_clip(60, (320, 240), seed, difficulty)
                for difficulty in ("easy", "hard")
                for seed in (0, 1)
            )
        ]
        return [Row("rendered", rendered, keys, ("j", "f")) for keys in ("every:15", "first")]
    davis = [open_labelled(folder) for folder in find_clips(data / "davis")]
    street = [open_labelled(data / "camvid-15hz" / "0016E5-a")]
    return [
        Row("camvid-15hz/0016E5-a", street, "every:10", ("miou", "boundary_iou")),
        Row("davis", davis, "every:15", ("j", "f")),
        Row("davis", davis, "first", ("j", "f")),
    ]


def page(rows: Sequence[Row], methods: Sequence[str], command: str) -> str:
    """results.md, of what is measured so far."""
    machine = describe_machine()
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    threads = machine["threads"]
    lines = [
        "# Results",
        "",
        f"Written by `{command}` on {datetime.date.today()}: maskloop {__version__}; "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB"
        f"{', ' + machine['gpu'] if machine['gpu'] else ', no GPU'}; "
        f"Python {machine['python']}, {versions}; threads: OpenCV {threads['opencv']}, "
        f"torch {threads['torch']}.",
        "",
        "Unlabelled frames only. mIoU and boundary IoU are accumulated over a clip, J and F means "
        "over its frames; over several clips the mean. Seconds a frame are fine-tuning and "
        "propagation over all frames.",
        "",
        f"| clips, key frames | metric | {' | '.join(methods)} |",
        f"|---|---|{'---|' * len(methods)}",
    ]
    for row in rows:
        cells = [_pair(row, method) for method in methods]
        names = " / ".join(_NAMES[metric] for metric in row.metrics)
        count = f", {len(row.clips)} clips" if len(row.clips) > 1 else ""
        lines.append(f"| `{row.title}`{count}, {row.keys} | {names} | {' | '.join(cells)} |")
        times = [_seconds(row, method) for method in methods]
        lines.append(f"| | seconds a frame | {' | '.join(times)} |")
    for row in rows:
        if len(row.clips) > 1:
            lines += ["", f"## `{row.title}`, {row.keys}, clip by clip", ""]
            names = " / ".join(_NAMES[metric] for metric in row.metrics)
            lines += [f"| {names} | {' | '.join(methods)} |", f"|---|{'---|' * len(methods)}"]
            for number, clip in enumerate(row.clips):
                cells = [_pair(row, method, number) for method in methods]
                lines.append(f"| {clip.name} | {' | '.join(cells)} |")
    lines += _expectations(rows)
    notes = [
        f"- {result.clip}, {row.keys}, {method}: {note}"
        for row in rows
        for method, results in row.results.items()
        for result in results
        for note in result.notes
    ]
    if notes:
        lines += ["", "## What fine-tuning remarked", "", *notes]
    return "\n".join(lines) + "\n"


def _expectations(rows: Sequence[Row]) -> list[str]:
    """What a round would have expected of each clip without the truth, beside the truth."""
    compared = [
        (row.keys, method, result.clip, result.expected_miou, result.unlabelled["miou"])
        for row in rows
        for method, results in row.results.items()
        for result in results
        if result.expected_miou is not None and result.unlabelled is not None
    ]
    told = [entry for entry in compared if entry[4] is not None]
    if not told:
        return []
    lines = ["", "## Expected quality", "", "| clip, key frames | method | expected mIoU | true |"]
    lines.append("|---|---|---|---|")
    lines += [
        f"| {clip}, {keys} | {method} | {expected:.3f} | {true:.3f} |"
        for keys, method, clip, expected, true in told
    ]
    errors: dict[str, list[float]] = {}
    for _, method, _, expected, true in told:
        errors.setdefault(method, []).append(abs((expected or 0.0) - (true or 0.0)))
    means = [f"{method} {sum(each) / len(each):.3f}" for method, each in errors.items()]
    return [*lines, "", f"Mean absolute error: {', '.join(means)}."]


_NAMES = {"miou": "mIoU", "boundary_iou": "boundary IoU", "j": "J", "f": "F"}


def _pair(row: Row, method: str, number: int | None = None) -> str:
    results = row.results.get(method, [])
    if number is not None:
        results = results[number : number + 1]
    elif len(results) < len(row.clips):
        return "…"
    if not results:
        return "…"
    values = mean_of_clips(results)["unlabelled"]
    return " / ".join("–" if values[m] is None else f"{values[m]:.4f}" for m in row.metrics)


def _seconds(row: Row, method: str) -> str:
    results = row.results.get(method, [])
    return f"{mean_of_clips(results)['seconds_per_frame']:.3f}" if results else "…"


def main() -> None:
    """Measure, and write the page after each clip."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=HERE / "results.md")
    options = parser.parse_args()
    methods = options.methods.split(",")
    rows = standard(options.data)
    command = " ".join(["python -m benchmarks.run", *sys.argv[1:]])
    with WorkBar(Console(stderr=True)) as bar:
        for method in methods:
            settings = settings_of(method)
            for row in rows:
                for clip in row.clips:
                    report = bar.on(f"{method}, {row.keys}, {clip.name}")
                    result = evaluate_clip(
                        clip, parse_keys(row.keys), settings, follow=False, report=report
                    )
                    row.results.setdefault(method, []).append(result)
                    options.out.write_text(page(rows, methods, command), encoding="utf-8")
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
