"""The formats by the shape that a person draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from backend.formats.bitmask import BitmaskFormat
from backend.formats.brush import BrushFormat
from backend.formats.ellipse import EllipseFormat
from backend.formats.keypoint import KeyPointFormat
from backend.formats.options import EncodeOptions
from backend.formats.polygon import PolygonFormat
from backend.formats.rectangle import RectangleFormat

__all__ = ["MASK_FORMATS", "REGION_FORMATS", "MaskFormat", "RegionFormat"]


class RegionFormat(Protocol):
    """One control tag's regions, read."""

    @property
    def shape(self) -> str:
        """The shape's name, as `backend.labelconfig.Control` has it."""

    def decode(self, value: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
        """The pixels of a region's value, (H, W) bool; raises FormatError."""


class MaskFormat(RegionFormat, Protocol):
    """One control tag's regions, both ways."""

    def encode(
        self, mask: npt.NDArray[np.bool_], options: EncodeOptions
    ) -> Iterator[dict[str, Any]]:
        """Region values, without their labels, that together are a mask (H, W) bool."""


_MASKS: tuple[MaskFormat, ...] = (BrushFormat(), BitmaskFormat(), PolygonFormat())
_EVIDENCE: tuple[RegionFormat, ...] = (RectangleFormat(), EllipseFormat(), KeyPointFormat())

MASK_FORMATS: dict[str, MaskFormat] = {each.shape: each for each in _MASKS}
REGION_FORMATS: dict[str, RegionFormat] = {each.shape: each for each in (*_MASKS, *_EVIDENCE)}
