"""Label Studio's regions and masks, both ways; one file for each control tag."""

from backend.formats.errors import FormatError
from backend.formats.masks import IGNORE, decode, encode
from backend.formats.registry import FORMATS, MaskFormat
from backend.formats.rle import decode_rle, encode_rle

__all__ = [
    "FORMATS",
    "IGNORE",
    "FormatError",
    "MaskFormat",
    "decode",
    "decode_rle",
    "encode",
    "encode_rle",
]
