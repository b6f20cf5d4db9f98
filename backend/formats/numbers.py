"""Numbers of a region's value, in percent of the picture, as finite floats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from backend.formats.errors import FormatError

__all__ = ["number"]

# A region may stick out of its picture, but not by this many pictures.
_FARTHEST = 10_000.0


def number(value: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A number of a region's value.

    Raises:
        FormatError: When it is missing, or is no finite number of a sane size.
    """
    found = value.get(key, default)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise FormatError(f"its {key!r} must be a number, got {found!r}")
    if not math.isfinite(found) or abs(found) > _FARTHEST:
        raise FormatError(f"its {key!r} is {found:g}; expected percent of the picture")
    return float(found)
