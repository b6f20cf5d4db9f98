"""Points as seeds: KeyPointLabels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.formats.numbers import number

__all__ = ["KeyPointFormat"]


class KeyPointFormat:
    """``{"x", "y", "width"}``: a dot whose diameter is in percent of the picture's width.

    A point says something of its own pixels only: where a label has points, what is uncovered is
    unknown, whatever the setting (see `backend.formats.masks.decode`).
    """

    shape = "keypoint"

    def decode(self, value: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
        """The pixels under the dot, (H, W) bool; the one under its centre at least.

        Raises:
            FormatError: When a number is missing or absurd.
        """
        x, y = number(value, "x") * width / 100, number(value, "y") * height / 100
        radius = number(value, "width", 0.0) * width / 200
        rows, columns = np.ogrid[:height, :width]
        inside = np.asarray((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2)
        row, column = min(int(y), height - 1), min(int(x), width - 1)
        if row >= 0 and column >= 0:
            inside[row, column] = True
        return inside
