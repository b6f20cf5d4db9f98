"""What to do after a round: go on, label something else, or stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend.settings import Settings
from backend.tables import Round
from selection.budget import Advice, Progress, recommend

__all__ = ["recommendation"]

_FRAMES_FROM = {
    "rectangle": (0.8, "whole frames take fewer clicks than rectangles"),
    "superpixel": (0.9, "the outlines of super-pixels hold quality back, whole frames do not"),
}
"""Quality from which whole frames are the better samples, as simulated (docs/selection.md), and
why; HVSA found frames to be the best from 85 % on."""


def recommendation(settings: Settings, rounds: Sequence[Round]) -> dict[str, Any] | None:
    """The advice after the last finished round.

    Args:
        settings: Target and budgets.
        rounds: The project's rounds, oldest first.

    Returns:
        For the status: ``action`` ("go on", "switch" or "stop"), ``granularity`` (what to label
        next), ``reason`` (a sentence), and what is spent of which budget; None before a round had
        a label.
    """
    done = [row for row in rounds if row.state == "done" and row.labels and "clicks" in row.figures]
    if not done:
        return None
    history = [_progress(row) for row in done]
    advice = recommend(
        history,
        target=settings.target,
        clicks=settings.total_clicks or None,
        samples=settings.total_samples or None,
    )
    if advice.action == "go on":
        advice = _larger_samples(history[-1]) or advice
    return {
        "action": advice.action,
        "granularity": advice.granularity,
        "reason": advice.reason,
        "samples": history[-1].samples,
        "clicks": history[-1].clicks,
        "total_samples": settings.total_samples or None,
        "total_clicks": settings.total_clicks or None,
    }


def _larger_samples(last: Progress) -> Advice | None:
    """Whole frames instead of parts, where these pay better."""
    kind = last.granularity.partition(":")[0]
    least, why = _FRAMES_FROM.get(kind, (float("inf"), ""))
    if not last.quality >= least:
        return None
    return Advice(
        "switch", "frame", f"Expected quality {last.quality:.3f}: from {least:.2f} on, {why}."
    )


def _progress(row: Round) -> Progress:
    expected = row.figures.get("expected_miou")
    return Progress(
        granularity=row.figures.get("granularity", "frame"),
        clicks=int(row.figures["clicks"]),
        quality=float("nan") if expected is None else float(expected),
        samples=int(row.figures.get("samples", row.labels)),
    )
