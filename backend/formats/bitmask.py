"""Masks that are pictures: BitmaskLabels, a PNG whose alpha channel is the mask."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from backend.formats.errors import FormatError
from backend.formats.options import EncodeOptions

__all__ = ["BitmaskFormat"]

_PREFIX = "data:image/png;base64,"
_OPAQUE = 127
_COLORS = [0, 0, 0, 255, 255, 255]


class BitmaskFormat:
    """``{"format": "png", "imageDataURL": "data:image/png;base64,…"}``; exact both ways."""

    shape = "bitmask"

    def decode(self, value: Mapping[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
        """The pixels of a region, (H, W) bool: where alpha is above 127.

        Raises:
            FormatError: When it is no PNG with transparency of the picture's size.
        """
        data = _png(value.get("imageDataURL"), height, width)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                    _check(image, height, width)
                    alpha = image.convert("RGBA").getchannel("A")
        except FormatError:
            raise
        except (
            *(UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError),
            *(SyntaxError, EOFError, OverflowError),
        ):
            raise FormatError("its bitmask is no PNG, or a damaged one") from None
        return np.asarray(alpha) > _OPAQUE

    def encode(
        self, mask: npt.NDArray[np.bool_], options: EncodeOptions
    ) -> Iterator[dict[str, Any]]:
        """The region's value; one for the whole mask, however many parts it has."""
        del options
        # Two colours, the first of them transparent: a bit a pixel.
        image = Image.fromarray(mask.astype(np.uint8)).convert("P")
        image.putpalette(_COLORS)
        file = io.BytesIO()
        image.save(file, "PNG", transparency=0, bits=1)
        yield {
            "format": "png",
            "imageDataURL": _PREFIX + base64.b64encode(file.getvalue()).decode(),
        }


def _png(url: Any, height: int, width: int) -> bytes:
    if not isinstance(url, str) or not url.startswith(_PREFIX):
        raise FormatError(f"its bitmask must be a text that begins with {_PREFIX!r}")
    # Four channels that don't compress at all, and as much again for whatever else a PNG holds.
    if len(url) > 16 * (height * width + 4096):
        raise FormatError("its bitmask is larger than any PNG of the picture's size")
    try:
        return base64.b64decode(url[len(_PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise FormatError("its bitmask is not encoded in base64") from None


def _check(image: Image.Image, height: int, width: int) -> None:
    if image.size != (width, height):
        raise FormatError(
            f"its bitmask is a picture of {image.size[0]}×{image.size[1]} pixels; expected "
            f"{width}×{height}"
        )
    if not image.has_transparency_data:
        raise FormatError("its bitmask has no transparency, which is where the mask is")
