"""Frame sources, read a frame at a time: a folder or list of images, or a video file."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "IMAGE_SUFFIXES",
    "ClipError",
    "FolderClip",
    "FrameSource",
    "ListClip",
    "VideoClip",
    "open_clip",
    "read_image",
]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_CACHE_BYTES = 64 * 2**20
"""Decoded frames a `VideoClip` keeps, so that reading backwards does not decode anew each time."""


class ClipError(ValueError):
    """A clip, or a frame of it, that cannot be read; the message names the file and the reason."""


@runtime_checkable
class FrameSource(Protocol):
    """The frames of a clip by index, from 0 to `len(source) - 1`, in any order.

    Two threads may read at once: propagation reads ahead in one of its own.
    """

    def __len__(self) -> int: ...

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index` as RGB, (H, W, 3) uint8."""
        ...


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file as RGB, turned the way its EXIF orientation says.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ClipError: The file is missing, unreadable, or not an image.
    """
    path = Path(path)
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError:
        raise ClipError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ClipError(f"{path}: cannot be read ({error.strerror or error})") from None
    if data.size == 0:
        raise ClipError(f"{path}: the file is empty; copy it again")
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise ClipError(f"{path}: is not an image that can be decoded; it may be damaged")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _natural_key(path: str | Path) -> tuple[list[tuple[int, int, str]], str]:
    """Order names so that `frame_10` follows `frame_9`."""
    name = Path(path).name
    parts = re.split(r"([0-9]+)", name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p], name


def _check_index(index: int, length: int, name: str) -> int:
    if not 0 <= index < length:
        raise IndexError(f"{name}: there is no frame {index}; frames are 0 to {length - 1}")
    return index


class ListClip:
    """A clip of image files in the order given."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        """Args: paths: The frames, in order. Raises: ClipError: The list is empty."""
        if not paths:
            raise ClipError("a clip needs at least one frame, and the list of paths is empty")
        self.paths = tuple(Path(path) for path in paths)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index`, (H, W, 3) uint8; raises `IndexError` or `ClipError`."""
        return read_image(self.paths[_check_index(index, len(self), type(self).__name__)])


class FolderClip(ListClip):
    """The images of a folder, in natural order of their names (`9.jpg` before `10.jpg`)."""

    def __init__(self, folder: str | Path) -> None:
        """Args: folder: Where the images are. Raises: ClipError: No such folder, or no image."""
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ClipError(f"{self.folder}: is not a folder")
        paths = [
            path
            for path in self.folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        ]
        if not paths:
            known = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
            raise ClipError(f"{self.folder}: holds no image; a clip's frames are {known} files")
        super().__init__(sorted(paths, key=_natural_key))


class VideoClip:
    """A video file, its frames numbered by presentation time.

    The file is indexed once when it is opened, so an index means the same picture whatever was
    read before. Reading in order decodes each frame once; any other order seeks to the key frame
    before. Rotation stored in the file is applied. Several threads may read, and close.

    Attributes:
        fps: Average frames a second, as the file says (0.0 where it does not).
        timestamps: (N,) float64, each frame's presentation time in seconds.
    """

    def __init__(self, path: str | Path) -> None:
        """Args: path: A video file. Raises: ClipError: It is missing, no video, or damaged."""
        self.path = Path(path)
        if not self.path.is_file():
            raise ClipError(f"{self.path}: there is no such file")
        self._container: Any = None
        self._reading = Lock()
        self._frames: Any = None
        self._position = -1
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._cached_bytes = 0
        stream = self._open()
        self.fps = float(stream.average_rate or stream.guessed_rate or 0)
        self._pts, self._seek_points = self._index()
        if not self._pts:
            self._let_go()
            raise ClipError(f"{self.path}: holds no frame that can be decoded; it may be damaged")
        time_base = float(stream.time_base or 1)
        self.timestamps: NDArray[np.float64] = np.asarray(self._pts, dtype=np.float64) * time_base

    def _open(self) -> Any:
        import av

        self._let_go()
        try:
            self._container = av.open(str(self.path))
        except (av.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ClipError(f"{self.path}: is not a video that can be read ({reason})") from None
        if not self._container.streams.video:
            self._let_go()
            raise ClipError(f"{self.path}: holds no video, only sound or data")
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        self._frames = None
        self._position = -1
        return stream

    def _index(self) -> tuple[list[int], list[int]]:
        """Presentation times of all frames and of those one can seek to, from the packets alone."""
        times: list[int] = []
        seek_points: list[int] = []
        for packet in self._packets():
            if packet.size == 0:
                continue
            if packet.pts is None:
                return self._index_by_decoding()
            if packet.is_discard or packet.is_corrupt:
                return self._index_by_decoding()
            times.append(packet.pts)
            if packet.is_keyframe:
                seek_points.append(packet.pts)
        times.sort()
        # Two packets with one time, or pictures before the first that can stand alone, mean that
        # packets are not pictures: only decoding tells.
        if len(set(times)) < len(times) or not seek_points or min(seek_points) > times[0]:
            return self._index_by_decoding()
        return times, sorted(seek_points)

    def _index_by_decoding(self) -> tuple[list[int], list[int]]:
        self._open()
        times: set[int] = set()
        seek_points: set[int] = set()
        for frame in self._decode_on():
            if frame.pts is None:
                raise ClipError(
                    f"{self.path}: its frames bear no times; convert it, for instance to mp4"
                )
            times.add(frame.pts)
            if frame.key_frame:
                seek_points.add(frame.pts)
        return sorted(times), sorted(seek_points)

    def _packets(self) -> Any:
        import av

        try:
            yield from self._container.demux(self._container.streams.video[0])
        except av.FFmpegError as error:
            raise ClipError(f"{self.path}: is damaged ({error.strerror})") from None

    def _decode_on(self) -> Any:
        """Frames from where the container stands to its end; damaged packets are skipped."""
        import av

        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            yield from frames

    def __len__(self) -> int:
        return len(self._pts)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index`, (H, W, 3) uint8.

        Raises:
            IndexError: There is no such frame.
            ClipError: The frame cannot be decoded.
        """
        _check_index(index, len(self), str(self.path))
        with self._reading:
            frame = self._cache.get(index)
            if frame is None:
                frame = self._decode(index)
            # A decoded frame keeps one scaler for itself: two threads that convert the same frame
            # at once take the process down, so this too is done by one at a time.
            return _upright(frame)

    def _decode(self, index: int) -> Any:
        wanted = self._pts[index]
        before = bisect_right(self._seek_points, wanted) - 1
        start = self._seek_points[before] if before >= 0 else self._pts[0]
        current = self._pts[self._position] if self._position >= 0 else None
        in_reach = current is not None and start <= current < wanted
        attempts = [start, None] if not in_reach or self._frames is None else ["on", start, None]
        for attempt in attempts:
            if attempt != "on":
                self._seek(attempt)
            found = self._advance_to(wanted)
            if found is not None:
                return found
        seconds = float(self.timestamps[index])
        raise ClipError(
            f"{self.path}: frame {index} ({seconds:.3f} s) cannot be decoded; the file is damaged"
            " there"
        )

    def _seek(self, start: Any) -> None:
        """Go to the key frame at `start`, or (None) to the beginning of a freshly opened file."""
        import av

        if start is None or self._container is None:
            self._open()
        if start is not None:
            try:
                self._container.seek(start, stream=self._container.streams.video[0])
            except av.FFmpegError:
                self._open()
        self._frames = self._decode_on()
        self._position = -1

    def _advance_to(self, wanted: int) -> Any:
        for frame in self._frames:
            if frame.pts is None:
                continue
            place = bisect_left(self._pts, frame.pts)
            if place == len(self._pts) or self._pts[place] != frame.pts:
                continue
            self._position = place
            self._remember(place, frame)
            if frame.pts == wanted:
                return frame
            if frame.pts > wanted:
                return None
        self._frames = None
        return None

    def _remember(self, index: int, frame: Any) -> None:
        size = frame.width * frame.height * 3
        if index not in self._cache:
            self._cached_bytes += size
        self._cache[index] = frame
        self._cache.move_to_end(index)
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            self._cache.popitem(last=False)
            self._cached_bytes -= size

    def close(self) -> None:
        """Let go of the file; it is opened again when next read."""
        with self._reading:
            self._let_go()

    def _let_go(self) -> None:
        self._frames = None
        if self._container is not None:
            self._container.close()
            self._container = None


def _upright(frame: Any) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    turns = round(float(getattr(frame, "rotation", 0) or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def open_clip(path: str | Path) -> FrameSource:
    """Open a folder of images, one image, or a video file.

    Raises:
        ClipError: Nothing is there, or it is neither.
    """
    path = Path(path)
    if path.is_dir():
        return FolderClip(path)
    if not path.exists():
        raise ClipError(f"{path}: there is no such file or folder")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        read_image(path)
        return ListClip([path])
    return VideoClip(path)
