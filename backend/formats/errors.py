"""What goes wrong with regions."""

from __future__ import annotations

__all__ = ["FormatError"]


class FormatError(ValueError):
    """A region that can't be read, or that doesn't fit its picture; the sentence says which."""
