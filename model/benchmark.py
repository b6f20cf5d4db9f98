"""Labelled clips on disk: the layout that measuring reads.

<clip>/frames/NNNNN.jpg    the frames, any image format, in natural order
<clip>/masks/NNNNN.png     a mask for each frame, of the same name: 8-bit class index,
                           255 = void, never counted
<clip>/classes.txt         a class name a line, index 0 first
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model.clip import ClipError, FolderClip, FrameSource

__all__ = ["LabelledClip", "MaskFiles", "MaskSource", "find_clips", "open_labelled", "read_mask"]

VOID = 255


class MaskSource(Protocol):
    """The true masks of a clip by frame index."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return the (H, W) uint8 class indices of frame `index`, 255 = void."""
        ...


class MaskFiles:
    """Mask files, read one at a time."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return mask `index`, (H, W) uint8; raises `IndexError` or `ClipError`."""
        if not 0 <= index < len(self.paths):
            raise IndexError(f"there is no mask {index}; masks are 0 to {len(self.paths) - 1}")
        return read_mask(self.paths[index])


@dataclass(frozen=True)
class LabelledClip:
    """A clip whose truth is known.

    Attributes:
        source: Its frames.
        masks: The true mask of each.
        class_names: By class index.
        name: The folder's last two parts, such as "davis/camel".
    """

    source: FrameSource
    masks: MaskSource
    class_names: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.source)


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """Read a mask file, grey or with a palette, as class indices.

    Returns:
        (H, W) uint8.

    Raises:
        ClipError: The file is missing, unreadable, or no image of 8-bit indices.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise ClipError(
                    f"{path}: a mask holds 8-bit class indices, grey or with a palette; this is"
                    f" a {image.mode} image"
                )
            return np.array(image, dtype=np.uint8)
    except FileNotFoundError:
        raise ClipError(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        raise ClipError(f"{path}: is not an image that can be read; it may be damaged") from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, ClipError):
            raise
        raise ClipError(f"{path}: cannot be read ({error})") from None


def find_clips(folder: str | Path) -> list[Path]:
    """Return the clip that `folder` is, or the clips it holds, by name.

    Raises:
        ClipError: It is neither a clip nor a folder of clips.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ClipError(f"{folder}: there is no such folder")
    if any((folder / part).exists() for part in ("frames", "masks", "classes.txt")):
        return [folder]
    clips = sorted(path for path in folder.iterdir() if (path / "frames").is_dir())
    if not clips:
        raise ClipError(
            f"{folder}: is no labelled clip; it needs frames/, masks/ and classes.txt in it"
        )
    return clips


def open_labelled(
    folder: str | Path,
    check: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledClip:
    """Open a labelled clip.

    Args:
        folder: Laid out as above.
        check: Also read every file once, so that a damaged one is found before the work is done.
        progress: Called with (frames checked, frames in all).

    Raises:
        ClipError: A file or folder is missing, cannot be read, is of another size than the first
            frame, or names a class that classes.txt lacks.
    """
    folder = Path(folder)
    class_names = _read_classes(folder / "classes.txt")
    if not (folder / "frames").is_dir():
        raise ClipError(f"{folder / 'frames'}: there is no such folder; the clip's frames go there")
    source = FolderClip(folder / "frames")
    masks = MaskFiles([_mask_of(folder, path) for path in source.paths])
    extra = sorted({path.name for path in (folder / "masks").glob("*.png")} - _names(masks))
    if extra:
        raise ClipError(f"{folder / 'masks' / extra[0]}: there is no frame of this name")
    if check:
        _check(source, masks, len(class_names), progress)
    resolved = folder.resolve()
    name = f"{resolved.parent.name}/{resolved.name}".lstrip("/")
    return LabelledClip(source, masks, class_names, name)


def _read_classes(path: Path) -> tuple[str, ...]:
    if not path.parent.is_dir():
        raise ClipError(f"{path.parent}: there is no such folder")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise ClipError(
            f"{path}: there is no such file; write a class name a line, index 0 first"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ClipError(f"{path}: cannot be read as text ({error})") from None
    names = tuple(line.strip() for line in lines)
    while names and not names[-1]:
        names = names[:-1]
    if len(names) < 1:
        raise ClipError(f"{path}: names no class; write a class name a line, index 0 first")
    if "" in names:
        raise ClipError(f"{path}: line {names.index('') + 1} is empty; each line names a class")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ClipError(f"{path}: names {twice!r} twice; class names must differ")
    if len(names) > VOID - 1:
        raise ClipError(f"{path}: names {len(names)} classes; there can be {VOID - 1} at most")
    return names


def _mask_of(folder: Path, frame: Path) -> Path:
    mask = folder / "masks" / f"{frame.stem}.png"
    if not mask.is_file():
        raise ClipError(f"{mask}: there is no mask for frame {frame.name}")
    return mask


def _names(masks: MaskFiles) -> set[str]:
    return {path.name for path in masks.paths}


def _check(
    source: FolderClip,
    masks: MaskFiles,
    num_classes: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    size: tuple[int, ...] = ()
    for index, (frame_path, mask_path) in enumerate(zip(source.paths, masks.paths, strict=True)):
        shape = _decoded_shape(frame_path)
        mask = masks.read(index)
        size = size or shape
        for path, found in ((frame_path, shape), (mask_path, mask.shape)):
            if found != size:
                raise ClipError(
                    f"{path}: is {found[1]}x{found[0]}, but the clip's first frame is"
                    f" {size[1]}x{size[0]}; frames and masks are all of one size"
                )
        counts = np.bincount(mask.ravel(), minlength=256)
        wrong = np.flatnonzero(counts[num_classes:VOID]) + num_classes
        if wrong.size:
            raise ClipError(
                f"{mask_path}: holds class index {wrong[0]}, but classes.txt names {num_classes}"
                f" classes, 0 to {num_classes - 1}"
            )
        if progress is not None:
            progress(index + 1, len(source))


def _decoded_shape(path: Path) -> tuple[int, int]:
    """Decode a frame whole, strictly (OpenCV fills up what a cut-off file lacks), for its size."""
    try:
        with Image.open(path) as image:
            image.load()
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) >= 5
    except UnidentifiedImageError:
        raise ClipError(f"{path}: is not an image that can be read; it may be damaged") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ClipError(f"{path}: cannot be read ({error})") from None
    return (width, height) if turned else (height, width)
