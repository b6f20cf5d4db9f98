"""A clip's frames, read through the cache when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.clip import read_image

__all__ = ["TaskFrames"]


class Fetcher(Protocol):
    """The part of the media cache that is needed here."""

    def image(self, url: str, task_id: int | None = None) -> Path:
        """Where the picture of a task lies on this disk."""


class TaskFrames:
    """The frames of one clip as a `model.clip.FrameSource`, one picture in memory at a time.

    Args:
        media: Fetches and caches pictures.
        tasks: ``(task id, url)`` of each frame, in the clip's order.
    """

    def __init__(self, media: Fetcher, tasks: Sequence[tuple[int, str]]) -> None:
        self._media = media
        self._tasks = list(tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Frame ``index`` as RGB (H, W, 3) uint8.

        Raises:
            MediaError: When the picture can't be had.
            ClipError: When it can't be read.
        """
        task_id, url = self._tasks[index]
        return read_image(self._media.image(url, task_id))
