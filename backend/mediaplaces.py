"""Where files may be fetched: what an address in a task's data means, and whether it may be."""

from __future__ import annotations

import base64
import ipaddress
import posixpath
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit, urlunsplit

__all__ = ["DamagedMediaError", "MediaError", "Places", "shown"]

_WEB = ("http", "https")
_PORTS = {"http": 80, "https": 443}
# Cloud storage that Label Studio opens for a task.
_CLOUD = ("s3", "gs", "azure-blob")
# What Label Studio serves of tasks' files; its token opens nothing else.
_STUDIO_PATHS = re.compile(
    r"/(data/(local-files|upload)/|storage-data/|(tasks|projects)/\d+/(presign|resolve)/)"
)
_ADD_HOST = "MASKLOOP_MEDIA_HOSTS"


class MediaError(ValueError):
    """A file of a task that can't be had; the sentence says why and what to do."""


class DamagedMediaError(MediaError):
    """A file that is itself at fault: gone, empty, no picture. Asking again would not help."""


@dataclass(frozen=True, slots=True)
class Places:
    """Which addresses are allowed.

    Attributes:
        studio_url: Label Studio's address.
        allowed_hosts: Other hosts, ``name`` or ``name:port``; ``*`` for every public one.
    """

    studio_url: str
    allowed_hosts: tuple[str, ...] = ()

    def resolve(self, url: str, task_id: int | None = None) -> str:
        """The whole address of a file of a task.

        Args:
            url: As the task's data gives it.
            task_id: The task.

        Raises:
            MediaError: When it is no address, or isn't allowed.
        """
        if not isinstance(url, str) or not url.strip():
            raise MediaError(f"The task's data has no address of a file, got {url!r}.")
        parts = _split(url.strip())
        if parts.scheme in _CLOUD:
            return self._through_studio(url.strip(), task_id)
        if parts.scheme in _WEB and parts.hostname:
            address = url.strip()
        elif not parts.scheme and not parts.netloc and parts.path.startswith("/"):
            address = self._on_studio(parts)
        else:
            raise MediaError(
                f"{_shorten(url)} can't be fetched: files of tasks must have an address that "
                "begins with http://, https:// or /data/."
            )
        self.check(address)
        return address

    def check(self, address: str) -> None:
        """Refuse a whole address that isn't allowed.

        Raises:
            MediaError: With what to add to the settings.
        """
        parts = _split(address)
        if parts.scheme not in _WEB or not parts.hostname:
            raise MediaError(f"{_shorten(address)} is no address of the web; it isn't fetched.")
        if parts.username is not None or parts.password is not None:
            raise MediaError(
                "An address of a file has a name or password in it; such addresses aren't fetched."
            )
        if self.is_studio(address):
            self._check_studio_path(parts)
        elif not self._is_named(parts) and "*" not in self.allowed_hosts:
            raise MediaError(
                f"Files may not be fetched from {parts.hostname}: add it to {_ADD_HOST}, or import "
                "the files into Label Studio."
            )

    def check_peer(self, address: str, peer: str) -> None:
        """Refuse an allowed name that leads to a private network without being named.

        Args:
            address: The whole address.
            peer: The IP address to which the connection leads.

        Raises:
            MediaError: When it may not be asked.
        """
        parts = _split(address)
        if self.is_studio(address) or self._is_named(parts):
            return
        try:
            public = ipaddress.ip_address(peer.partition("%")[0]).is_global
        except ValueError:
            public = False
        if not public:
            raise MediaError(
                f"{parts.hostname} is on a private network ({peer}); if files may be fetched from "
                f"there, name it in {_ADD_HOST}."
            )

    def is_studio(self, address: str) -> bool:
        """Whether an address is Label Studio's own: same scheme, host and port."""
        return _origin(_split(address)) == _origin(_split(self.studio_url))

    def _is_named(self, parts: SplitResult) -> bool:
        host = (parts.hostname or "").lower()
        named = {name.lower() for name in self.allowed_hosts}
        return host in named or f"{host}:{_origin(parts)[2]}" in named

    def _on_studio(self, parts: SplitResult) -> str:
        """The whole address of a path on Label Studio, which may itself live under a path."""
        studio = _split(self.studio_url)
        prefix = studio.path.rstrip("/")
        path = parts.path
        if prefix and not path.startswith(f"{prefix}/"):
            path = prefix + path
        return urlunsplit((studio.scheme, studio.netloc, path, parts.query, ""))

    def _through_studio(self, uri: str, task_id: int | None) -> str:
        if task_id is None:
            raise MediaError(f"{_shorten(uri)} is in cloud storage, and no task opens it.")
        code = quote(base64.urlsafe_b64encode(uri.encode()).decode())
        studio = self.studio_url.rstrip("/")
        return f"{studio}/tasks/{task_id}/presign/?fileuri={code}"

    def _check_studio_path(self, parts: SplitResult) -> None:
        prefix = _split(self.studio_url).path.rstrip("/")
        path = _unquoted(parts.path).removeprefix(prefix)
        named = [value for key, value in parse_qsl(parts.query) if key in ("d", "filepath")]
        for text in (path, *map(_unquoted, named)):
            if ".." in text.replace("\\", "/").split("/"):
                raise MediaError(f"{_shorten(parts.path)} leads out of its folder with '..'.")
        if not _STUDIO_PATHS.match(posixpath.normpath(path) + "/"):
            raise MediaError(
                f"{_shorten(parts.path)} is no file of a task on Label Studio; those are under "
                "/data/local-files/ and /data/upload/."
            )


def shown(address: str) -> str:
    """An address for people: what a signed one ends in opens the file, and is nobody's business."""
    bare, mark, query = address.partition("?")
    known = not mark or re.match(r"(d|fileuri|filepath)=", query)
    return address if known else f"{bare}?…"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # Raises where it is no number.
    except ValueError:
        raise MediaError(f"{_shorten(url)} is no address of a file.") from None
    if any(ord(letter) < 32 for letter in url):
        raise MediaError(f"{_shorten(url)} is no address of a file.")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme)


def _unquoted(text: str) -> str:
    """Percent-decoded as often as it is encoded, so that nothing hides."""
    for _ in range(4):
        decoded = unquote(text)
        if decoded == text:
            return text
        text = decoded
    raise MediaError(f"{_shorten(text)} is encoded too many times.")


def _shorten(value: str) -> str:
    text = repr(shown(value))
    return text if len(text) <= 160 else f"{text[:157]}…"
