"""The report of an evaluation or a simulation: one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from backend.contact_sheet import contact_sheet
from backend.evaluation import ClipEvaluation
from backend.figures import along_the_clip, memory_curve, quality_against_clicks
from backend.report_style import STYLE
from backend.scoring import Values
from backend.simulation_results import LEVELS, ClipSimulation

__all__ = ["write_evaluation_report", "write_simulation_report"]

_TITLES = {
    "miou": "mIoU",
    "j": "J",
    "f": "F",
    "boundary_iou": "boundary IoU",
    "pixel_accuracy": "pixel acc.",
    "class_accuracy": "class acc.",
    "weighted_iou": "weighted IoU",
    "tc": "TC",
    "vc8": "VC8",
    "vc16": "VC16",
}


def write_evaluation_report(
    folder: Path, document: Mapping[str, Any], results: Sequence[ClipEvaluation]
) -> Path:
    """Write `index.html` into a folder.

    Args:
        folder: Created where it is missing.
        document: What the JSON says.
        results: The clips.

    Returns:
        The page's path.
    """
    rows = [(f"{r.clip} · unlabelled", r.unlabelled or {}) for r in results]
    rows += [(f"{r.clip} · all", r.all) for r in results]
    if len(results) > 1:
        mean = document["mean"]
        rows += [("mean · unlabelled", mean["unlabelled"]), ("mean · all", mean["all"])]
    parts = [_score_table(rows), _cost_table(results)]
    for result in results:
        parts += [
            f"<section><h2>{escape(result.clip)}</h2>",
            f"<p>{len(result.frames)} frames, {len(result.key_frames)} of them labelled. "
            f"{escape(' '.join(_sentences(result.notes)))}</p>",
            _figure(along_the_clip(result.frames), "Quality along the clip"),
            _figure(memory_curve(result.memory), "Memory that the process held"),
            contact_sheet(result.class_names, result.pictures),
            "</section>",
        ]
    return _write(folder, "Evaluation", document, parts)


def write_simulation_report(
    folder: Path, document: Mapping[str, Any], results: Sequence[ClipSimulation]
) -> Path:
    """Write `index.html` into a folder; arguments and result as above."""
    parts = [
        _figure(
            quality_against_clicks(results), "Quality against clicks: a point a round, mean of runs"
        ),
        _reach_table(results),
        _round_table(document["mean"]),
    ]
    by_clip: dict[str, list[ClipSimulation]] = {}
    for result in results:
        by_clip.setdefault(result.clip, []).append(result)
    for clip, runs in by_clip.items():
        parts.append(f"<section><h2>{escape(clip)}</h2>")
        if len(by_clip) > 1:
            parts.append(_figure(quality_against_clicks(runs), "Quality against clicks"))
        for label in dict.fromkeys(run.label for run in runs):
            run = next(run for run in runs if run.label == label)
            parts += [
                f"<h3>{escape(label)}, seed {run.seed}</h3>",
                f"<p>Asked for: {escape(_asked(run))}.</p>",
                _figure(along_the_clip(run.frames), "Quality along the clip, last round"),
                contact_sheet(run.class_names, run.pictures),
            ]
        parts.append("</section>")
    return _write(folder, "Simulated annotation", document, parts)


def _write(folder: Path, title: str, document: Mapping[str, Any], parts: Sequence[str]) -> Path:
    settings = ", ".join(_setting(*item) for item in document["settings"].items())
    machine = document["machine"]
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Maskloop · {escape(title)}</title><style>{STYLE}</style></head>
<body><header><h1>{escape(title)}</h1>
<p class="about">maskloop {escape(str(document["version"]))} · {escape(settings)}<br>
{escape(str(machine["cpu"]))}, {machine["cores"]} cores, Python {escape(machine["python"])}</p>
</header><main>
{"".join(parts)}
</main></body></html>
"""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def _setting(name: str, value: Any) -> str:
    text = " and ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{name.replace('_', ' ')} {text}"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _score_table(rows: Sequence[tuple[str, Values]]) -> str:
    names = [name for name in _TITLES if any(name in values for _, values in rows)]
    return _table(
        ["clip", *(_TITLES[name] for name in names)],
        [[title, *(_number(values.get(name)) for name in names)] for title, values in rows],
    )


def _cost_table(results: Sequence[ClipEvaluation]) -> str:
    return _table(
        ["clip", "frames", "labelled", "fine-tuning, s", "propagation, s", "s a frame", "peak MiB"],
        [
            [
                r.clip,
                str(len(r.frames)),
                str(len(r.key_frames)),
                _number(r.seconds["finetune"], 1),
                _number(r.seconds["propagate"], 1),
                _number(r.seconds_per_frame, 3),
                _number(r.peak_memory_mb, 0),
            ]
            for r in results
        ],
    )


def _round_table(mean: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for entry in mean:
        for row in entry["rounds"]:
            scores = row["all"]
            rows.append(
                [
                    entry["strategy"],
                    entry["samples"],
                    str(row["round"]),
                    _number(row["clicks"], 0),
                    _number(row["clicks_percent"], 1),
                    _number(row["correction_clicks"], 0),
                    _number(row["unlabelled"].get("miou")),
                    _number(scores.get("miou")),
                    _number(scores.get("boundary_iou")),
                    _number(scores.get("tc")),
                ]
            )
    head = [
        "strategy",
        "samples",
        "round",
        "clicks",
        "% of all",
        "as corrections",
        "mIoU, unlabelled",
    ]
    return _table([*head, "mIoU, all", "boundary IoU, all", "TC"], rows)


def _reach_table(results: Sequence[ClipSimulation]) -> str:
    """Clicks at which so much of the quality of labelling by hand is reached."""
    rows = []
    for label in dict.fromkeys(run.label for run in results):
        for run in (run for run in results if run.label == label):
            cells = (_number(run.clicks_to_reach(level), 1) for level in LEVELS)
            rows.append([run.clip, label, str(run.seed), _number(run.miou_by_hand), *cells])
    titles = [f"{level} %" for level in LEVELS]
    return _table(["% of all clicks to reach", "strategy", "seed", "by hand", *titles], rows)


def _asked(run: ClipSimulation) -> str:
    return "; ".join(f"round {row.number}: {_places(row.samples)}" for row in run.rounds)


def _places(samples: Sequence[int] | Sequence[tuple[int, int]]) -> str:
    """The frames asked for; where samples are parts of them, also how many."""
    frames = sorted({each if isinstance(each, int) else each[0] for each in samples})
    parts = sum(not isinstance(each, int) for each in samples)
    listed = f"frames {', '.join(map(str, frames))}"
    return f"{parts} samples of {listed}" if parts else listed


def _sentences(notes: Sequence[str]) -> list[str]:
    return [f"{note[:1].upper()}{note[1:]}." for note in notes]
