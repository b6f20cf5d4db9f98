"""Which frames of a labelled clip play the part of those that a person labelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["KeyFrames", "parse_keys"]

_FORMS = "every:15, uniform:10, first, or frame numbers such as 0,12,40"


@dataclass(frozen=True)
class KeyFrames:
    """A choice of key frames for a clip of any length.

    Attributes:
        text: As it was asked for.
        step: Every so many frames, from frame 0 (0: not used).
        count: So many at even distances, both ends included (0: not used).
        frames: These, where neither is used.
    """

    text: str
    step: int = 0
    count: int = 0
    frames: tuple[int, ...] = ()

    def of(self, length: int) -> list[int]:
        """The key frames of a clip of `length` frames, rising.

        Raises:
            ValueError: One of them is outside the clip.
        """
        if self.step:
            return list(range(0, length, self.step))
        if self.count == 1:
            return [length // 2]
        if self.count:
            return sorted({round(float(x)) for x in np.linspace(0, length - 1, self.count)})
        if self.frames[-1] >= length:
            raise ValueError(
                f"key frame {self.frames[-1]} is outside the clip, whose frames are 0 to"
                f" {length - 1}"
            )
        return list(self.frames)


def parse_keys(text: str) -> KeyFrames:
    """Read a choice of key frames: `every:15`, `uniform:10`, `first`, or `0,12,40`.

    Raises:
        ValueError: It is none of these.
    """
    kind, _, number = text.strip().partition(":")
    if kind == "first" and not number:
        return KeyFrames(text, frames=(0,))
    if kind in ("every", "uniform"):
        if not number.isdecimal() or int(number) < 1:
            raise ValueError(f"keys {text!r}: {kind} needs a number of 1 or more, as in {kind}:15")
        if kind == "every":
            return KeyFrames(text, step=int(number))
        return KeyFrames(text, count=int(number))
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"keys {text!r}: expected {_FORMS}")
    return KeyFrames(text, frames=tuple(sorted({int(part) for part in parts})))
