"""Frames of a video or a folder as image files that a browser can show."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from model.clip import ClipError, FolderClip, ListClip, VideoClip, open_clip

__all__ = ["IMAGE_FORMATS", "SourceFrames", "choose_frames"]

IMAGE_FORMATS = ("jpg", "png")

_JPEG_QUALITY = 95
_ORIENTATION = 0x0112
# What every browser shows; other images are converted.
_SHOWN = frozenset({".jpg", ".jpeg", ".png", ".webp"})


class SourceFrames:
    """The frames that are to be labelled, in order, from a video file or a folder of images.

    Images of a folder are taken as they are where a browser can show them; everything else is
    written as JPEG of quality 95, or PNG.

    Args:
        source: A video file, a folder of images, or one image.
        fps: Frames a second to take from a video; None for every frame.
        image_format: "jpg" or "png", for frames that have to be written.

    Raises:
        ClipError: When the source can't be read, or a rate is asked of images.
        ValueError: When the rate or the format is not one that can be had.
    """

    def __init__(self, source: Path, *, fps: float | None = None, image_format: str = "jpg"):
        if image_format not in IMAGE_FORMATS:
            raise ValueError(f"the image format is {image_format!r}; there are jpg and png")
        self._clip = open_clip(source)
        self._suffix = f".{image_format}"
        self.times: npt.NDArray[np.float64] | None = None
        if isinstance(self._clip, VideoClip):
            chosen = choose_frames(self._clip.timestamps, fps)
            self.times = self._clip.timestamps[chosen]
            self._chosen = [int(index) for index in chosen]
        elif fps is not None:
            raise ClipError(
                f"{source}: images have no frame rate, so none can be chosen; leave --fps out"
            )
        else:
            self._chosen = list(range(len(self._clip)))

    def __len__(self) -> int:
        return len(self._chosen)

    def check(self) -> None:
        """Look at all images of a folder, at no more than their heads.

        Raises:
            ClipError: When one can't be read, or they are not of one size; with its name.
        """
        if not isinstance(self._clip, ListClip):
            return
        first: tuple[Path, tuple[int, int]] | None = None
        for path in self._clip.paths:
            size = _size_of(path)
            first = first or (path, size)
            if size != first[1]:
                raise ClipError(
                    f"{path} is {size[0]}x{size[1]} pixels, and {first[0].name} "
                    f"{first[1][0]}x{first[1][1]}; the frames of a clip have one size: put those "
                    "of another size into a folder of their own, which is another clip"
                )

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` of the first frame."""
        height, width = self._clip.read(self._chosen[0]).shape[:2]
        return height, width

    @property
    def folder(self) -> Path | None:
        """The folder whose images can all be used as they are, where there is one."""
        if isinstance(self._clip, FolderClip) and all(map(_is_shown, self._clip.paths)):
            return self._clip.folder.resolve()
        return None

    def path(self, position: int) -> Path | None:
        """The image file of a frame that can be used as it is; None when it has to be written."""
        if isinstance(self._clip, ListClip) and _is_shown(self._clip.paths[position]):
            return self._clip.paths[position]
        return None

    def write(self, position: int, folder: Path) -> Path:
        """Write a frame as an image file named after its position (``00012.jpg``).

        Returns:
            The file, which is complete: it is written beside and renamed into place.

        Raises:
            ClipError: When the frame can't be read.
            OSError: When the file can't be written.
        """
        original = self.path(position)
        suffix = original.suffix.lower() if original is not None else self._suffix
        target = folder / f"{position:05d}{suffix}"
        partial = target.with_name(f".{target.name}.part")
        if original is not None:
            shutil.copyfile(original, partial)
        else:
            partial.write_bytes(_encode(self._clip.read(self._chosen[position]), suffix))
        return partial.replace(target)


def choose_frames(timestamps: npt.NDArray[np.float64], fps: float | None) -> npt.NDArray[np.int64]:
    """Choose the frames nearest to a regular beat.

    Args:
        timestamps: (N,) float64, rising, in seconds.
        fps: Beats a second; None for every frame. A rate above the video's gives every frame
            once.

    Returns:
        (M,) int64, rising, without repetition; the first frame is always there.

    Raises:
        ValueError: When the rate is not a positive number.

    Example:
        >>> choose_frames(np.arange(8) / 8, 2.0)
        array([0, 4])
    """
    if fps is None:
        return np.arange(len(timestamps), dtype=np.int64)
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"the rate is {fps} frames a second; expected a number above 0")
    span = float(timestamps[-1] - timestamps[0])
    # Past the video's own rate there is nothing more to choose.
    beats = min(int(np.floor(span * fps + 1e-6)) + 1, 64 * len(timestamps))
    wanted = timestamps[0] + np.arange(beats) / fps
    after = np.clip(np.searchsorted(timestamps, wanted), 1, max(len(timestamps) - 1, 1))
    after = np.minimum(after, len(timestamps) - 1)
    before = np.maximum(after - 1, 0)
    nearer = wanted - timestamps[before] <= timestamps[after] - wanted
    return np.asarray(np.unique(np.where(nearer, before, after)), dtype=np.int64)


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image as it is shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                width, height = image.size
                turned = image.getexif().get(_ORIENTATION, 1) >= 5
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        state = "the file is empty" if path.stat().st_size == 0 else "it may be damaged"
        raise ClipError(
            f"{path}: is not an image that can be read ({state}); put a sound one in its place, or "
            "take it out of the folder"
        ) from None
    return (height, width) if turned else (width, height)


def _is_shown(path: Path) -> bool:
    return path.suffix.lower() in _SHOWN


def _encode(image: npt.NDArray[np.uint8], suffix: str) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ClipError(
            f"a frame of {image.shape[1]}x{image.shape[0]} can't be written as {suffix}"
        )
    return data.tobytes()
