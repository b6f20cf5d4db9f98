"""A round on its way, as the store shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from backend.roundfiles import RoundFiles
from backend.store import Store
from backend.tables import Round

__all__ = ["Run"]

_REPORT_SECONDS = 0.5


@dataclass(slots=True)
class Run:
    """One step of a round; reports progress to the store, at most twice a second.

    Attributes:
        store: Durable state.
        row: The round.
        files: Its files.
        step: The step's name.
    """

    store: Store
    row: Round
    files: RoundFiles
    step: str
    _reported: float = 0.0

    def report(self, share: float, note: str = "") -> None:
        """Note that a share (0..1) of the step is done."""
        now = time.monotonic()
        if 0.0 < share < 1.0 and now - self._reported < _REPORT_SECONDS:
            return
        self._reported = now
        self.store.set_round(self.row.id, step=self.step, share=min(share, 1.0), note=note)

    def known_figures(self) -> dict[str, Any]:
        """The round's figures so far."""
        row = self.store.round(self.row.id)
        return dict(row.figures) if row else {}

    def figures(self, **values: Any) -> None:
        """Add to the round's figures."""
        self.store.set_round(self.row.id, figures={**self.known_figures(), **values})
