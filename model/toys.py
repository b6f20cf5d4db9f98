"""The toys of a rendered clip: their outlines and the textures they are painted with.

A toy lives in local coordinates: its outline fits the square from −1 to 1, y down. Outlines are
kept as signed distance (negative inside) on a grid, textures as images; both cover −`REACH` to
`REACH`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["EXTENT", "REACH", "TOYS", "Toy", "make_toy", "meadow", "noise", "wilderness"]

REACH = 1.25
"""Half the side of the square that outlines and textures cover, in local units."""

EXTENT = 1.2
"""No outline reaches farther than this from its origin."""

_GRID = 385
"""Samples a side of the signed distance; odd, so that 0 is on one."""

Rng = np.random.Generator
Outline = Callable[[Rng], NDArray[np.bool_]]
Paint = Callable[[NDArray[np.float32], NDArray[np.float32], Rng], NDArray[np.float32]]


@dataclass(frozen=True)
class Toy:
    """A toy ready to be drawn.

    Attributes:
        name: Its class.
        texture: (S, S, 4) float32: RGB, 0 to 255, and the signed distance to the outline.
        distance: (S, S) float32, that distance alone, in local units.
    """

    name: str
    texture: NDArray[np.float32]
    distance: NDArray[np.float32]


def make_toy(name: str, radius: float, rng: Rng) -> Toy:
    """Make a toy whose local unit is `radius` pixels of the frame.

    Raises:
        KeyError: `TOYS` has no such name.
    """
    outline, paint = TOYS[name]
    side = int(np.clip(round(2 * REACH * radius), 32, 1024))
    x, y = _local_grid(side)
    grain = 1.0 + 0.35 * (noise(side, side, (6, 14, 30), rng)[..., None] - 0.5)
    colour = np.clip(paint(x, y, rng) * grain, 0, 255).astype(np.float32)
    distance = np.asarray(cv2.resize(_signed_distance(outline(rng)), (side, side)), np.float32)
    return Toy(name, np.dstack([colour, distance]), distance)


def noise(height: int, width: int, cells: tuple[int, ...], rng: Rng) -> NDArray[np.float32]:
    """Smooth noise, (height, width) float32 in 0 to 1: octaves of `cells` cells a side."""
    total = np.zeros((height, width), np.float32)
    for octave, count in enumerate(cells):
        coarse = rng.random((count + 1, count + 1), dtype=np.float32)
        fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        total += np.float32(0.65**octave) * np.asarray(fine, np.float32)
    low, high = float(total.min()), float(total.max())
    return (total - low) / np.float32(max(high - low, 1e-6))


def meadow(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    """The ground that the toys move over: (height, width, 3) float32 RGB, 0 to 255."""
    longest = max(height, width)
    patches = noise(height, width, (5, 11), rng)[..., None]
    blades = noise(height, width, (longest // 16 + 2, longest // 6 + 2), rng)[..., None]
    dark, light = _colour(58, 98, 62), _colour(134, 158, 92)
    ground = (dark + patches * (light - dark)) * (0.72 + 0.56 * blades)
    petals = [_colour(232, 232, 222), _colour(206, 190, 118), _colour(168, 140, 186)]
    for _ in range(height * width // 1500):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = petals[int(rng.integers(len(petals)))]
        size = int(rng.integers(1, max(2, longest // 220) + 1))
        cv2.circle(ground, centre, size, colour.tolist(), -1, cv2.LINE_AA)
    return np.clip(ground, 0, 255).astype(np.float32)


def wilderness(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    """Ground whose patches have the colours of no thing in particular; see `meadow`."""
    return _patches(height, width, rng)


def _patches(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    """Random colours blended by noise of random coarseness, more or less grainy."""
    colours = rng.uniform(20, 235, (3, 3)).astype(np.float32)
    colours += rng.uniform(0, 1) * (colours.mean(axis=1, keepdims=True) - colours)
    cells = int(rng.integers(2, 9))
    first, second = (noise(height, width, (cells, 3 * cells, 9 * cells), rng) for _ in range(2))
    sharp = np.float32(rng.choice([1.5, 4.0, 20.0]))
    parts = [1 / (1 + np.exp(sharp * (0.5 - part[..., None]) * 4)) for part in (first, second)]
    out = colours[0] + parts[0] * (colours[1] - colours[0])
    out = out + parts[1] * (colours[2] - out)
    longest = max(height, width)
    grain = noise(height, width, (longest // 8 + 2, longest // 3 + 2), rng)[..., None] - 0.5
    out = np.clip(out * (1 + np.float32(rng.uniform(0, 0.6)) * grain), 0, 255)
    return np.asarray(out, np.float32)


def _colour(red: int, green: int, blue: int) -> NDArray[np.float32]:
    return np.array([red, green, blue], np.float32)


def _local_grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    axis = np.linspace(-REACH, REACH, side, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y


def _signed_distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    step = 2 * REACH / (_GRID - 1)
    within = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    beyond = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    signed = np.where(inside, 0.5 - within, beyond - 0.5) * step
    return np.ascontiguousarray(cv2.GaussianBlur(signed.astype(np.float32), (0, 0), 1.0))


def _polygons(*outlines: list[tuple[float, float]]) -> NDArray[np.bool_]:
    canvas = np.zeros((_GRID, _GRID), np.uint8)
    for outline in outlines:
        grid = (np.array(outline) + REACH) * (_GRID - 1) / (2 * REACH)
        cv2.fillPoly(canvas, [np.round(grid).astype(np.int32)], 1)
    return canvas.astype(bool)


def _polar(side: int = _GRID) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x, y = _local_grid(side)
    return np.hypot(x, y), np.arctan2(y, x)


def _ball(rng: Rng) -> NDArray[np.bool_]:
    return _polar()[0] <= 0.92


def _box(rng: Rng) -> NDArray[np.bool_]:
    return _polygons([(-0.95, -0.72), (0.95, -0.72), (0.95, 0.72), (-0.95, 0.72)])


def _star(rng: Rng) -> NDArray[np.bool_]:
    turns = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2 == 0, 1.05, 0.5)
    tips = np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1)
    return _polygons([(float(x), float(y)) for x, y in tips])


def _fish(rng: Rng) -> NDArray[np.bool_]:
    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    body = [(float(0.2 + 0.78 * np.cos(a)), float(0.5 * np.sin(a))) for a in turns]
    tail = [(-0.3, 0.0), (-1.05, -0.55), (-0.88, 0.0), (-1.05, 0.55)]
    fin = [(-0.1, -0.4), (0.1, -0.85), (0.5, -0.4)]
    return _polygons(body, tail, fin)


def _ring(rng: Rng) -> NDArray[np.bool_]:
    radius = _polar()[0]
    return (radius <= 0.95) & (radius >= 0.48)


def _wheel(rng: Rng) -> NDArray[np.bool_]:
    radius, turn = _polar()
    rim = (radius <= 1.0) & (radius >= 0.9)
    across = radius * np.abs(np.sin(((turn + np.pi / 6) % (np.pi / 3)) - np.pi / 6))
    return np.asarray(rim | ((radius <= 0.95) & (across <= 0.04)) | (radius <= 0.14))


def _pole(rng: Rng) -> NDArray[np.bool_]:
    half = float(rng.uniform(0.04, 0.1))
    plate = float(rng.uniform(0.1, 0.35))
    top = [(-plate, -1.1), (plate, -1.1), (plate, -0.8), (-plate, -0.8)]
    return _polygons([(-half, -1.1), (half, -1.1), (half, 1.1), (-half, 1.1)], top)


def _blob(rng: Rng) -> NDArray[np.bool_]:
    """A bumpy outline, r(φ) = a sum of waves of random height."""
    radius, turn = _polar()
    reach = np.full_like(turn, 0.75)
    for waves in range(2, 12):
        height = rng.uniform(0, 0.35) / waves
        reach += np.float32(height) * np.sin(waves * turn + np.float32(rng.uniform(0, 6.3)))
    return np.asarray(radius <= np.clip(reach, 0.3, 1.1))


def _figure(rng: Rng) -> NDArray[np.bool_]:
    """A body on legs that stand apart."""
    outlines = [[(-0.3, -0.7), (0.3, -0.7), (0.25, 0.2), (-0.25, 0.2)]]
    for side in (-1, 1):
        foot = side * float(rng.uniform(0.1, 0.6))
        outlines.append(
            [(side * 0.05, 0.1), (side * 0.25, 0.1), (foot + 0.08, 1.05), (foot - 0.08, 1.05)]
        )
        hand = side * float(rng.uniform(0.4, 0.9))
        outlines.append([(side * 0.2, -0.65), (side * 0.3, -0.5), (hand, 0.15), (hand, 0.0)])
    radius = np.hypot(
        *(
            axis - np.float32(shift)
            for axis, shift in zip(_local_grid(_GRID), (0.0, -0.88), strict=True)
        )
    )
    return np.asarray(_polygons(*outlines) | (radius <= 0.2))


def _paint_any(x: NDArray[np.float32], y: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    return _patches(x.shape[0], x.shape[1], rng)


def _paint_ball(x: NDArray[np.float32], y: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    white = (244, 240, 232)
    palette = np.array(
        [(226, 72, 66), white, (58, 118, 206), white, (240, 196, 60), white], np.float32
    )
    sector = np.floor((np.arctan2(y, x) / (2 * np.pi) % 1.0) * len(palette)).astype(int)
    out = palette[np.clip(sector, 0, len(palette) - 1)]
    out[np.hypot(x, y) < 0.16] = _colour(240, 240, 240)
    return _shaded(out, np.hypot(x + 0.3, y + 0.35))


def _paint_box(x: NDArray[np.float32], y: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    plank = np.floor((y + REACH) / 0.29).astype(int)
    tone = 0.8 + 0.4 * rng.random(int(plank.max()) + 1, dtype=np.float32)[plank]
    grain = noise(x.shape[0], x.shape[1], (4, 9), rng)
    out = _colour(176, 120, 66) * (tone * (0.8 + 0.4 * np.sin(9 * grain + 14 * y) ** 2))[..., None]
    gaps = np.abs((y + REACH) % 0.29) < 0.035
    frame = (np.abs(x) > 0.78) | (np.abs(y) > 0.58) | (np.abs(y - 0.7 * x) < 0.1)
    out[gaps] = _colour(84, 54, 30)
    out[frame] = (_colour(206, 156, 96) * (0.85 + 0.3 * grain[..., None]))[frame]
    return np.asarray(out, np.float32)


def _paint_star(x: NDArray[np.float32], y: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    radius = np.hypot(x, y)[..., None]
    out = _colour(252, 206, 72) * (1 - 0.35 * radius) + _colour(226, 92, 44) * (0.35 * radius)
    out = np.ascontiguousarray(out, np.float32)
    for _ in range(26):
        centre = ((rng.random(2) * 1.8 - 0.9 + REACH) * x.shape[0] / (2 * REACH)).astype(int)
        size = max(1, round(x.shape[0] * float(rng.uniform(0.012, 0.035))))
        cv2.circle(out, (int(centre[0]), int(centre[1])), size, (198, 96, 32), -1, cv2.LINE_AA)
    return np.asarray(out, np.float32)


def _paint_fish(x: NDArray[np.float32], y: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    bands = np.sin(7.5 * x + 1.1 * np.cos(2.2 * y) + float(rng.uniform(0, 6)))
    scales = 0.88 + 0.12 * np.cos(26 * x) * np.cos(26 * y)
    out = np.where(bands[..., None] > 0.1, _colour(242, 122, 58), _colour(120, 66, 140))
    out = np.asarray(out * scales[..., None], np.float32)
    out[np.hypot(x - 0.66, y + 0.14) < 0.13] = _colour(250, 250, 250)
    out[np.hypot(x - 0.68, y + 0.14) < 0.065] = _colour(22, 22, 30)
    return out


def _paint_ring(x: NDArray[np.float32], y: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    sector = np.floor((np.arctan2(y, x) / (2 * np.pi) % 1.0) * 8).astype(int) % 2
    out = np.where(sector[..., None] == 0, _colour(214, 52, 78), _colour(238, 236, 240))
    depth = np.asarray(np.abs(np.hypot(x, y) - 0.66) * 2.2, np.float32)
    return _shaded(np.asarray(out, np.float32), depth)


def _paint_wheel(x: NDArray[np.float32], y: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    sheen = 0.5 + 0.5 * np.sin(5 * np.arctan2(y, x) + 4 * np.hypot(x, y))
    return np.asarray(_colour(46, 54, 92) + sheen[..., None] * _colour(120, 130, 110), np.float32)


def _shaded(colours: NDArray[np.float32], depth: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(colours * (1.06 - 0.28 * depth[..., None]), np.float32)


TOYS: dict[str, tuple[Outline, Paint]] = {
    "ball": (_ball, _paint_ball),
    "box": (_box, _paint_box),
    "star": (_star, _paint_star),
    "fish": (_fish, _paint_fish),
    "ring": (_ring, _paint_ring),
    "wheel": (_wheel, _paint_wheel),
    "pole": (_pole, _paint_any),
    "blob": (_blob, _paint_any),
    "figure": (_figure, _paint_any),
    "spokes": (_wheel, _paint_any),
}
"""Outline and paint of each class of toy."""
