"""Cutting a frame into samples: the whole frame, rectangles of n × n pixels, or super-pixels.

A *partition* is (H, W) int32 of sample numbers 0 to R − 1; each pixel is in exactly one sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import slic

__all__ = ["SUPERPIXELS", "Granularity", "parse_granularity", "partition"]

_DEFAULT_SIZE = {"frame": 0, "rectangle": 16, "superpixel": 16}

Superpixels = Callable[[NDArray[np.uint8], int], NDArray[np.integer]]
"""(frame (H, W, 3) uint8, side of a square as large as a super-pixel) → (H, W) labels."""


@dataclass(frozen=True)
class Granularity:
    """What a sample is.

    Attributes:
        kind: "frame", "rectangle" or "superpixel".
        size: Side in pixels of a rectangle, or of a square as large as a super-pixel; 0 for
            frames.
        method: Which super-pixels: a name of `SUPERPIXELS`, or of an installed package's.
    """

    kind: str = "frame"
    size: int = 0
    method: str = "slic"

    def __str__(self) -> str:
        method = "" if self.method == "slic" else f":{self.method}"
        return self.kind if self.kind == "frame" else f"{self.kind}:{self.size}{method}"


def parse_granularity(text: str) -> Granularity:
    """Read `frame`, `rectangle:16`, `superpixel`, `superpixel:24` or `superpixel:24:slic`.

    Raises:
        ValueError: It is none of these; says what is expected.

    Example:
        >>> parse_granularity("rectangle:16")
        Granularity(kind='rectangle', size=16, method='slic')
    """
    kind, *rest = text.strip().split(":")
    most = {"frame": 0, "rectangle": 1, "superpixel": 2}.get(kind, -1)
    size = rest[0] if rest else str(_DEFAULT_SIZE.get(kind, 0))
    if len(rest) > most or not size.isdecimal() or (kind != "frame" and int(size) < 2):
        raise ValueError(
            f"samples {text!r}: expected frame, rectangle:16 or superpixel:16 (a side in pixels, "
            "2 or more)"
        )
    return Granularity(kind, int(size), rest[1] if len(rest) == 2 else "slic")


def partition(granularity: Granularity, image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Cut a frame into samples.

    Args:
        granularity: What a sample is.
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) int32, 0 to R − 1, every number used. Rectangles begin at the upper left corner;
        those at the right and lower border are as narrow as the frame leaves them.

    Raises:
        ValueError: Not a frame, or no such super-pixels.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"a frame is (H, W, 3) uint8; got {image.shape} {image.dtype}")
    height, width = image.shape[:2]
    if granularity.kind == "frame":
        return np.zeros((height, width), dtype=np.int32)
    if granularity.kind == "rectangle":
        across = -(-width // granularity.size)
        rows = np.arange(height, dtype=np.int32)[:, None] // granularity.size
        return np.asarray(rows * across + np.arange(width) // granularity.size, dtype=np.int32)
    labels = np.asarray(_superpixels(granularity.method)(image, granularity.size))
    if labels.shape != (height, width):
        raise ValueError(
            f"super-pixels {granularity.method!r} gave {labels.shape} for a frame of"
            f" {(height, width)}"
        )
    _, numbers = np.unique(labels, return_inverse=True)
    return numbers.reshape(height, width).astype(np.int32)


def _slic(image: NDArray[np.uint8], size: int) -> NDArray[np.integer]:
    """SLIC (Achanta et al., PAMI 2012) of scikit-image, in Lab."""
    height, width = image.shape[:2]
    count = max(1, round(height * width / size**2))
    labels: NDArray[np.integer] = slic(
        image, n_segments=count, compactness=10.0, start_label=0, channel_axis=-1
    )
    return labels


SUPERPIXELS: dict[str, Superpixels] = {"slic": _slic}
"""Makers of super-pixels by name. Packages offer theirs (a learnt one, say) by an entry point of
the group `maskloop.superpixels` that names such a function."""


def _plugins() -> Iterator[Any]:
    yield from entry_points(group="maskloop.superpixels")


def _superpixels(name: str) -> Superpixels:
    if name in SUPERPIXELS:
        return SUPERPIXELS[name]
    plugins = {point.name: point for point in _plugins()}
    if name in plugins:
        found: Superpixels = plugins[name].load()
        return found
    known = ", ".join(sorted({*SUPERPIXELS, *plugins}))
    raise ValueError(f"there are no super-pixels named {name!r}; there are {known}")
