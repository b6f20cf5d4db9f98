"""A Label Studio of our own: a child process on this machine, its data in one folder."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from backend.children import ChildError, Program, free_port

__all__ = ["Login", "StudioServer"]

_FIRST_START_SECONDS = 300.0
# Label Studio takes almost any variable as a setting; it gets these of ours and no other.
_PASSED_ON = (
    "HOME", "LANG", "LC_ALL", "PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "TZ", "VIRTUAL_ENV",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Login:
    """Who may enter.

    Attributes:
        email: The user's name.
        password: The password for the login page.
        api_key: The user's legacy token, 40 hexadecimal digits.
    """

    email: str
    password: str
    api_key: str


class StudioServer:
    """Label Studio on SQLite, reachable from this machine alone.

    The folder keeps everything: database, uploads, the login, the log. Started again in the same
    folder, it is the same server. Used as a context manager it is stopped at the end.

    Args:
        folder: Its folder; created where it is missing.
        ports: Ports to try first.

    Attributes:
        login: The only user's login, made up when the folder was new.
        document_root: Folder whose files tasks may refer to as local files.
    """

    def __init__(self, folder: Path, *, ports: tuple[int, ...] = ()) -> None:
        self.folder = folder.resolve()
        self.document_root = self.folder / "files"
        self._ports = ports
        self._port = 0
        self._program: Program | None = None
        self.document_root.mkdir(parents=True, exist_ok=True)
        self.login = _login(self.folder / "login.json")

    @property
    def url(self) -> str:
        """Its address; valid once it is started."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def is_new(self) -> bool:
        """Whether the database is still to be made, which takes about half a minute."""
        return not (self.folder / "label_studio.sqlite3").exists()

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ChildError: When it is not installed, or does not come up; with the end of its log.
        """
        executable = _executable()
        self._port = free_port(self._ports)
        self._program = Program(
            "Label Studio",
            [
                *(executable, "start", "--no-browser"),
                *("--internal-host", "127.0.0.1", "--port", str(self._port)),
            ],
            log=self.folder / "label-studio.log",
            env=self._environment(),
        )
        try:
            self._program.wait_for_http(f"{self.url}/health", timeout=_FIRST_START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raise `ChildError` if it was started and has ended by itself."""
        if self._program is not None:
            self._program.check()

    def stop(self) -> None:
        """Stop it; does nothing when it does not run."""
        if self._program is not None:
            self._program.stop()
            self._program = None

    def __enter__(self) -> StudioServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder),
            "LABEL_STUDIO_USERNAME": self.login.email,
            "LABEL_STUDIO_PASSWORD": self.login.password,
            "LABEL_STUDIO_USER_TOKEN": self.login.api_key,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self.document_root),
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            # Both, or backends and webhooks on this machine are refused.
            "ML_BLOCK_LOCAL_IP": "false",
            "SSRF_PROTECTION_ENABLED": "false",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
        }


def _login(path: Path) -> Login:
    """The login kept in a file; made up and kept where there is none."""
    if path.exists():
        try:
            return Login(**json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise ChildError(f"{path} is damaged; delete the folder {path.parent}.") from None
    login = Login("demo@example.com", secrets.token_urlsafe(9), secrets.token_hex(20))
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(login), indent=2) + "\n")
    return login


def _executable() -> Path:
    beside = Path(sys.executable).parent / "label-studio"
    found = str(beside) if beside.exists() else shutil.which("label-studio")
    if found is None:
        raise ChildError(
            "Label Studio is not installed here. Install it with: pip install 'maskloop[studio]'"
        )
    return Path(found)
