"""How masks are written."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EncodeOptions"]


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How masks are written.

    Attributes:
        tolerance: How far a polygon's line may be from the mask's boundary, in pixels; 0 keeps
            every pixel.
        min_area: Parts of a mask, and holes in it, of fewer pixels are left out before it is
            written; 0 keeps all.
    """

    tolerance: float = 1.0
    min_area: int = 0
