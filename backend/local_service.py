"""The service as a child process on this machine, for the demo and the tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from backend.children import Program, free_port
from backend.settings import load_settings

__all__ = ["LocalService"]

_START_SECONDS = 60.0


class LocalService:
    """`maskloop serve`, reachable from this machine alone, its state in one folder.

    Args:
        folder: Its folder; created where it is missing.
        studio_url: Address of Label Studio.
        api_key: Token for Label Studio.
        ports: Ports to try first.
        settings: More settings by the names of their environment variables; they go before those
            of this process's environment.

    Attributes:
        auth: User and password that it asks for; empty for none.
        database_url: Where it keeps its state.
    """

    def __init__(
        self,
        folder: Path,
        *,
        studio_url: str,
        api_key: str,
        ports: tuple[int, ...] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._settings = {
            "LABEL_STUDIO_URL": studio_url,
            "LABEL_STUDIO_API_KEY": api_key,
            "MODEL_DIR": str(self.folder),
            "MASKLOOP_HOST": "127.0.0.1",
            **(settings or {}),
        }
        # What the service itself will find: our settings, the environment, .env.
        found = load_settings()
        self.auth = (
            self._settings.get("BASIC_AUTH_USER", found.basic_auth_user),
            self._settings.get("BASIC_AUTH_PASS", found.basic_auth_pass.get_secret_value()),
        )
        self.database_url = (
            self._settings.get("MASKLOOP_DATABASE_URL")
            or found.database_url
            or f"sqlite:///{self.folder / 'maskloop.db'}"
        )
        self._ports = ports
        self._port = 0
        self._program: Program | None = None

    @property
    def url(self) -> str:
        """Its address; valid once it is started."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        """The file that it writes to."""
        return self.folder / "service.log"

    @property
    def program(self) -> Program:
        """The running program.

        Raises:
            RuntimeError: When it is not started.
        """
        if self._program is None:
            raise RuntimeError("the service is not started")
        return self._program

    def start(self) -> None:
        """Start it and wait until it answers; on its old port when it was started before.

        Raises:
            ChildError: When it does not come up; with the end of its log.
        """
        self._port = free_port((self._port,) if self._port else self._ports)
        self._program = Program(
            "The service",
            [sys.executable, "-m", "backend.cli", "serve"],
            log=self.log,
            env={**os.environ, **self._settings, "PORT": str(self._port)},
        )
        try:
            self._program.wait_for_http(f"{self.url}/health", timeout=_START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it; does nothing when it does not run."""
        if self._program is not None:
            self._program.stop()
            self._program = None

    def status(self, project_id: int) -> dict[str, Any]:
        """What ``/status`` says of a project; empty while the service does not know it.

        Raises:
            requests.RequestException: When the service does not answer.
        """
        with requests.Session() as http:
            http.trust_env = False
            auth = self.auth if any(self.auth) else None
            answer = http.get(f"{self.url}/status", auth=auth, timeout=10)
        answer.raise_for_status()
        known = {int(project["id"]): project for project in answer.json()["projects"]}
        return dict(known.get(project_id, {}))

    def __enter__(self) -> LocalService:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
