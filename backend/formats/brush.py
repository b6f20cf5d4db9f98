"""Masks that a brush paints: BrushLabels, run-length coded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.formats.errors import FormatError
from backend.formats.options import EncodeOptions
from backend.formats.rle import decode_rle, encode_rle

__all__ = ["BrushFormat", "decode_rle", "encode_rle"]


class BrushFormat:
    """``{"format": "rle", "rle": […]}``; exact both ways."""

    shape = "brush"

    def decode(self, value: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
        """The pixels of a region, (H, W) bool.

        Raises:
            FormatError: When the region isn't run-length coded, or of another size.
        """
        if value.get("format", "rle") != "rle" or "rle" not in value:
            raise FormatError(
                "a brush region has no RLE; only brushes in the format 'rle' can be read, got "
                f"{value.get('format')!r}"
            )
        return decode_rle(value["rle"], height, width)

    def encode(
        self, mask: npt.NDArray[np.bool_], options: EncodeOptions
    ) -> Iterator[dict[str, Any]]:
        """The region's value; one for the whole mask, however many parts it has."""
        del options
        yield {"format": "rle", "rle": encode_rle(mask)}
