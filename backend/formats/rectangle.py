"""Boxes as evidence: RectangleLabels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.formats.fill import fill_polygon
from backend.formats.numbers import number

__all__ = ["RectangleFormat", "box_pixels"]


class RectangleFormat:
    """``{"x", "y", "width", "height", "rotation"}``; read as a label of all its pixels."""

    shape = "rectangle"

    def decode(self, value: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
        """The pixels whose centre is inside, (H, W) bool.

        Raises:
            FormatError: When a number is missing or absurd.
        """
        return box_pixels(value, height, width)


def box_pixels(value: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
    """The pixels of a box in percent, turned clockwise about its upper left corner by degrees.

    Raises:
        FormatError: When a number is missing or absurd.
    """
    x, y = number(value, "x") * width / 100, number(value, "y") * height / 100
    w, h = number(value, "width") * width / 100, number(value, "height") * height / 100
    angle = math.radians(number(value, "rotation", 0.0))
    cos, sin = math.cos(angle), math.sin(angle)
    corners = np.array([(0, 0), (w, 0), (w, h), (0, h)])
    turned = corners @ np.array([(cos, sin), (-sin, cos)])
    return fill_polygon(turned + np.array((x, y)), height, width)
