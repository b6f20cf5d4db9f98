"""What a rendered clip shows, and how it moves: every place is a function of time alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.toys import EXTENT, Toy, make_toy

__all__ = ["DIFFICULTIES", "Layer", "Look", "Points", "Scene", "move"]

Points = NDArray[np.float64]
"""(…, 2), x first."""


@dataclass(frozen=True)
class Look:
    """What a difficulty means.

    Attributes:
        toys: The classes shown, in the order of their class index.
        copies: Toys of each class.
        pace: Speed of all motion.
        wobble: Bend of the toys, in local units.
        shake: Camera shake, a share of the frame's shorter side.
        shutter: Share of the time between frames over which motion is blurred.
        noise: Standard deviation of the sensor's noise, of 255.
        light: Depth of the change of lighting, 0 to 1.
        wild: Whether the ground is a wilderness instead of a meadow.
    """

    toys: tuple[str, ...]
    copies: int = 1
    pace: float = 1.0
    wobble: float = 0.0
    shake: float = 0.0
    shutter: float = 0.0
    noise: float = 1.0
    light: float = 0.0
    wild: bool = False


DIFFICULTIES = {
    "easy": Look(("ball", "box", "star", "fish", "ring")),
    "hard": Look(
        ("ball", "box", "star", "fish", "ring", "wheel"),
        copies=2,
        pace=1.5,
        wobble=0.12,
        shake=0.008,
        shutter=0.5,
        noise=6.0,
        light=0.3,
    ),
    "wild": Look(
        ("pole", "blob", "figure", "spokes"),
        copies=2,
        pace=1.4,
        wobble=0.2,
        shake=0.012,
        shutter=0.6,
        noise=7.0,
        light=0.25,
        wild=True,
    ),
}
"""Looks by name. hard adds blur, noise, changing light, bending toys, thin spokes, a shaking
camera and more occlusion. wild has poles, limbs and bumpy outlines, and colours that tell nothing:
refinement learns on it."""


@dataclass(frozen=True)
class _Swing:
    """middle + reach · sin(2π · (rate · t + phase)) + drift · t."""

    middle: float
    reach: float = 0.0
    rate: float = 0.0
    phase: float = 0.0
    drift: float = 0.0

    def at(self, t: float) -> float:
        turn = 2 * np.pi * (self.rate * t + self.phase)
        return float(self.middle + self.reach * np.sin(turn) + self.drift * t)


@dataclass(frozen=True)
class _Motion:
    """How one plane lies in another at time t: turned, scaled and shifted."""

    x: _Swing
    y: _Swing
    angle: _Swing
    scale: _Swing

    def matrix(self, t: float) -> NDArray[np.float64]:
        angle, scale = self.angle.at(t), self.scale.at(t)
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        return np.array([[c, -s, self.x.at(t)], [s, c, self.y.at(t)], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Layer:
    """A toy on its way.

    Attributes:
        toy: What is seen.
        label: Its class index.
        motion: From local coordinates to the world's.
        bend: How far the toy is bent, in local units, before it is moved.
    """

    toy: Toy
    label: int
    motion: _Motion
    bend: _Swing


class Scene:
    """The ground, the toys from back to front, and the camera.

    Args:
        look: What to show.
        size: (width, height) of the frame.
        rng: Where all choices come from.
    """

    def __init__(self, look: Look, size: tuple[int, int], rng: np.random.Generator) -> None:
        self._size = size
        self._camera = _plan_camera(look, size, rng)
        self._ground = _plan_ground(look, size, rng)
        self.layers = _plan_layers(look, size, rng)

    def ground_matrix(self, t: float) -> NDArray[np.float64]:
        """From the ground's coordinates to the frame's at time t, (3, 3)."""
        return np.asarray(self._camera.matrix(t) @ self._ground.matrix(t))

    def to_frame(self, layer: Layer, t: float, local: Points) -> Points:
        """Where the frame shows points of a toy at time t."""
        return move(self._matrix(layer, t), _bent(local, layer.bend.at(t)))

    def to_local(self, layer: Layer, t: float, points: Points) -> Points:
        """Which points of a toy lie at points of the frame: the inverse of `to_frame`."""
        inverse = np.asarray(np.linalg.inv(self._matrix(layer, t)), np.float64)
        return _bent(move(inverse, points), -layer.bend.at(t))

    def pixels_per_unit(self, layer: Layer, t: float) -> np.float32:
        """How large a toy's local unit is in the frame."""
        return np.float32(np.sqrt(np.linalg.det(self._matrix(layer, t)[:2, :2])))

    def reach(self, layer: Layer, t: float) -> tuple[slice, slice] | None:
        """The rows and columns that a toy can touch; None where it is out of the frame."""
        width, height = self._size
        matrix = self._matrix(layer, t)
        radius = (EXTENT + abs(layer.bend.at(t))) * float(self.pixels_per_unit(layer, t)) + 1
        x, y = float(matrix[0, 2]), float(matrix[1, 2])
        left, right = max(0, int(x - radius)), min(width, int(x + radius) + 2)
        top, bottom = max(0, int(y - radius)), min(height, int(y + radius) + 2)
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None

    def _matrix(self, layer: Layer, t: float) -> NDArray[np.float64]:
        return np.asarray(self._camera.matrix(t) @ layer.motion.matrix(t))


def move(matrix: NDArray[np.float64], points: Points) -> Points:
    """Apply a (3, 3) affine matrix to points."""
    x, y = points[..., 0], points[..., 1]
    out = np.empty_like(points)
    out[..., 0] = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    out[..., 1] = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    return out


def _bent(points: Points, amount: float) -> Points:
    """Push each row of local coordinates sideways; `_bent(…, -amount)` undoes it exactly."""
    if amount == 0.0:
        return points
    out = points.copy()
    out[..., 0] += amount * np.sin(2.5 * points[..., 1])
    return out


def _plan_camera(look: Look, size: tuple[int, int], rng: np.random.Generator) -> _Motion:
    shake = look.shake * min(size)
    rates, phases = 0.11 + 0.12 * rng.random(3), rng.random(3)
    return _Motion(
        x=_Swing(0.0, shake, float(rates[0]), float(phases[0])),
        y=_Swing(0.0, shake, float(rates[1]), float(phases[1])),
        angle=_Swing(0.0, look.shake, float(rates[2]), float(phases[2])),
        scale=_Swing(1.0),
    )


def _plan_ground(look: Look, size: tuple[int, int], rng: np.random.Generator) -> _Motion:
    width, height = size
    phases = rng.random(4)
    return _Motion(
        x=_Swing(-width / 2, width / 6, 0.006 * look.pace, float(phases[0])),
        y=_Swing(-height / 2, height / 6, 0.004 * look.pace, float(phases[1])),
        angle=_Swing(0.0, 0.05, 0.005 * look.pace, float(phases[2])),
        scale=_Swing(1.0, 0.05, 0.007 * look.pace, float(phases[3])),
    )


def _plan_layers(look: Look, size: tuple[int, int], rng: np.random.Generator) -> tuple[Layer, ...]:
    width, height = size
    radius = min(size) * 0.2 / float(np.sqrt(look.copies))
    names = list(look.toys) * look.copies
    columns = int(np.ceil(np.sqrt(len(names) * width / height)))
    rows = int(np.ceil(len(names) / columns))
    places = rng.permutation(columns * rows)[: len(names)]
    layers = []
    for name, place in zip(names, places, strict=True):
        column, row = int(place) % columns, int(place) // columns
        x = width * (0.5 + 0.72 * ((column + 0.5) / columns - 0.5))
        y = height * (0.5 + 0.72 * ((row + 0.5) / rows - 0.5))
        motion = _plan_motion(look, size, radius, (x, y), name in _SWINGING, rng)
        bend = _Swing(0.0, look.wobble, 0.04, float(rng.random()))
        label = look.toys.index(name) + 1
        layers.append(Layer(make_toy(name, radius, rng), label, motion, bend))
    return tuple(layers)


_SWINGING = frozenset({"box", "fish", "figure", "pole"})
"""Toys that have an upside; the others roll."""


def _plan_motion(
    look: Look,
    size: tuple[int, int],
    radius: float,
    middle: tuple[float, float],
    swings: bool,
    rng: np.random.Generator,
) -> _Motion:
    (width, height), pace = size, look.pace
    phases = [float(value) for value in rng.random(4)]
    speeds = [pace * float(value) for value in 0.8 + 0.4 * rng.random(3)]
    larger, spin = float(rng.random()), float(rng.uniform(0.012, 0.032))
    turning = _Swing(0.0, 0.5, 0.01 * pace, phases[2])
    rolling = _Swing(phases[2], drift=pace * spin * (1 if larger > 0.5 else -1))
    return _Motion(
        x=_Swing(middle[0], width * 0.17, 0.011 * speeds[0], phases[0]),
        y=_Swing(middle[1], height * 0.16, 0.013 * speeds[1], phases[1]),
        angle=turning if swings else rolling,
        scale=_Swing(radius * (0.85 + 0.3 * larger), radius * 0.16, 0.012 * speeds[2], phases[3]),
    )
