"""What is looked at before the service starts: what would fail later, and again and again."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from difflib import get_close_matches
from errno import errorcode
from pathlib import Path

from pydantic import AliasChoices
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from backend.settings import Settings, SettingsError

__all__ = ["check_port", "check_settings", "misspelt"]

_PREFIX = "MASKLOOP_"
_PORT_ATTEMPTS = 21
_PORT_PAUSE = 0.5


def check_settings(settings: Settings) -> None:
    """Refuse settings with which no process of the service could work.

    A database or queue that does not answer is not looked for: it may still be starting.

    Raises:
        SettingsError: With the setting, and what to do.
    """
    _check_folder(settings.model_dir)
    if settings.database_url:
        _check_database(settings.database_url)
    if settings.queue_url:
        _check_queue(settings.queue_url)
    # The defaults need no check, and checking loads much.
    if settings.strategy != _default("strategy"):
        from selection.strategies import get_strategy

        try:
            get_strategy(settings.strategy)
        except ValueError as error:
            raise SettingsError(f"MASKLOOP_STRATEGY: {error}.") from None
    if settings.flow != _default("flow"):
        from model.flow import get_flow

        try:
            get_flow(settings.flow)
        except (ValueError, ImportError) as error:
            raise SettingsError(f"MASKLOOP_FLOW: {error}.") from None


def check_port(settings: Settings) -> None:
    """Refuse an address on which nothing can listen: the web process would be started for ever.

    A service that was killed may still be letting go of it, so it is tried for some seconds.

    Raises:
        SettingsError: With what to choose anew.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        try:
            socket.create_server((settings.host, settings.port), family=family).close()
            return
        except OSError as error:
            if attempt == _PORT_ATTEMPTS:
                code = error.errno or 0  # The error's own text repeats the address.
                reason = os.strerror(code) if code in errorcode else str(error)
                raise SettingsError(
                    f"Nothing can listen on port {settings.port} of {settings.host!r}: {reason}. "
                    "If another program is there, choose another PORT (maskloop serve --port); "
                    "MASKLOOP_HOST must be an address of this machine."
                ) from None
            time.sleep(_PORT_PAUSE)


def misspelt() -> list[str]:
    """A sentence for each variable of the environment that is nearly the name of a setting."""
    names = [
        str(name)
        for field in Settings.model_fields.values()
        if isinstance(field.validation_alias, AliasChoices)
        for name in field.validation_alias.choices
    ]
    said = []
    for name in sorted(os.environ):
        if name.startswith(_PREFIX) and name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.85)
            said += [f"{name} is no setting; is {near[0]} meant?"] if near else []
    return said


def _default(field: str) -> object:
    return Settings.model_fields[field].default


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-") as file:
            file.write(b"x")
    except OSError as error:
        raise SettingsError(
            f"MODEL_DIR is {str(folder)!r}, which can't be written: "
            f"{error.strerror or error}. All state is kept there: name a folder with free space "
            f"that the user of the service (id {os.getuid()}) may write to."
        ) from None


def _check_database(url: str) -> None:
    expected = "expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
    try:
        dialect = make_url(url).get_dialect()
        dialect.import_dbapi()
    except ImportError as error:
        raise SettingsError(
            f"MASKLOOP_DATABASE_URL needs a driver that is not installed here: {error}."
        ) from None
    except SQLAlchemyError:
        # The value may hold a password.
        raise SettingsError(
            f"MASKLOOP_DATABASE_URL is no database's address: {expected}."
        ) from None


def _check_queue(url: str) -> None:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise SettingsError("MASKLOOP_QUEUE_URL is no queue's address: expected redis://HOST:6379.")
    try:
        import redis  # noqa: F401
    except ImportError:
        raise SettingsError(
            "MASKLOOP_QUEUE_URL needs the client of Redis: pip install 'maskloop[scale]'."
        ) from None
