"""Logic of `maskloop demo`: a real Label Studio with the service behind it, on one machine."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import requests
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from backend.children import ChildError
from backend.formats import encode
from backend.init import BackendAddress, InitError, InitResult, init, split_labels
from backend.labelconfig import parse_label_config
from backend.local_service import LocalService
from backend.round_display import RoundDisplay
from backend.studio import Studio
from backend.studio_server import StudioServer
from model.synthetic import RenderedClip, render_clip

__all__ = ["demo"]

TITLE = "Maskloop demo"
FIRST_LABELS = 3
# A round for every three labels, and a short one: people who try things don't wait.
_SETTINGS = {
    "MASKLOOP_BUDGET": str(FIRST_LABELS),
    "MASKLOOP_QUIET_SECONDS": "20",
    "MASKLOOP_FINETUNE_SECONDS": "40",
}
_POLL_SECONDS = 0.5
_GIVE_UP_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class _Running:
    """Everything that the demo has started, and the project in it."""

    server: StudioServer
    service: LocalService
    studio: Studio
    console: Console

    def status(self, project_id: int) -> dict[str, Any]:
        """The project's state; empty while the service is busy or being restarted."""
        self.server.check()
        self.service.program.check()
        try:
            return self.service.status(project_id)
        except requests.RequestException:
            return {}


def demo(
    folder: Path,
    *,
    video: Path | None = None,
    labels: str | None = None,
    fps: float | None = None,
    once: bool = False,
    rendered: RenderedClip | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo until it is interrupted.

    Args:
        folder: Where everything is kept; started again in it, the demo goes on where it was.
        video: A clip of the user's own, instead of the rendered one.
        labels: Its labels, comma-separated.
        fps: Frames a second to take from it.
        once: End when the masks of a round are there (for tests), or, with a clip of the user's
            own, when the first frames to label are chosen.
        rendered: The rendered clip; by default 60 frames of 320x240.
        console: Where to show what happens; standard error by default.

    Returns:
        Exit code: 0 when it was ended after it was ready, 130 when before.

    Raises:
        InitError: When what was asked for does not fit together.
        ChildError: When Label Studio or the service does not run; with the end of its log.
        StudioError: When Label Studio can't do its part.
    """
    if (video is None) != (labels is None):
        raise InitError(
            "a clip of your own needs its labels, and labels a clip: "
            "make demo VIDEO=street.mp4 LABELS=car,road"
        )
    console = console or Console(stderr=True)
    names = split_labels(labels) if labels is not None else []
    ready = False
    with _interruptible(), ExitStack() as stack:
        try:
            stack.enter_context(_only_one(folder))
            running = _start(folder, stack, console)
            if video is not None:
                result = _own_clip(running, video, names, fps)
            else:
                result = _rendered_clip(running, rendered or render_clip(60, (320, 240), seed=3))
            ready = True
            _welcome(running, result)
            if not once:
                _follow(running, result.project_id)
        except KeyboardInterrupt:
            console.print("\nEnding Label Studio and the service.")
        finally:
            # A second Ctrl-C must not leave half of it running.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0 if ready else 130


def _start(folder: Path, stack: ExitStack, console: Console) -> _Running:
    server = StudioServer(folder / "label-studio", ports=(8080,))
    first = " for the first time, which takes half a minute" if server.is_new else ""
    with console.status(f"Starting Label Studio{first}"):
        stack.enter_context(server)
    service = LocalService(
        folder / "service",
        studio_url=server.url,
        api_key=server.login.api_key,
        ports=(9090,),
        settings={key: value for key, value in _SETTINGS.items() if key not in os.environ},
    )
    with console.status("Starting the service"):
        stack.enter_context(service)
    studio = Studio(server.url, server.login.api_key)
    stack.callback(studio.close)
    return _Running(server, service, studio, console)


def _own_clip(running: _Running, video: Path, labels: list[str], fps: float | None) -> InitResult:
    result = _init(running, video, labels=labels, fps=fps)
    _wait(running, result.project_id, lambda status: bool(status.get("model_version")))
    return result


def _rendered_clip(running: _Running, clip: RenderedClip) -> InitResult:
    folder = running.server.document_root / "toys"
    _write_frames(clip, folder, running.console)
    result = _init(running, folder, labels=list(clip.class_names[1:]), title=TITLE)
    project_id = result.project_id
    _wait(running, project_id, lambda status: bool(status.get("model_version")))
    labelled = sum(bool(task["annotations"]) for task in running.studio.tasks(project_id))
    _label_as_a_person(running, project_id, clip, FIRST_LABELS - labelled)
    _wait(running, project_id, _has_masks)
    return result


def _init(running: _Running, source: Path, **options: Any) -> InitResult:
    backend = BackendAddress(running.service.url, *running.service.auth)
    result = init(
        running.studio,
        source,
        backend=backend,
        document_root=running.server.document_root,
        console=running.console,
        **options,
    )
    for line in result.done:
        running.console.print(escape(line), highlight=False)
    return result


def _write_frames(clip: RenderedClip, folder: Path, console: Console) -> None:
    """Write the frames that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [i for i in range(len(clip)) if not (folder / f"{i:05d}.png").exists()]
    for index in track(waiting, "Rendering a clip", console=console, transient=True):
        picture = cv2.cvtColor(clip.read(index), cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".png", picture)
        partial = folder / ".part"
        partial.write_bytes(data.tobytes())
        partial.replace(folder / f"{index:05d}.png")


def _label_as_a_person(running: _Running, project_id: int, clip: RenderedClip, count: int) -> None:
    """Label the tasks that are served next with the clip's exact masks."""
    config = parse_label_config(str(running.studio.project(project_id)["label_config"]))
    for _ in range(count):
        task = running.studio.next_task(project_id)
        if task is None:
            return
        frame = int(task["data"]["frame"])
        running.studio.create_annotation(task["id"], encode(clip.mask(frame), config))
        running.console.print(f"Labelled frame {frame}, which was served.", highlight=False)


def _has_masks(status: Mapping[str, Any]) -> bool:
    done = [row for row in status.get("rounds", ()) if row["state"] == "done" and row["labels"]]
    return bool(done) and not status["round"]


def _wait(running: _Running, project_id: int, reached: Callable[[Mapping[str, Any]], bool]) -> None:
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    with RoundDisplay(running.console) as display:
        while not reached(status := running.status(project_id)):
            display.show(status)
            if time.monotonic() > deadline:
                said = status.get("error") or "The service did not finish a round."
                raise ChildError(f"{said}\n{running.service.program.tail()}")
            time.sleep(_POLL_SECONDS)


def _follow(running: _Running, project_id: int) -> None:
    with RoundDisplay(running.console) as display:
        while True:
            display.show(running.status(project_id))
            time.sleep(_POLL_SECONDS)


def _welcome(running: _Running, result: InitResult) -> None:
    login = running.server.login
    console = running.console
    console.print()
    console.print(f"[bold]Open[/]      {escape(result.url)}", highlight=False, soft_wrap=True)
    console.print(
        f"[bold]Log in[/]    {escape(login.email)}  {escape(login.password)}", highlight=False
    )
    budget = os.environ.get("MASKLOOP_BUDGET", _SETTINGS["MASKLOOP_BUDGET"])
    console.print(
        "\nPress [bold]Label All Tasks[/]: what helps most is served first.\n"
        f"After {budget} labels, or a quiet while after fewer, the next round starts.\n"
        "Ctrl-C ends everything; started again, it goes on where you were.\n",
        highlight=False,
    )


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ChildError(
                f"A demo is running in {folder} already; end it, or run this one in another folder."
            ) from None
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, and put both back afterwards."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
