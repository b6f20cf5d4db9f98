"""One file over HTTP: each hop is checked, sizes and times are limited, the token stays at home."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import urljoin

import requests
from requests import exceptions
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from backend.mediaplaces import DamagedMediaError, MediaError, Places, shown

__all__ = ["PAUSES", "Fetcher"]

_MOST_REDIRECTS = 4
_CHUNK_BYTES = 1 << 16
_CONNECT_SECONDS = 5.0
# However slowly it drips.
_LONGEST_SECONDS = 600.0
# A server that is being restarted, or asks to be left alone for a moment, is asked again.
_PASSING = frozenset({429, 500, 502, 503, 504})
PAUSES = (0.5, 2.0)


class _PassingError(MediaError):
    """What may be over in a moment."""


class Fetcher:
    """Fetches files from the places that are allowed.

    Args:
        places: Which addresses are allowed.
        token: Gives Label Studio's token of the moment.
        timeout: Seconds to wait for each part of an answer.
        longest: Seconds for a whole file.
        pauses: Seconds before each further attempt at what may be over in a moment.
    """

    def __init__(
        self,
        places: Places,
        token: Callable[[], str],
        timeout: float,
        longest: float = _LONGEST_SECONDS,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._places = places
        self._token = token
        self._timeout = timeout
        self._longest = longest
        self._pauses = pauses

    def fetch(self, address: str, file: BinaryIO, max_bytes: int) -> int:
        """Write what is at an address into a file.

        Args:
            address: A whole address.
            file: Open for writing.
            max_bytes: More is refused.

        Returns:
            Bytes written.

        Raises:
            MediaError: When it isn't allowed, can't be had, or is too large.
            OSError: When the file can't be written.
        """
        deadline = time.monotonic() + self._longest
        for pause in self._pauses:
            try:
                return self._attempt(address, file, max_bytes, deadline)
            except _PassingError:
                time.sleep(pause)
                file.seek(0)
                file.truncate()
        return self._attempt(address, file, max_bytes, deadline)

    def _attempt(self, address: str, file: BinaryIO, max_bytes: int, deadline: float) -> int:
        for _ in range(_MOST_REDIRECTS + 1):
            self._places.check(address)
            with self._get(address) as answer:
                if answer.is_redirect:
                    address = urljoin(address, answer.headers["Location"])
                    continue
                self._check_status(address, answer)
                return self._copy(address, answer, file, max_bytes, deadline)
        raise MediaError(f"{shown(address)} redirects more than {_MOST_REDIRECTS} times.")

    @contextmanager
    def _get(self, address: str) -> Iterator[requests.Response]:
        # As it is: a packed answer could unfold to any size.
        headers = {"Accept-Encoding": "identity"}
        if self._places.is_studio(address):
            token = self._token()
            # An access token of a personal access token is a JWT; a legacy token has no dots.
            headers["Authorization"] = f"{'Bearer' if token.count('.') == 2 else 'Token'} {token}"
        # A session of its own for each file: no cookies or connections of another host. No proxies
        # or passwords from the environment: the peer that is checked must be the host itself.
        with requests.Session() as session:
            session.trust_env = False
            session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
            adapter = _CheckingAdapter(lambda peer: self._places.check_peer(address, peer))
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            with self._told(address):
                answer = session.get(
                    address,
                    headers=headers,
                    stream=True,
                    allow_redirects=False,
                    timeout=(min(_CONNECT_SECONDS, self._timeout), self._timeout),
                )
            with answer:
                yield answer

    @contextmanager
    def _told(self, address: str) -> Iterator[None]:
        """Errors of the network, and no others, in a sentence."""
        try:
            yield
        except requests.Timeout:
            raise MediaError(
                f"{shown(address)} did not answer within {self._timeout:g} s."
            ) from None
        except (requests.RequestException, HTTPError, OSError) as error:
            lasting = isinstance(error, (exceptions.SSLError, exceptions.InvalidURL))
            kind = MediaError if lasting else _PassingError
            raise kind(f"{shown(address)} can't be fetched: {_reason(error)}.") from None

    def _check_status(self, address: str, answer: requests.Response) -> None:
        status = answer.status_code
        if status == 200:
            return
        if status in (401, 403) and self._places.is_studio(address):
            raise MediaError(
                f"Label Studio won't give {shown(address)} ({status}): check that "
                "LABEL_STUDIO_API_KEY is the token of a user who may open the project, and for "
                "local files that LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED is true there."
            )
        if status == 404:
            raise DamagedMediaError(f"{shown(address)} isn't there (404).")
        kind = _PassingError if status in _PASSING else MediaError
        raise kind(f"{shown(address)} was answered with {status} {answer.reason}.")

    def _copy(
        self,
        address: str,
        answer: requests.Response,
        file: BinaryIO,
        max_bytes: int,
        deadline: float,
    ) -> int:
        too_large = MediaError(f"{shown(address)} is larger than {max_bytes / 1024**2:g} MB.")
        claimed = answer.headers.get("Content-Length", "")
        if claimed.isascii() and claimed.isdigit() and int(claimed) > max_bytes:
            raise too_large
        size = 0
        while True:
            with self._told(address):
                # What has come, not a full chunk: a host that drips must not outwit the deadline.
                chunk = answer.raw.read1(_CHUNK_BYTES)
            if not chunk:
                break
            size += len(chunk)
            if size > max_bytes:
                raise too_large
            if time.monotonic() > deadline:
                raise MediaError(f"{shown(address)} did not come within {self._longest:g} s.")
            file.write(chunk)
        if size == 0:
            raise DamagedMediaError(f"{shown(address)} is empty.")
        return size


class _CheckingAdapter(HTTPAdapter):
    """Looks at whom a connection leads to before anything is sent.

    Checking the name's addresses beforehand would not do: a name may answer differently twice.
    """

    def __init__(self, check: Callable[[str], None]) -> None:
        self._check = check
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        check = self._check

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _checked(super()._new_conn(), check)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _checked(super()._new_conn(), check)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}


def _checked(connection: socket.socket, check: Callable[[str], None]) -> socket.socket:
    try:
        check(str(connection.getpeername()[0]))
    except BaseException:
        connection.close()
        raise
    return connection


def _reason(error: BaseException) -> str:
    """What went wrong, without the layers that requests wraps around it."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = error.args[0] if error.args else None
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = str(error).rsplit(": ", 1)[-1].strip(" .")
    return text[:200] or type(error).__name__
