"""A progress bar for long work, on a terminal only."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["WorkBar"]


class WorkBar:
    """One bar that says which clip is worked on, at which step.

    Args:
        console: Where; on anything but a terminal nothing is shown.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None)
        self._doing = ""

    def on(self, name: str) -> Callable[[str, int, int], None]:
        """A callback for the work on something of this name: (step, done, total)."""

        def report(step: str, done: int, total: int) -> None:
            doing = escape(f"{name}: {step}")
            if doing != self._doing:
                self._progress.reset(self._task)
                self._doing = doing
            self._progress.update(self._task, description=doing, completed=done, total=total)

        return report

    def __enter__(self) -> WorkBar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
