"""A clip's frames, read through the cache when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt

from backend.media import DamagedMediaError, told_url
from backend.snapshot import ClipSnapshot
from model.clip import ClipError, VideoClip, read_image

__all__ = ["Fetcher", "TaskFrames", "VideoFrames", "clip_frames", "open_video"]

# Of a clip's pictures, so many may be stood in for: a share, and of short clips so many.
_STOOD_IN = 0.1
_FEW = 1


class Fetcher(Protocol):
    """The part of the media cache that is needed here."""

    def image(self, url: str, task_id: int | None = None) -> Path:
        """Where the picture of a task lies on this disk."""

    def forget(self, url: str, task_id: int | None = None) -> None:
        """Fetch the picture or video of a task anew the next time."""

    def video(self, url: str, task_id: int | None = None) -> Path:
        """Where the video of a task lies on this disk."""


def open_video(media: Fetcher, url: str, task_id: int) -> VideoClip:
    """The video of a task.

    Raises:
        MediaError: When it can't be had.
        ClipError: When it can't be read.
    """
    path = media.video(url, task_id)
    try:
        return VideoClip(path)
    except ClipError as error:
        # What is kept may be half of a file that is whole by now.
        media.forget(url, task_id)
        reason = str(error).removeprefix(f"{path}: ")
        raise ClipError(f"the video of task {task_id} ({told_url(url)}) {reason}") from None


def clip_frames(
    media: Fetcher, clip: ClipSnapshot, key_frames: Sequence[int]
) -> TaskFrames | VideoFrames:
    """The frames of a clip, whatever its tasks are; for `key_frames` see `TaskFrames`."""
    if clip.timestamps:
        return VideoFrames(media, clip.task_ids[0], clip.urls[0], len(clip))
    tasks = list(zip(clip.task_ids, clip.urls, strict=True))
    return TaskFrames(media, tasks, key_frames)


class TaskFrames:
    """The frames of one clip as a `model.clip.FrameSource`, one picture in memory at a time.

    A picture that is gone or damaged does not keep the others from their masks: the nearest sound
    one stands in for it, so that its mask is its neighbour's. Where more than a tenth of the
    pictures are, something else is wrong, and none does.

    Args:
        media: Fetches and caches pictures.
        tasks: ``(task id, url)`` of each frame, in the clip's order.
        key_frames: Frames with a label, which no other picture fits: nothing stands in for them.

    Attributes:
        unreadable: Why a picture could not be read, by index, of those that were asked for.
    """

    def __init__(
        self, media: Fetcher, tasks: Sequence[tuple[int, str]], key_frames: Sequence[int] = ()
    ) -> None:
        self._media = media
        self._tasks = list(tasks)
        self._key_frames = frozenset(key_frames)
        self._first: tuple[int, tuple[int, ...]] | None = None
        self.unreadable: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Frame ``index`` as RGB (H, W, 3) uint8.

        Raises:
            MediaError: When the picture can't be had, and no other may stand in for it.
            ClipError: When it can't be read, and no other may stand in for it; when it isn't of
                the size of the others.
        """
        for near in self._nearest(index):
            if near not in self.unreadable:
                try:
                    return self._picture(near)
                except (DamagedMediaError, _DamagedPictureError) as error:
                    most = max(_FEW, int(_STOOD_IN * len(self)))
                    if near in self._key_frames or len(self.unreadable) >= most:
                        raise
                    self.unreadable[near] = str(error)
        raise ClipError("none of the clip's pictures can be read")

    def _nearest(self, index: int) -> Iterator[int]:
        """The frames by their distance to one, itself first."""
        yield index
        for distance in range(1, len(self)):
            yield from (
                near for near in (index - distance, index + distance) if 0 <= near < len(self)
            )

    def _picture(self, index: int) -> npt.NDArray[np.uint8]:
        task_id, url = self._tasks[index]
        try:
            picture = read_image(self._media.image(url, task_id))
        except ClipError:
            # What is kept may be half of a file that is whole by now.
            self._media.forget(url, task_id)
            raise _DamagedPictureError(
                f"the picture of task {task_id} ({told_url(url)}) can't be decoded; it may be "
                "damaged: put a sound one in its place, or delete the task"
            ) from None
        if self._first is None:
            self._first = task_id, picture.shape
        elif self._first[1] != picture.shape:
            other, (tall, wide, _) = self._first
            raise ClipError(
                f"the picture of task {task_id} is {picture.shape[1]}×{picture.shape[0]} pixels, "
                f"and that of task {other} {wide}×{tall}; the frames of a clip must have one size: "
                'give those of another size another "clip" in their data, or delete their tasks'
            )
        return picture


class _DamagedPictureError(ClipError):
    """A picture that came but can't be decoded."""


class VideoFrames:
    """The frames of a video that is one task.

    Args:
        media: Fetches and caches videos.
        task_id: The task.
        url: The video's address.
        frames: How many frames it had when the round began.

    Attributes:
        unreadable: As of `TaskFrames`; of a video always empty, as it is one file.
    """

    def __init__(self, media: Fetcher, task_id: int, url: str, frames: int) -> None:
        self._media = media
        self._task_id = task_id
        self._url = url
        self._frames = frames
        self.unreadable: dict[int, str] = {}
        self._clip: VideoClip | None = None
        self._opening = Lock()

    def __len__(self) -> int:
        return self._frames

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Frame ``index`` as RGB (H, W, 3) uint8.

        Raises:
            MediaError: When the video can't be had.
            ClipError: When it can't be read.
        """
        with self._opening:
            if self._clip is None:
                self._clip = open_video(self._media, self._url, self._task_id)
        return self._clip.read(index)
