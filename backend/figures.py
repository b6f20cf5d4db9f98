"""The report's curves, as SVG text that stands on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.figure import Figure

from backend.scoring import FrameScore
from backend.simulation_results import ClipSimulation

__all__ = ["along_the_clip", "click_curves", "memory_curve", "quality_against_clicks"]

Curve = npt.NDArray[np.float64]

# Told apart without colour too, so that they survive a black-and-white printer.
_STYLES = [
    ("#1f5fa8", "o", "-"),
    ("#c8501e", "s", "--"),
    ("#3d8b3d", "^", "-."),
    ("#7a4fa3", "D", ":"),
    ("#8a6d3b", "v", (0, (5, 1))),
    ("#444444", "x", (0, (1, 1))),
]
_LOOK: Mapping[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "maskloop",
}


def along_the_clip(frames: Sequence[FrameScore]) -> str:
    """Each frame's mIoU, with the key frames marked."""
    with rc_context(dict(_LOOK)):
        figure = Figure(figsize=(7.2, 2.3), layout="constrained")
        axes = figure.subplots()
        shown = [frame for frame in frames if not frame.is_key]
        axes.plot(
            [frame.index for frame in frames],
            [np.nan if f.is_key or f.miou is None else f.miou for f in frames],
            color=_STYLES[0][0],
            linewidth=1.4,
            marker="." if len(shown) < 120 else None,
            markersize=4,
            label="not labelled",
        )
        keys = [frame.index for frame in frames if frame.is_key]
        for index in keys:
            axes.axvline(index, color="#bbbbbb", linewidth=0.8, zorder=0)
        top = 1.0
        axes.plot(
            keys, [top] * len(keys), "v", color="#333333", markersize=5, label="key frame",
            clip_on=False,
        )  # fmt: skip
        known = [frame.miou for frame in shown if frame.miou is not None]
        axes.set_ylim(max(0.0, min(known, default=0.0) - 0.05), top)
        axes.set_xlim(-0.5, len(frames) - 0.5)
        axes.set_xlabel("frame")
        axes.set_ylabel("mIoU of the frame")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=2)
        return _svg(figure)


def memory_curve(memory: Sequence[float]) -> str:
    """MiB held after each frame."""
    with rc_context(dict(_LOOK)):
        figure = Figure(figsize=(7.2, 1.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(range(len(memory)), memory, color=_STYLES[3][0], linewidth=1.2)
        axes.set_ylim(0, max(memory) * 1.15)
        axes.set_xlim(-0.5, len(memory) - 0.5)
        axes.set_xlabel("frame")
        axes.set_ylabel("memory, MiB")
        return _svg(figure)


def quality_against_clicks(runs: Sequence[ClipSimulation]) -> str:
    """mIoU of the whole clip against clicks, a line a strategy, thin lines for single runs."""
    curves: dict[str, list[Curve]] = {}
    for run in runs:
        curves.setdefault(run.label, []).append(_curve(run))
    return click_curves(curves)


def click_curves(curves: Mapping[str, Sequence[Curve]]) -> str:
    """Quality against clicks, a line a name: the mean of its runs, round by round.

    Args:
        curves: Of each name the runs, (2, rounds) each: clicks in per cent, mIoU.
    """
    with rc_context(dict(_LOOK)):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.subplots()
        for number, (label, runs) in enumerate(curves.items()):
            colour, marker, dashes = _STYLES[number % len(_STYLES)]
            if len(runs) > 1:
                for curve in runs:
                    axes.plot(*curve, color=colour, linewidth=0.6, alpha=0.35)
            length = min(curve.shape[1] for curve in runs)
            mean = np.mean([curve[:, :length] for curve in runs], axis=0)
            axes.plot(
                *mean, color=colour, marker=marker, linestyle=dashes, linewidth=1.8, label=label
            )
        axes.set_xlabel("clicks, % of labelling every frame by hand")
        axes.set_ylabel("mIoU, all frames")
        axes.legend(loc="lower right")
        return _svg(figure)


def _curve(run: ClipSimulation) -> Curve:
    points = [
        (row.clicks_percent or 0.0, np.nan if row.all["miou"] is None else row.all["miou"])
        for row in run.rounds
    ]
    return np.array(points, dtype=np.float64).T


def _svg(figure: Figure) -> str:
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
