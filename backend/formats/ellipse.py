"""Ellipses as evidence: EllipseLabels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.formats.errors import FormatError
from backend.formats.numbers import number

__all__ = ["EllipseFormat"]

# Pixels: what a mouse can't draw would overflow when it is squared.
_SMALLEST = 1e-3


class EllipseFormat:
    """``{"x", "y", "radiusX", "radiusY", "rotation"}``; read as a label of all its pixels."""

    shape = "ellipse"

    def decode(self, value: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
        """The pixels whose centre is inside, (H, W) bool; turned clockwise about the centre.

        Raises:
            FormatError: When a number is missing or absurd.
        """
        x, y = number(value, "x") * width / 100, number(value, "y") * height / 100
        a, b = number(value, "radiusX") * width / 100, number(value, "radiusY") * height / 100
        if min(a, b) < _SMALLEST:
            raise FormatError(f"an ellipse's radii must be above 0, got {a:g} and {b:g} pixels")
        angle = math.radians(number(value, "rotation", 0.0))
        rows, columns = np.ogrid[:height, :width]
        dx, dy = columns + 0.5 - x, rows + 0.5 - y
        along = dx * math.cos(angle) + dy * math.sin(angle)
        across = dy * math.cos(angle) - dx * math.sin(angle)
        inside: npt.NDArray[np.bool_] = (along / a) ** 2 + (across / b) ** 2 <= 1
        return inside
