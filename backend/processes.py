"""The service's processes: web, worker, and both together, each restarted if it dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication

from backend.app import create_app
from backend.children import die_with_parent
from backend.settings import Settings, SettingsError
from backend.startup import check_port, check_settings, misspelt
from backend.store import Store
from backend.threads import wait_passively

__all__ = ["bind_address", "run_web", "run_worker", "serve"]

log = logging.getLogger(__name__)

_GRACE_SECONDS = 10.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
# A process that ran so long is taken to have started well.
_HEALTHY_SECONDS = 60.0


class _Web(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": bind_address(self._settings),
            "workers": self._settings.workers,
            "worker_class": "gthread",
            "threads": self._settings.threads,
            "timeout": 120,
            "graceful_timeout": 5,
            "loglevel": self._settings.log_level.lower(),
            "proc_name": "maskloop-web",
            "control_socket_disable": True,
        }
        for key, value in options.items():
            if key in self.cfg.settings:
                self.cfg.set(key, value)

    def load(self) -> Any:
        # Built in each web process, after the fork: connections must not be shared.
        return create_app(self._settings)


def bind_address(settings: Settings) -> str:
    """Host and port as gunicorn takes them: an address of IPv6 in brackets."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"


def run_web(settings: Settings) -> None:
    """Serve HTTP in this process until it is told to end.

    Raises:
        SettingsError: When a setting can't be worked with.
        StoreError: When the store can't be opened.
    """
    _configure_logging(settings)
    check_settings(settings)
    # Here it is one sentence; in gunicorn's workers it would be a traceback each.
    Store(settings.resolved_database_url).close()
    _Web(settings).run()


def run_worker(settings: Settings) -> None:
    """Do rounds in this process until it is told to end.

    Raises:
        SettingsError: When Label Studio's address or token is missing, or the device is, or a
            setting can't be worked with.
        StoreError: When the store can't be opened.
    """
    _configure_logging(settings)
    url, key = settings.require_label_studio()
    check_settings(settings)
    # Training takes what it gets; an annotator's screen goes first.
    os.nice(5)

    wait_passively()

    # Only the worker loads torch.
    _check_device(settings)
    from backend.artifacts import Artifacts
    from backend.jobs import Foreman
    from backend.media import MediaCache
    from backend.rounds import RoundRunner
    from backend.studio import Studio

    studio = Studio(url, key)
    media = MediaCache(
        settings.model_dir / "frames",
        max_bytes=settings.media_max_bytes,
        studio_url=url,
        token=studio.media_token,
        allowed_hosts=settings.media_hosts,
    )
    runner = RoundRunner(
        Store(settings.resolved_database_url),
        Artifacts(settings.model_dir / "projects"),
        studio,
        media,
        settings,
    )
    Foreman(runner, settings).work()


def serve(settings: Settings) -> int:
    """Run the web process and one worker together until told to end (SIGINT, SIGTERM).

    Each is restarted if it dies, after a pause that grows while it keeps dying.

    Returns:
        Exit code: 0 when told to end.

    Raises:
        SettingsError: When Label Studio's address or token is missing, or the device is, or a
            setting can't be worked with.
        StoreError: When a newer Maskloop made the store, or it is damaged.
    """
    _configure_logging(settings)
    settings.require_label_studio()
    # What no restart of a process mends ends the service before it begins.
    check_settings(settings)
    check_port(settings)
    if not settings.database_url:
        Store(settings.resolved_database_url).close()
    if settings.device != "cpu":
        # Loads torch, so only where it may fail: a worker that can't start is started for ever.
        _check_device(settings)
    children = [_Child("web"), _Child("worker")]
    over = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal over
        over = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        while not over:
            for child in children:
                child.keep_alive()
            time.sleep(0.2)
    finally:
        _end(children)
    return 0


def _check_device(settings: Settings) -> None:
    from model.devices import check_device

    try:
        check_device(settings.device)
    except ValueError as error:
        raise SettingsError(f"MASKLOOP_DEVICE: {error}") from None


@dataclass
class _Child:
    name: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = field(default=_FIRST_PAUSE)
    not_before: float = 0.0

    def keep_alive(self) -> None:
        now = time.monotonic()
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            if now - self.started > _HEALTHY_SECONDS:
                self.pause = _FIRST_PAUSE
            log.warning("%s ended with code %d; again in %.1f s", self.name, code, self.pause)
            self.not_before = now + self.pause
            self.pause = min(self.pause * 2, _LONGEST_PAUSE)
            self.process = None
        if now >= self.not_before:
            self.started = now
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend.cli", self.name],
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the children.
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
            log.info("%s started (pid %d)", self.name, self.process.pid)


def _end(children: Sequence[_Child]) -> None:
    running = [child.process for child in children if child.process is not None]
    for process in running:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in running:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _configure_logging(settings: Settings) -> None:
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # At INFO these log every call and job.
    for noisy in ("huey", "urllib3", "httpx"):
        logging.getLogger(noisy).setLevel(max(logging.getLogger().level, logging.WARNING))
    for sentence in misspelt():
        log.warning(sentence)
