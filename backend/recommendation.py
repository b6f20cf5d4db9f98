"""What to do after a round: go on, label something else, or stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend.settings import Settings
from backend.tables import Round
from selection.budget import Progress, recommend

__all__ = ["recommendation"]


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
        promise=done[-1].figures.get("promise"),
    )
    return {
        "action": advice.action,
        "granularity": advice.granularity,
        "reason": advice.reason,
        "samples": history[-1].samples,
        "clicks": history[-1].clicks,
        "total_samples": settings.total_samples or None,
        "total_clicks": settings.total_clicks or None,
    }


def _progress(row: Round) -> Progress:
    expected = row.figures.get("expected_miou")
    return Progress(
        granularity=row.figures.get("granularity", "frame"),
        clicks=int(row.figures["clicks"]),
        quality=float("nan") if expected is None else float(expected),
        samples=int(row.figures.get("samples", row.labels)),
    )
