"""Other programs that we start: on a free port, into a log file, and ended without a trace."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import requests

__all__ = ["ChildError", "Program", "die_with_parent", "free_port"]

_GRACE_SECONDS = 12.0
_TAIL_LINES = 15


class ChildError(RuntimeError):
    """A program that we started did not do what it was started for."""


class Program:
    """A program in a process group of its own, its output in a file.

    Args:
        name: What to call it in messages.
        command: The command line.
        log: Where its output goes; the folder is created, the file begun anew.
        env: Its whole environment.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,  # Ctrl-C reaches us alone, and we end it.
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )

    @property
    def pid(self) -> int:
        """Process id, which is the process group's too."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise `ChildError`, with the end of what it wrote, if it has ended by itself."""
        if not self.running:
            code = self._process.returncode
            raise ChildError(f"{self.name} ended with code {code}.\n{self.tail()}")

    def wait_until(self, ready: Callable[[], bool], *, timeout: float, pause: float = 0.2) -> None:
        """Wait until ``ready()``.

        Raises:
            ChildError: When the program ends first, or is not ready in time; with the end of what
                it wrote.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ChildError(f"{self.name} was not ready after {timeout:.0f} s.\n{self.tail()}")
            time.sleep(pause)

    def wait_for_http(self, url: str, *, timeout: float) -> None:
        """Wait until ``url`` answers 200; raises as `wait_until`."""
        with requests.Session() as http:
            http.trust_env = False

            def ready() -> bool:
                try:
                    return http.get(url, timeout=2).status_code == 200
                except requests.RequestException:
                    return False

            self.wait_until(ready, timeout=timeout)

    def tail(self) -> str:
        """The last lines that it wrote, under the name of the file."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        except OSError:
            lines = []
        return "\n".join([f"The end of {self.log}:", *lines])

    def stop(self) -> None:
        """End it and what it started: politely, then, after some seconds, by force."""
        if self.running:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def free_port(preferred: Iterable[int] = (), host: str = "127.0.0.1") -> int:
    """The first of some ports that nobody listens on, else any free one."""
    for port in (*preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ChildError(f"No port is free on {host}.")


def die_with_parent() -> None:
    """Ask Linux to end this child when its parent is killed without a chance to end it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
