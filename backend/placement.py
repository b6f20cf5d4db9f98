"""Where a clip's frames lie for Label Studio: among its uploads, or below its document root."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from backend.extraction import SourceFrames
from backend.studio import Studio

__all__ = ["Put", "placing"]

Put = Callable[[Sequence[int]], list[str]]
"""Puts the frames at some positions into place; gives the URL of each for its task."""


def placing(
    studio: Studio, frames: SourceFrames, project_id: int, clip: str, root: Path | None
) -> Put:
    """Choose where the frames of a clip go.

    Args:
        studio: The Label Studio client.
        frames: The clip's frames.
        project_id: Label Studio's id.
        clip: Name of the clip.
        root: Label Studio's local files document root, where it is on this machine. Images that
            lie below it stay where they are; other frames are written below it. Without one,
            frames are uploaded.

    Raises:
        StudioError: When Label Studio may not serve the folder.
        OSError: When the folder can't be written.
    """
    if root is None:
        return partial(_upload, studio, frames, project_id)
    root = root.resolve()
    folder = frames.folder
    in_place = folder is not None and root in folder.parents
    if folder is None or not in_place:
        folder = root / "maskloop" / str(project_id) / _folder_name(clip)
        folder.mkdir(parents=True, exist_ok=True)
    studio.add_local_files(project_id, str(folder), clip)
    return partial(_local, frames, folder, root, in_place)


def _upload(
    studio: Studio, frames: SourceFrames, project_id: int, positions: Sequence[int]
) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="maskloop-") as folder:
        paths = [frames.write(position, Path(folder)) for position in positions]
        return studio.upload_images(project_id, paths)


def _local(
    frames: SourceFrames, folder: Path, root: Path, in_place: bool, positions: Sequence[int]
) -> list[str]:
    urls = []
    for position in positions:
        there = frames.path(position) if in_place else None
        path = folder / there.name if there is not None else frames.write(position, folder)
        urls.append(f"/data/local-files/?d={quote(path.relative_to(root).as_posix())}")
    return urls


def _folder_name(clip: str) -> str:
    """A folder name for a clip; different clips get different ones."""
    plain = re.sub(r"[^\w.-]+", "-", clip).strip(".-")
    if plain and plain == clip:
        return plain
    return f"{plain or 'clip'}-{hashlib.sha256(clip.encode()).hexdigest()[:8]}"
