"""How well the points of a frame are found again in the frames around it, by following the flow.

From this `selection.reach` tells how far a label on a frame reaches. On frames made small, a grid
of points is followed along the chained flow, from each frame both ways, and compared in colour:
exp(−D / 2σ²), D the squared Lab difference (½, 1, 1). Nothing is learnt and no label is needed.

What was tried (9 real clips, 3 to 12 key frames chosen by the exact program, propagation by flow;
gain in mIoU over even spacing, of 0.009 that knowing the truth would give): this 0.0040; with the
forward-backward check instead of colour 0.000, multiplied with it 0.001; points that leave the
frame counted as lost 0.001 to 0.002 (most of what leaves is background); σ of 6 0.003.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.clip import FrameSource
from model.flow import FlowEstimator
from model.warp import sample

__all__ = ["ReachSettings", "matches"]

_BLOCK = 32
"""Frames whose points are followed together."""
_LAB_WEIGHTS = np.array([0.5 * (100 / 255) ** 2, 1.0, 1.0], dtype=np.float32)
"""(½, 1, 1) for Lab in bytes, whose L is 0 to 255 for 0 to 100."""


@dataclass(frozen=True)
class ReachSettings:
    """How points are followed.

    Attributes:
        side: The longer side, in pixels, that frames are made small to.
        points: Points along the longer side; the grid is as square as the frame allows.
        sigma: σ, in units of CIE Lab, at which what is found counts as exp(−½).
        span: The most frames that points are followed, each way.
    """

    side: int = 240
    points: int = 24
    sigma: float = 12.0
    span: int = 96

    def __post_init__(self) -> None:
        for name in ("side", "points", "sigma", "span"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0; got {getattr(self, name)}")


def matches(
    source: FrameSource,
    flow: FlowEstimator,
    settings: ReachSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Follow the points of every frame, in order.

    Frames are read once, and memory is bounded by the span, not by the clip's length.

    Args:
        source: The clip, of N frames.
        flow: The flow estimator, asked twice for each pair of neighbours.
        settings: How points are followed.
        progress: Called with (frames done, N).

    Yields:
        For each frame t, (2S + 1, P) uint8, S the smaller of the span and N − 1 (but at least 1):
        row S + j tells how well t's P points are found in frame t + j, 0 to 255; 0 outside the
        clip, 255 in row S.

    Raises:
        ClipError: A frame cannot be read.
    """
    settings = settings or ReachSettings()
    frames = len(source)
    span = max(1, min(settings.span, frames - 1))
    window = _Window(source, flow, settings)
    for first in range(0, frames, _BLOCK):
        last = min(first + _BLOCK, frames)
        window.move(max(0, first - span), min(frames, last + span))
        for row in _follow(window, first, last, span, settings):
            yield row
            first += 1
            if progress is not None:
                progress(first, frames)


class _Window:
    """Small Lab frames `start` to `stop` - 1 of a clip, and the flows between them."""

    def __init__(self, source: FrameSource, flow: FlowEstimator, settings: ReachSettings) -> None:
        self.source, self.estimator, self.side = source, flow, settings.side
        self.start = self.stop = 0
        self.images: list[NDArray[np.uint8]] = []
        self.colours: list[NDArray[np.uint8]] = []
        self.onward: list[NDArray[np.float32]] = []
        self.back: list[NDArray[np.float32]] = []

    def move(self, start: int, stop: int) -> None:
        """Drop the frames before `start` and read those up to `stop`."""
        for index in range(self.stop, stop):
            self._read(index)
        drop = start - self.start
        if drop > 0:
            for kept in (self.images, self.colours, self.onward, self.back):
                del kept[:drop]
        self.start, self.stop = start, max(stop, self.stop)

    def _read(self, index: int) -> None:
        image = _small(self.source.read(index), self.side, self.images)
        if self.images:
            self.onward.append(self.estimator.flow(self.images[-1], image))
            self.back.append(self.estimator.flow(image, self.images[-1]))
        self.images.append(image)
        self.colours.append(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), dtype=np.uint8))


def _small(
    image: NDArray[np.uint8], side: int, before: list[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if before:  # a clip has one size
        size = (before[-1].shape[1], before[-1].shape[0])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _follow(
    window: _Window, first: int, last: int, span: int, settings: ReachSettings
) -> NDArray[np.uint8]:
    """Follow the points of frames `first` to `last` - 1 both ways: (frames, 2S + 1, P) uint8."""
    height, width = window.colours[0].shape[:2]
    grid = _grid(height, width, settings.points)
    out = np.zeros((last - first, 2 * span + 1, len(grid)), dtype=np.uint8)
    out[:, span] = 255
    here = np.arange(first, last)
    colours = window.colours
    own = _at(colours, here - window.start, np.broadcast_to(grid, (len(here), *grid.shape)))
    for direction, flows in ((-1, window.back), (1, window.onward)):
        points = np.broadcast_to(grid, (len(here), *grid.shape)).copy()
        for step in range(1, span + 1):
            target = here + direction * step
            alive = np.flatnonzero((target >= 0) & (target < len(window.source)))
            if not len(alive):
                break
            link = target[alive] - window.start - (1 if direction > 0 else 0)
            points[alive] += _at(flows, link, points[alive])
            seen = _at(colours, target[alive] - window.start, points[alive])
            distance = ((seen - own[alive]) ** 2) @ _LAB_WEIGHTS
            found = np.exp(-distance / np.float32(2 * settings.sigma**2))
            out[alive, span + direction * step] = np.round(255 * found)
    return out


def _grid(height: int, width: int, points: int) -> NDArray[np.float32]:
    """(P, 2) positions, x first, at the middles of equal cells."""
    step = max(height, width) / points
    across, down = max(1, round(width / step)), max(1, round(height / step))
    x = (np.arange(across) + 0.5) * width / across - 0.5
    y = (np.arange(down) + 0.5) * height / down - 0.5
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


def _at(
    maps: Sequence[NDArray[Any]], index: NDArray[np.intp], points: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Look up (M, P, 2) points in the maps `index` (M,), bilinear; the border goes on outside."""
    found = [sample(maps[i], points[n : n + 1]) for n, i in enumerate(index.tolist())]
    return np.asarray(np.concatenate(found), dtype=np.float32)
