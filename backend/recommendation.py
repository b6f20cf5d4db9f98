"""What to do after a round: go on, label something else, or stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend.settings import Settings
from backend.tables import Round
from selection.budget import Advice, Progress, recommend

__all__ = ["recommendation"]

_FRAMES_FROM = 0.8
"""Quality from which whole frames took fewer clicks than rectangles or super-pixels, as simulated
(docs/selection.md); HVSA found the same from 85 % on."""


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
    if last.granularity == "frame" or not last.quality >= _FRAMES_FROM:
        return None
    return Advice(
        "switch",
        "frame",
        f"Expected quality {last.quality:.3f}: from {_FRAMES_FROM:.2f} on, whole frames take fewer"
        f" clicks than samples of {last.granularity}.",
    )


def _progress(row: Round) -> Progress:
    expected = row.figures.get("expected_miou")
    return Progress(
        granularity=row.figures.get("granularity", "frame"),
        clicks=int(row.figures["clicks"]),
        quality=float("nan") if expected is None else float(expected),
        samples=int(row.figures.get("samples", row.labels)),
    )
