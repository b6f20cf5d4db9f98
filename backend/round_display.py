"""What the service is doing, as a line that moves on a terminal and as lines in a log."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from backend.status_view import missing

__all__ = ["RoundDisplay"]


class RoundDisplay:
    """Shows one project's state, as ``/status`` gives it.

    Args:
        console: Where to show it. On anything but a terminal, a line is printed when a step
            begins, and nothing moves.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
        self._progress = Progress(
            *columns, TaskProgressColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._bar = self._progress.add_task("", total=1.0)
        self._said = ""
        self._error: str | None = None

    def show(self, status: dict[str, Any]) -> None:
        """Show a state; the same state again changes nothing."""
        running = status.get("round")
        if running:
            number, step = running["number"], running["step"] or "begin"
            text, share = f"Round {number}: {step}", float(running["share"])
            note = f" ({escape(running['note'])})" if running.get("note") else ""
        else:
            text, share, note = _waiting(status), 0.0, ""
        self._progress.update(
            self._bar, description=text + note, completed=share, total=1.0 if running else None
        )
        if text != self._said and not self._console.is_terminal:
            self._console.print(text)
        self._said = text
        error = status.get("error")
        if error and error != self._error:
            self._console.print(f"[yellow]{escape(error)}[/]")
        self._error = error

    def __enter__(self) -> RoundDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


def _waiting(status: dict[str, Any]) -> str:
    if not status:
        return "The service gets to know the project"
    if not status.get("model_version"):
        return "The first frames to label are chosen"
    if status["new_labels"]:
        more = missing(status)
        return f"{status['new_labels']} new labels; the next round starts after {more}"
    return f"{status['labelled']} of {status['tasks']} frames are labelled; waiting for labels"
