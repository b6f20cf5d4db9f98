"""Which rounds' masks and networks stay on disk."""

from __future__ import annotations

from collections.abc import Sequence

from backend.tables import Round

__all__ = ["kept_versions"]


def kept_versions(rounds: Sequence[Round], shown: str, keep: int) -> set[str]:
    """Versions whose masks and networks stay on disk.

    The last ``keep``, the one that is shown, and the one of the best expected quality.

    Args:
        rounds: The project's rounds, oldest first.
        shown: The version that is shown.
        keep: How many of the last ones stay.
    """
    done = [row for row in rounds if row.state == "done"]
    judged = [row for row in done if row.figures.get("expected_miou") is not None]
    best = max(judged, key=lambda row: float(row.figures["expected_miou"]), default=None)
    return {shown, *(row.version for row in done[-keep:]), *([best.version] if best else [])}
