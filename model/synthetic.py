"""Rendered clips: toys that move over a meadow, with exact masks, flow and occlusion.

Every frame is a function of the clip's seed and its index alone: a frame is drawn when it is asked
for, none is kept, and the same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.scene import DIFFICULTIES, Points, Scene, move
from model.toys import REACH, meadow, wilderness

__all__ = ["DIFFICULTIES", "RenderedClip", "RenderedMasks", "render_clip", "write_clip"]

_EXPOSURES = 4
"""Pictures averaged for motion blur."""

_ROUNDING = 1e-6
"""Pixels by which a place may be off through rounding."""


class RenderedClip:
    """A clip that is drawn as it is read; a `model.clip.FrameSource`. Made by `render_clip`.

    Attributes:
        name: Says difficulty and seed.
        class_names: "background", then a name for each class of toy.
        size: (width, height) of the frames.
        seed: What all of it is drawn from.
    """

    def __init__(self, frames: int, size: tuple[int, int], seed: int, difficulty: str) -> None:
        if frames < 1:
            raise ValueError(f"a clip has at least 1 frame, not {frames}")
        if min(size) < 32:
            raise ValueError(f"a rendered clip is at least 32x32 pixels, not {size[0]}x{size[1]}")
        if seed < 0:
            raise ValueError(f"the seed must be 0 or more, not {seed}")
        if difficulty not in DIFFICULTIES:
            known = ", ".join(DIFFICULTIES)
            raise ValueError(f"there is no difficulty {difficulty!r}; there are {known}")
        self._look = DIFFICULTIES[difficulty]
        self._length = frames
        self.size = size
        self.seed = seed
        self.name = f"rendered-{difficulty}-{seed}"
        self.class_names = ("background", *self._look.toys)
        rng = np.random.default_rng([seed, 0])
        ground = wilderness if self._look.wild else meadow
        self._ground = ground(2 * size[1], 2 * size[0], rng)
        self._scene = Scene(self._look, size, rng)

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index`, (H, W, 3) uint8 RGB; raises `IndexError`."""
        self._check(index)
        look = self._look
        picture = self._exposed(index) if look.shutter else self._drawn(index)
        if look.light:
            picture *= self._light(index)[..., None]
        if look.noise:
            rng = np.random.default_rng([self.seed, 1, index])
            picture += np.float32(look.noise) * rng.standard_normal(picture.shape, np.float32)
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return the (H, W) uint8 class indices of frame `index`; raises `IndexError`."""
        self._check(index)
        labels = np.array([0, *(layer.label for layer in self._scene.layers)], np.uint8)
        return labels[self._owners(index)]

    @property
    def masks(self) -> RenderedMasks:
        """All masks, as a source of them."""
        return RenderedMasks(self)

    def flow(self, index: int, target: int | None = None) -> NDArray[np.float32]:
        """Return where each pixel of frame `index` goes: (H, W, 2) float32, x first.

        What a pixel shows is followed even where something comes to cover it; `visible` tells.

        Args:
            index: The frame whose pixels are followed.
            target: The frame they are followed to; the next where it is not given.

        Raises:
            IndexError: There is no such frame; the last has no next.
        """
        flow, _ = self._follow(index, self._target(index, target))
        return flow.astype(np.float32)

    def visible(self, index: int, target: int | None = None) -> NDArray[np.bool_]:
        """Tell which pixels of frame `index` are to be seen in `target` too: (H, W) bool.

        Arguments and errors are those of `flow`.
        """
        target = self._target(index, target)
        flow, owners = self._follow(index, target)
        last = np.array(self.size) - 1
        ends = self._pixels + flow
        seen = ((ends > -_ROUNDING) & (ends < last + _ROUNDING)).all(axis=-1)
        return np.asarray(seen & (self._owners_at(target, ends) == owners))

    @cached_property
    def _pixels(self) -> Points:
        width, height = self.size
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        return np.stack([x, y], axis=-1)

    def _exposed(self, index: int) -> NDArray[np.float32]:
        """The picture with motion blur: the mean of some moments around `index`."""
        moments = (np.arange(_EXPOSURES) / (_EXPOSURES - 1) - 0.5) * self._look.shutter
        picture = self._drawn(index + float(moments[0]))
        for moment in moments[1:]:
            picture += self._drawn(index + float(moment))
        picture *= np.float32(1 / _EXPOSURES)
        return picture

    def _drawn(self, t: float) -> NDArray[np.float32]:
        """The picture at time t, without light and noise: (H, W, 3) float32."""
        picture = np.asarray(
            cv2.warpAffine(
                self._ground,
                np.linalg.inv(self._scene.ground_matrix(t))[:2],
                self.size,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            ),
            np.float32,
        )
        for layer in self._scene.layers:
            box = self._scene.reach(layer, t)
            if box is None:
                continue
            local = self._scene.to_local(layer, t, self._pixels[box])
            painted = _lookup(layer.toy.texture, local)
            unit = self._scene.pixels_per_unit(layer, t)
            alpha = np.clip(0.5 - painted[..., 3:] * unit, 0, 1)
            picture[box] += alpha * (painted[..., :3] - picture[box])
        return picture

    def _owners(self, t: float) -> NDArray[np.intp]:
        """Which layer each pixel shows: (H, W), 0 the ground, i + 1 layer i."""
        width, height = self.size
        owners = np.zeros((height, width), np.intp)
        for number, layer in enumerate(self._scene.layers, start=1):
            box = self._scene.reach(layer, t)
            if box is not None:
                local = self._scene.to_local(layer, t, self._pixels[box])
                owners[box][_lookup(layer.toy.distance, local) < 0] = number
        return owners

    def _owners_at(self, t: float, points: Points) -> NDArray[np.intp]:
        """As `_owners`, at any points of the frame's plane, which need not be pixels."""
        owners = np.zeros(points.shape[:2], np.intp)
        for number, layer in enumerate(self._scene.layers, start=1):
            local = self._scene.to_local(layer, t, points)
            owners[_lookup(layer.toy.distance, local) < 0] = number
        return owners

    def _follow(self, index: int, target: int) -> tuple[Points, NDArray[np.intp]]:
        """Flow from `index` to `target`, and what each pixel of `index` shows."""
        owners = self._owners(index)
        scene, pixels = self._scene, self._pixels
        back = np.linalg.inv(scene.ground_matrix(index))
        ends = move(scene.ground_matrix(target) @ back, pixels)
        for number, layer in enumerate(scene.layers, start=1):
            mine = owners == number
            if mine.any():
                local = scene.to_local(layer, index, pixels[mine])
                ends[mine] = scene.to_frame(layer, target, local)
        return ends - pixels, owners

    def _light(self, index: int) -> NDArray[np.float32]:
        """Brightness of each pixel: a pulse over time, and a lamp that wanders."""
        width, height = self.size
        x, y = self._pixels[..., 0], self._pixels[..., 1]
        turn = 2 * np.pi * (index / 47 + self.seed % 7 / 7)
        lamp_x = width * (0.5 + 0.4 * np.cos(turn))
        lamp_y = height * (0.5 + 0.4 * np.sin(0.7 * turn))
        far = ((x - lamp_x) ** 2 + (y - lamp_y) ** 2) / width**2
        pulse = 0.5 + 0.5 * np.sin(turn)
        return np.asarray(1 - self._look.light * (pulse - np.exp(-4 * far)), np.float32)

    def _target(self, index: int, target: int | None) -> int:
        target = index + 1 if target is None else target
        self._check(index)
        self._check(target)
        return target

    def _check(self, index: int) -> None:
        if not 0 <= index < self._length:
            last = self._length - 1
            raise IndexError(f"{self.name}: there is no frame {index}; frames are 0 to {last}")


def _lookup(grid: NDArray[np.float32], local: Points) -> NDArray[np.float32]:
    """Sample a grid that covers −REACH to REACH; beyond it, a place far outside the outline."""
    places = ((local + REACH) * ((grid.shape[0] - 1) / (2 * REACH))).astype(np.float32)
    return np.asarray(
        cv2.remap(
            grid,
            places[..., 0],
            places[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(REACH,) * 4,
        ),
        np.float32,
    )


class RenderedMasks:
    """The masks of a rendered clip, drawn as they are read; a `model.benchmark.MaskSource`."""

    def __init__(self, clip: RenderedClip) -> None:
        self._clip = clip

    def __len__(self) -> int:
        return len(self._clip)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return the (H, W) uint8 mask of frame `index`; raises `IndexError`."""
        return self._clip.mask(index)


def render_clip(
    frames: int, size: tuple[int, int] = (320, 240), seed: int = 0, difficulty: str = "easy"
) -> RenderedClip:
    """Make a clip of several textured toys of at least four classes.

    They move, turn, grow, shrink and pass in front of each other over a moving, textured ground.

    Args:
        frames: How many.
        size: (width, height).
        seed: 0 or more; the same arguments give the same bytes.
        difficulty: A name in `DIFFICULTIES`.

    Raises:
        ValueError: An argument is not as above.
    """
    return RenderedClip(frames, size, seed, difficulty)


def write_clip(
    clip: RenderedClip,
    folder: str | Path,
    flow: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a clip in the benchmark layout (see `model.benchmark`), losslessly.

    Args:
        clip: What to write.
        folder: Created; must be empty where it exists.
        flow: Also write `flow/NNNNN.npy`, (H, W, 2) float32, the flow to the next frame.
        progress: Called with (frames done, frames in all).

    Raises:
        ValueError: The folder holds something already.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: is there already; name an empty or a new folder")
    for part in ("frames", "masks", *(["flow"] if flow else [])):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(clip.class_names) + "\n", encoding="utf-8")
    for index in range(len(clip)):
        frame = cv2.cvtColor(clip.read(index), cv2.COLOR_RGB2BGR)
        _write(folder / "frames" / f"{index:05d}.png", np.asarray(frame))
        _write(folder / "masks" / f"{index:05d}.png", clip.mask(index))
        if flow and index + 1 < len(clip):
            np.save(folder / "flow" / f"{index:05d}.npy", clip.flow(index))
        if progress is not None:
            progress(index + 1, len(clip))


def _write(path: Path, image: NDArray[np.generic]) -> None:
    done, data = cv2.imencode(".png", np.asarray(image))
    if not done:
        raise ValueError(f"{path}: cannot be encoded as PNG")
    path.write_bytes(data.tobytes())
