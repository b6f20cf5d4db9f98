"""Pictures and videos of tasks: fetched from where the settings allow, kept on this disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from backend.fetching import PAUSES, Fetcher
from backend.mediaplaces import DamagedMediaError, MediaError, Places, shown

__all__ = [
    "MAX_PIXELS",
    "DamagedMediaError",
    "MediaCache",
    "MediaError",
    "bare_url",
    "of_edition",
    "told_url",
]

_MAX_PICTURE_BYTES = 256 * 1024**2
_MAX_VIDEO_BYTES = 8 * 1024**3
MAX_PIXELS = 100_000_000
# A file that someone was just given is not removed under their hands.
_FRESH_SECONDS = 120.0
_FORGOTTEN_SECONDS = 3600.0
_KEPT_SHARE = 0.9
_MEASURED_SHARE = 0.05
_PARTIAL = ".writing-"
_EDITION = "#maskloop-edition="
_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")


def of_edition(url: str, edition: int) -> str:
    """An address whose file is fetched once more, though it is kept: pictures were replaced.

    Args:
        url: As the task's data gives it.
        edition: How often that was asked for; 0 is the address as it is.
    """
    return f"{url}{_EDITION}{edition}" if edition else url


def bare_url(url: str) -> str:
    """The address without its edition."""
    return url.partition(_EDITION)[0]


def told_url(url: str) -> str:
    """The address for people: without its edition, and without what signs it."""
    return shown(bare_url(url))


class MediaCache:
    """Fetches what tasks show, and keeps it within a size limit; least recently used goes first.

    Safe with several processes on one folder: files are written beside and renamed into place.

    Args:
        folder: Where files are kept.
        max_bytes: Size limit of the folder.
        studio_url: Label Studio's address; addresses without a host are there, and only it is
            sent the token.
        token: Gives the token of the moment: a legacy one, or an access token (a JWT).
        allowed_hosts: Other hosts (``name`` or ``name:port``) from which files may be fetched. A
            host that is named may have a private address; ``*`` allows every public host.
        max_file_bytes: Size limit of a picture.
        max_video_bytes: Size limit of a video.
        max_pixels: Limit of a picture's width × height.
        timeout: Seconds to wait for a connection, and for each part of an answer.
        fresh_seconds: A file that was just given to someone stays for as long.
        pauses: Seconds before each further attempt at what may be over in a moment.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        studio_url: str,
        token: Callable[[], str],
        allowed_hosts: Iterable[str] = (),
        *,
        max_file_bytes: int = _MAX_PICTURE_BYTES,
        max_video_bytes: int = _MAX_VIDEO_BYTES,
        max_pixels: int = MAX_PIXELS,
        timeout: float = 30.0,
        fresh_seconds: float = _FRESH_SECONDS,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_file_bytes = max_file_bytes
        self._max_video_bytes = max_video_bytes
        self._max_pixels = max_pixels
        self._fresh_seconds = fresh_seconds
        self._places = Places(studio_url, tuple(allowed_hosts))
        self._fetcher = Fetcher(self._places, token, timeout, pauses=pauses)
        # What was written since the folder was last measured; at once on the first write.
        self._unmeasured = max_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def image(self, url: str, task_id: int | None = None) -> Path:
        """Where a task's picture is on this disk; fetched if it isn't there.

        Args:
            url: As the task's data gives it.
            task_id: The task, for pictures in cloud storage that Label Studio opens for it.

        Returns:
            A file that can be read as a picture; it stays for ``fresh_seconds`` at least.

        Raises:
            DamagedMediaError: When it isn't there, or is no picture.
            MediaError: When the address isn't allowed or can't be fetched.
        """
        return self._file("picture", url, task_id, self._max_file_bytes, self._check_picture)

    def video(self, url: str, task_id: int | None = None) -> Path:
        """Where a task's video is on this disk; fetched if it isn't there.

        Raises:
            MediaError: When the address isn't allowed or can't be fetched.
        """
        return self._file("video", url, task_id, self._max_video_bytes, lambda path, url: None)

    def forget(self, url: str, task_id: int | None = None) -> None:
        """Fetch a picture or a video anew the next time: it turned out to be damaged."""
        for kind in ("picture", "video"):
            self._place(kind, url, task_id)[1].unlink(missing_ok=True)

    def _place(self, kind: str, url: str, task_id: int | None) -> tuple[str, Path]:
        """The whole address of a file, and where it is kept."""
        bare, _, edition = url.partition(_EDITION) if isinstance(url, str) else (url, "", "")
        address = self._places.resolve(bare, task_id)
        digest = hashlib.sha256(f"{kind} {address}{edition}".encode()).hexdigest()
        return address, self._folder / digest[:2] / digest[2:40]

    def _file(
        self,
        kind: str,
        url: str,
        task_id: int | None,
        max_bytes: int,
        check: Callable[[Path, str], None],
    ) -> Path:
        address, path = self._place(kind, url, task_id)
        try:
            os.utime(path)  # Most recently used now.
            return path
        except FileNotFoundError:
            pass
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL)
        beside = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                size = self._fetcher.fetch(address, file, max_bytes)
            check(beside, address)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        self._make_room(size)
        return path

    def _check_picture(self, path: Path, url: str) -> None:
        """Refuse what isn't a picture, and pictures that would fill the memory when opened."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(path, formats=_FORMATS) as image:
                    width, height = image.size
        except Image.DecompressionBombError:
            raise DamagedMediaError(f"{shown(url)} is a picture of far too many pixels.") from None
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
            raise DamagedMediaError(
                f"{shown(url)} is not a picture that can be read (PNG, JPEG, WebP, BMP, TIFF)."
            ) from None
        if width * height > self._max_pixels:
            raise DamagedMediaError(
                f"{shown(url)} is a picture of {width}×{height} pixels; at most "
                f"{self._max_pixels / 1e6:.0f} megapixels are served."
            )

    def _make_room(self, written: int) -> None:
        """Remove the least recently used files, each time a twentieth of the limit was written."""
        self._unmeasured += written
        if self._unmeasured < _MEASURED_SHARE * self._max_bytes:
            return
        self._unmeasured = 0
        now = time.time()
        files = []
        for path in self._folder.glob("*/*"):
            try:
                info = path.stat()
            except FileNotFoundError:  # Another process was quicker.
                continue
            if not path.name.startswith(_PARTIAL):
                files.append((info.st_mtime, info.st_size, path))
            elif now - info.st_mtime > _FORGOTTEN_SECONDS:
                path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in files)
        if total <= self._max_bytes:
            return
        for used, size, path in sorted(files):
            if total <= _KEPT_SHARE * self._max_bytes or now - used < self._fresh_seconds:
                return
            path.unlink(missing_ok=True)
            total -= size
