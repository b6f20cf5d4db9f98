"""The formats by the shape that a person draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from backend.formats.brush import BrushFormat

__all__ = ["FORMATS", "MaskFormat"]


class MaskFormat(Protocol):
    """One control tag's regions, both ways."""

    @property
    def shape(self) -> str:
        """The shape's name, as `backend.labelconfig.Control` has it."""

    def decode(self, value: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
        """The pixels of a region's value, (H, W) bool; raises FormatError."""

    def encode(self, mask: npt.NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
        """Region values, without their labels, that together are a mask (H, W) bool."""


FORMATS: dict[str, MaskFormat] = {each.shape: each for each in (BrushFormat(),)}
