"""Which task is which frame of which clip."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["ClipIdentityError", "FrameRef", "identify", "identify_clip"]

# Label Studio puts eight hexadecimal digits before the name of an uploaded file.
_UPLOAD = re.compile(r"(?:^|/)data/upload/\d+/(?:[0-9a-f]{8}-)?(?P<name>[^/]+)$")
_NUMBERED = re.compile(r"^(?P<name>.*?)(?P<number>[0-9]+)$", re.DOTALL)
_SEPARATORS = " _-.#"
# Names that say nothing of the clip: the folder does.
_PLAIN_NAMES = frozenset({"", "frame", "frames", "img", "image", "images", "f"})
_MOST_DIGITS = 15


class ClipIdentityError(ValueError):
    """A task that is no frame of a clip as far as we can tell; the sentence says what to add."""


@dataclass(frozen=True, slots=True, order=True)
class FrameRef:
    """A frame of a clip.

    Attributes:
        clip: The clip's name.
        frame: The frame's number; numbers order a clip's frames and may have gaps.
    """

    clip: str
    frame: int


def identify(data: Mapping[str, Any], data_key: str = "image") -> FrameRef:
    """Tell which frame of which clip a task is.

    The task's data says so (``{"image": url, "clip": "name", "frame": 12}``), else the file's
    name: ``name_000012.png``, ``folder/000012.jpg``, also as an upload (whose prefix is left out),
    in a local-files address, and percent-encoded. Numbered uploads without a name of their own
    belong to one clip called ``upload``.

    Args:
        data: The task's data.
        data_key: Under which key it gives the picture.

    Returns:
        The frame.

    Raises:
        ClipIdentityError: When it can't be told; the sentence says what to add.

    Example:
        >>> identify({"image": "/data/local-files/?d=street/000012.jpg"})
        FrameRef(clip='street', frame=12)
    """
    url = data.get(data_key)
    if not isinstance(url, str) or not url.strip():
        raise ClipIdentityError(
            f"the task's data has no picture under {data_key!r}, which the labelling configuration "
            f"shows; add the address of one, got {_shorten(url)}."
        )
    clip, frame = _given_clip(data), _given_frame(data)
    if clip is not None and frame is not None:
        return FrameRef(clip, frame)
    told_clip, told_frame = _tell(url)
    clip = told_clip if clip is None else clip
    frame = told_frame if frame is None else frame
    missing = [name for name, value in (("clip", clip), ("frame", frame)) if value is None]
    if clip is None or frame is None:
        example = {"clip": '"clip": "street"', "frame": '"frame": 12'}
        raise ClipIdentityError(
            f"{_shorten(url)} doesn't tell the {' and the '.join(missing)}. Add "
            f"{', '.join(example[name] for name in missing)} to the task's data, or name files "
            "like street_000012.png or street/000012.png."
        )
    return FrameRef(clip, frame)


def identify_clip(data: Mapping[str, Any], data_key: str, task_id: int) -> str:
    """The name of a clip that is one task: a list of pictures, or a video.

    The task's data says so (``"clip"``), else the video's file name or the pictures' folder, else
    the task's number.

    Raises:
        ClipIdentityError: When ``"clip"`` is no name.
    """
    given = _given_clip(data)
    if given is not None:
        return given
    value = data.get(data_key)
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, str):
        path, _ = _file_path(first)
        told = _tell(first)[0] if isinstance(value, list) else path.stem
        if told and told != "upload":
            return told
    return f"task {task_id}"


def _given_clip(data: Mapping[str, Any]) -> str | None:
    clip = data.get("clip")
    if clip is None or clip == "":
        return None
    if isinstance(clip, bool) or not isinstance(clip, (str, int)) or not str(clip).strip():
        raise ClipIdentityError(f'"clip" must be the name of a clip, got {_shorten(clip)}.')
    return str(clip).strip()


def _given_frame(data: Mapping[str, Any]) -> int | None:
    frame = data.get("frame")
    if frame is None or frame == "":
        return None
    # CSV imports give numbers as text, or as floats.
    text = str(frame).strip()
    if isinstance(frame, float) and frame.is_integer():
        text = str(int(frame))
    if isinstance(frame, bool) or not re.fullmatch(rf"[0-9]{{1,{_MOST_DIGITS}}}", text):
        raise ClipIdentityError(
            f'"frame" must be the number of a frame in its clip, 0 or more, got {_shorten(frame)}.'
        )
    return int(text)


def _tell(url: str) -> tuple[str | None, int | None]:
    """What a picture's address tells of clip and frame."""
    path, uploaded = _file_path(url)
    numbered = _NUMBERED.match(path.stem)
    digits = numbered["number"] if numbered else ""
    if numbered is None or len(digits) > _MOST_DIGITS:
        return None, None
    name = numbered["name"].rstrip(_SEPARATORS)
    folder = "" if str(path.parent) == "." else str(path.parent).strip("/")
    if name.casefold() in _PLAIN_NAMES and folder:
        return folder, int(digits)
    clip = f"{folder}/{name}" if folder and name else folder or name
    return clip or ("upload" if uploaded else None), int(digits)


def _file_path(url: str) -> tuple[PurePosixPath, bool]:
    """The file that an address names, and whether it was uploaded into Label Studio."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise ClipIdentityError(f"{_shorten(url)} is no address of a picture.") from None
    local = parse_qs(parts.query).get("d") if "local-files" in parts.path else None
    if local:
        return PurePosixPath(local[-1].replace("\\", "/")), False
    text = unquote(parts.path).replace("\\", "/")
    upload = _UPLOAD.search(text)
    if upload:
        return PurePosixPath(upload["name"]), True
    return PurePosixPath(text.lstrip("/")), False


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}…"
