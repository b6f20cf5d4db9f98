"""The command line: one thin function a command."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from backend import measure_commands
from backend.settings import Settings, SettingsError, load_settings
from backend.threads import wait_passively

if TYPE_CHECKING:
    from backend.store import Store

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


measure_commands.register(app)


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
    try:
        store = _store(settings)
    except SettingsError as error:
        _errors.print(escape(str(error)), highlight=False, soft_wrap=True)
        store = Store("sqlite://")  # of nothing, and kept nowhere
    answer = status_of(store, settings, project)
    if as_json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        show_status(answer, Console())


@app.command()
def init(
    source: Annotated[Path, typer.Argument(help="A video file, or a folder of images.")],
    labels: Annotated[str, typer.Option(help="Labels, comma-separated: car,road.")] = "",
    title: Annotated[str | None, typer.Option(help="Title of the project.")] = None,
    project: Annotated[int | None, typer.Option(help="Add the clip to this project.")] = None,
    clip: Annotated[str | None, typer.Option(help="Name of the clip.")] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second to take; all if unset.")
    ] = None,
    image_format: Annotated[str, typer.Option(help="Of extracted frames: jpg or png.")] = "jpg",
    backend: Annotated[
        str | None, typer.Option(help="The service as Label Studio reaches it.")
    ] = None,
    document_root: Annotated[
        Path | None,
        typer.Option(
            envvar="LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT",
            help="Label Studio's folder of local files, if it is on this machine; else the frames "
            "are uploaded.",
        ),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(help="What people are asked for: frames, rectangles or superpixels."),
    ] = None,
    sample_size: Annotated[
        int | None, typer.Option(help="Side of a rectangle or super-pixel, in pixels.")
    ] = None,
    sample_number: Annotated[
        int | None, typer.Option(help="Rectangles or super-pixels to ask for on a frame.")
    ] = None,
) -> None:
    """Make a Label Studio project of a clip: frames, labels, tasks, backend, order."""
    from backend.init import BackendAddress, SampleWish, split_labels
    from backend.init import init as run
    from backend.studio import Studio

    if samples is None and (sample_size is not None or sample_number is not None):
        raise ValueError("a sample's size or number goes with --samples rectangles or superpixels")
    settings = _settings()
    url, key = settings.require_label_studio()
    result = run(
        Studio(url, key),
        source,
        backend=BackendAddress(
            backend or f"http://localhost:{settings.port}",
            settings.basic_auth_user,
            settings.basic_auth_pass.get_secret_value(),
        ),
        labels=split_labels(labels) if labels else (),
        title=title,
        project_id=project,
        clip=clip,
        fps=fps,
        image_format=image_format,
        document_root=document_root,
        samples=None if samples is None else SampleWish(samples, sample_size, sample_number),
        console=_errors,
    )
    for sentence in result.done:
        _errors.print(escape(sentence), highlight=False, soft_wrap=True)
    sys.stdout.write(f"{result.url}\n")


@app.command()
def demo(
    video: Annotated[Path | None, typer.Option(help="A clip of your own.")] = None,
    labels: Annotated[str | None, typer.Option(help="Its labels, comma-separated.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second to take from it.")] = None,
    folder: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path("maskloop-demo"),
    once: Annotated[
        bool, typer.Option("--once", help="End when the first masks are there.")
    ] = False,
) -> None:
    """Run the whole loop on a real Label Studio, on this machine."""
    from backend.demo import demo as run

    raise typer.Exit(run(folder, video=video, labels=labels, fps=fps, once=once))


@app.command()
def versions(
    project: Annotated[int, typer.Argument(help="Label Studio's id of the project.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for machines.")] = False,
) -> None:
    """List a project's model versions with their figures."""
    from backend.versions import list_versions, show_versions

    settings = _settings()
    rows = list_versions(_store(settings), settings, project)
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        show_versions(rows, Console())


@app.command()
def rollback(
    project: Annotated[int, typer.Argument(help="Label Studio's id of the project.")],
    version: Annotated[str, typer.Argument(help="The model version to show again.")],
) -> None:
    """Show an older version again: its masks, its order; training goes on from it."""
    from backend.jobqueue import Queue
    from backend.versions import go_back

    settings = _settings()
    store = _store(settings)
    go_back(store, Queue(settings), settings, project, version)
    _errors.print(f"The worker shows {version} again as soon as no round runs.", soft_wrap=True)


@app.command()
def refresh(
    project: Annotated[int, typer.Argument(help="Label Studio's id of the project.")],
) -> None:
    """Fetch a project's pictures anew: they were replaced under their old addresses."""
    from backend.jobqueue import Queue
    from backend.refresh import refresh as run

    settings = _settings()
    run(_store(settings), Queue(settings), project)
    _errors.print("The worker fetches the pictures anew and makes a round.", soft_wrap=True)


def _settings(**overrides: Any) -> Settings:
    return load_settings(**overrides)


def _store(settings: Settings) -> Store:
    """The store of the service: a command that asks for it must not make an empty one elsewhere.

    Raises:
        SettingsError: When there is none.
    """
    from backend.store import Store

    if not settings.database_url and not (settings.model_dir / "maskloop.db").exists():
        raise SettingsError(
            f"No service has kept anything in {settings.model_dir.resolve()} (MODEL_DIR) so far. "
            "Run this in the folder in which the service was started, or with its MODEL_DIR."
        )
    return Store(settings.resolved_database_url)


def _expected() -> tuple[type[Exception], ...]:
    from backend.studio import StudioError

    return (SettingsError, StudioError, ValueError, RuntimeError, OSError)


def main() -> None:
    """Entry point of the ``maskloop`` command: every expected error is one plain sentence."""
    wait_passively()
    for stream in (sys.stdout, sys.stderr):
        # Names of clips and labels are any text, and terminals of some locales know few letters.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except _expected() as error:
        if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
            raise
        _errors.print("[bold red]Error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
