"""Label Studio's regions and masks, both ways; one file for each control tag."""

from backend.formats.errors import FormatError
from backend.formats.masks import IGNORE, decode, encode
from backend.formats.options import EncodeOptions
from backend.formats.registry import MASK_FORMATS, REGION_FORMATS, MaskFormat, RegionFormat
from backend.formats.rle import decode_rle, encode_rle

__all__ = [
    "IGNORE",
    "MASK_FORMATS",
    "REGION_FORMATS",
    "EncodeOptions",
    "FormatError",
    "MaskFormat",
    "RegionFormat",
    "decode",
    "decode_rle",
    "encode",
    "encode_rle",
]
