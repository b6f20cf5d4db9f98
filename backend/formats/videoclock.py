"""Which picture of a video file the screen shows at which of its frames.

Label Studio knows no frames of a file: it counts frames at the rate that the configuration gives
(24 where it gives none), and shows what the file has at that time. With a file of another rate, or
of a variable one, its frame numbers are not the file's.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["VideoClock"]

# The screen looks two thousandths of a second behind a frame's begin.
_SCREEN_DELAY = 0.002


class VideoClock:
    """Between the pictures of a file and the screen's frames, both counted from 0.

    Args:
        timestamps: When each picture of the file is shown, in rising seconds.
        rate: The screen's frames per second.
        duration: The file's length in seconds; told from the last pictures where not given.

    Example:
        >>> clock = VideoClock([0.0, 0.04, 0.08, 0.12], rate=25)
        >>> [clock.picture(frame) for frame in range(clock.frames)]
        [0, 1, 2, 3]
    """

    def __init__(
        self, timestamps: Sequence[float], rate: float, duration: float | None = None
    ) -> None:
        if not timestamps or not rate > 0:
            raise ValueError(f"Expected pictures and a rate above 0, got rate {rate!r}.")
        begin = timestamps[0]
        self._times = [time - begin for time in timestamps]
        self.rate = rate
        if duration is None:
            last = self._times[-1] - self._times[-2] if len(self._times) > 1 else 1 / rate
            duration = self._times[-1] + last
        self.duration = duration

    @property
    def frames(self) -> int:
        """How many frames the screen counts."""
        return max(math.ceil(self.duration * self.rate - 1e-3), 1)

    def picture(self, frame: int) -> int:
        """The picture that the screen shows at one of its frames."""
        return max(bisect_right(self._times, frame / self.rate + _SCREEN_DELAY) - 1, 0)

    def frame(self, picture: int) -> int:
        """The first of the screen's frames that shows a picture, or the one before it."""
        frame = max(math.ceil((self._times[picture] - _SCREEN_DELAY) * self.rate - 1e-6), 0)
        frame = min(frame, self.frames - 1)
        return frame if self.picture(frame) <= picture else max(frame - 1, 0)
