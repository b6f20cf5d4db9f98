"""The command line: one thin function a command."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from backend.settings import Settings, SettingsError, load_settings

__all__ = ["app", "main"]

app = typer.Typer(
    name="maskloop",
    help="A segmentation mask on every frame of a video, from the few that you draw.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Results go to standard output, everything meant for people only to standard error.
_errors = Console(stderr=True)


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Port to listen on (PORT).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind (MASKLOOP_HOST).")] = None,
) -> None:
    """Run the service: the web process and one worker, each restarted if it dies."""
    from backend.processes import serve as run

    settings = _settings(port=port, host=host)
    # The children read the same settings from the environment.
    os.environ.update(PORT=str(settings.port), MASKLOOP_HOST=settings.host)
    raise typer.Exit(run(settings))


@app.command()
def web() -> None:
    """Run the web process alone (containers)."""
    from backend.processes import run_web

    run_web(_settings())


@app.command()
def worker() -> None:
    """Run the worker alone (containers)."""
    from backend.processes import run_worker

    run_worker(_settings())


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for machines.")] = False,
    project: Annotated[int | None, typer.Option(help="Only this project.")] = None,
) -> None:
    """Show what the service is doing."""
    from backend.status import status_of
    from backend.status_view import show_status
    from backend.store import Store

    settings = _settings()
    answer = status_of(Store(settings.resolved_database_url), settings, project)
    if as_json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        show_status(answer, Console())


def _settings(**overrides: Any) -> Settings:
    return load_settings(**overrides)


def _expected() -> tuple[type[Exception], ...]:
    from backend.studio import StudioError

    return (SettingsError, StudioError, ValueError, RuntimeError, OSError)


def main() -> None:
    """Entry point of the ``maskloop`` command: every expected error is one plain sentence."""
    try:
        app()
    except _expected() as error:
        if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
            raise
        _errors.print(f"[bold red]Error:[/] {error}", highlight=False)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
