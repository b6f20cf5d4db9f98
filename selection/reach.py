"""Temporal reach: how much of a clip's uncertainty labels on some frames are expected to remove.

A label on frame k serves frame t as far as t's pixels are found again in k along the flow. How far
that is comes from the caller: for each frame t and each near frame k, the share 0..1 that points
of t are found with (`model.reach`). A point between two labelled frames is served by the better
of the two. What is not served is the *loss*, one for a frame that no label reaches at all.

The loss within a gap between labelled frames depends on its two ends alone, so `selection.planning`
can find the frames with the least loss exactly. No label is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Reach"]

_STILLNESS = 500.0
"""Frames over which what is found in a frame is believed less by 1/e, however alike it looks; so
that a clip without any motion gets its labels evenly."""

_EVENED = 2 / 3
"""How far losses are drawn to their mean; from 1/2 to 9/10 it makes little difference."""


@dataclass(frozen=True)
class Reach:
    """The loss of every gap of a clip of N frames, for gaps up to a span of S frames.

    Attributes:
        between: (N, S + 1) float32; `between[b, g]` is the loss of the g − 1 frames between
            labelled frames b − g and b.
        before: (N, S + 1) float32; `before[b, n]` is the loss of the n frames before b, where b is
            labelled and nothing before it is.
        after: (N, S + 1) float32; the same for the n frames after b.
    """

    between: NDArray[np.float32]
    before: NDArray[np.float32]
    after: NDArray[np.float32]

    def __post_init__(self) -> None:
        shapes = {self.between.shape, self.before.shape, self.after.shape}
        if len(shapes) != 1 or self.between.ndim != 2 or self.between.shape[1] < 2:
            raise ValueError(
                "between, before and after must be of one shape (frames, span + 1) with a span of "
                f"1 or more; got {self.between.shape}, {self.before.shape}, {self.after.shape}"
            )

    def __len__(self) -> int:
        return len(self.between)

    @property
    def span(self) -> int:
        """S: in wider gaps, frames farther than S / 2 from both ends count as not reached."""
        return self.between.shape[1] - 1

    @classmethod
    def from_matches(cls, rows: Iterable[ArrayLike], frames: int) -> Reach:
        """Add up the losses of all gaps from what is found where, a frame at a time.

        Args:
            rows: For each frame t in order, (2S + 1, P), 0..1 or uint8 0..255: how well each of P
                points of t is found in frame t − S + i. Rows outside the clip are not read.
            frames: N.

        Returns:
            The reach; memory is bounded by N · S, not by P.

        Raises:
            ValueError: Fewer or more rows than frames, or rows of different shapes.
        """
        losses: _Losses | None = None
        count = 0
        for t, row in enumerate(rows):
            found = np.asarray(row)
            if found.ndim != 2 or found.shape[0] % 2 == 0 or found.size == 0:
                raise ValueError(
                    f"a row must be (2S + 1, P) with a point or more; got {found.shape}"
                )
            if losses is None:
                losses = _Losses(frames, (found.shape[0] - 1) // 2)
            if t >= frames:
                raise ValueError(f"there are more rows than the {frames} frames")
            losses.add(t, found)
            count += 1
        if losses is None or count != frames:
            raise ValueError(f"there must be a row for each of {frames} frames; got {count}")
        return losses.reach()

    @classmethod
    def from_confidence(cls, confidence: ArrayLike, span: int = 64) -> Reach:
        """The reach where only neighbours were compared: confidences multiply along the way.

        Args:
            confidence: (N − 1,), 0..1: how well frame t + 1 is told from frame t by flow.
            span: S.

        Raises:
            ValueError: `confidence` is not one-dimensional, or `span` below 1.
        """
        pairs = np.asarray(confidence, dtype=np.float64)
        if pairs.ndim != 1 or span < 1:
            raise ValueError(
                f"confidence must be (frames - 1,) and span 1 or more; got {pairs.shape}"
            )
        frames = len(pairs) + 1
        span = min(span, max(frames - 1, 1))
        way = np.concatenate([[0.0], np.cumsum(np.log(np.clip(np.nan_to_num(pairs), 1e-9, 1.0)))])
        near = np.arange(frames)[:, None] + np.arange(-span, span + 1)[None, :]
        near = np.clip(near, 0, frames - 1)
        found = np.exp(-np.abs(way[near] - way[:, None]))  # (N, 2S + 1): one point a frame
        return cls.from_matches(found[:, :, None], frames)

    @classmethod
    def from_time(cls, frames: int, span: int = 64) -> Reach:
        """The reach where nothing is known but time: each step costs the same."""
        return cls.from_confidence(np.full(max(frames - 1, 0), np.exp(-1 / 30)), span)

    def gaps(self, left: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
        """The loss of the frames between neighbouring labelled ones.

        Args:
            left: Labelled frames; −1 where there is none before.
            right: Labelled frames behind them; N where there is none after. Broadcast with `left`.

        Returns:
            float64 of the broadcast shape.
        """
        frames, span, half = len(self), self.span, self.span // 2
        a, b = np.broadcast_arrays(np.asarray(left), np.asarray(right))
        start, end = a < 0, b >= frames
        a0, b0 = np.where(start, 0, a), np.where(end, frames - 1, b)
        wide = b0 - a0
        near = self.between[b0, np.minimum(wide, span)].astype(np.float64)
        far = self.after[a0, half] + self.before[b0, half] + (wide - 1.0 - 2 * half)
        out = np.where(wide <= span, near, far)
        out = np.where(start, self.before[b0, np.minimum(b0, span)] + np.maximum(b0 - span, 0), out)
        rest = frames - 1 - a0
        ending = self.after[a0, np.minimum(rest, span)] + np.maximum(rest - span, 0)
        out = np.where(end, ending, out)
        return np.asarray(np.where(start & end, frames, out), dtype=np.float64)

    def evened(self, share: float = _EVENED) -> Reach:
        """The reach with what it says of each place drawn to what it says of all places about it.

        How much is lost in a gap is told from colours, so roughly: a gap that looks best by a
        little often is not, and a plan that relies on many such differences leaves later rounds
        worse places. Each gap's loss is therefore taken to be nearer to the mean of all gaps of its
        length within S frames (shrinkage, as of James & Stein 1961). What differs over longer
        stretches, or between clips, stays.

        Args:
            share: How far, 0 (as it is) to 1 (nothing is left of the place).

        Raises:
            ValueError: `share` is not 0 to 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share must be 0 to 1; got {share}")
        frames = np.arange(len(self))[:, None]
        lengths = np.arange(self.span + 1)[None, :]
        inside, ahead = frames >= lengths, frames + lengths < len(self)
        return Reach(
            _drawn(self.between, inside, share),
            _drawn(self.before, inside, share),
            _drawn(self.after, ahead, share),
        )

    def loss(self, labelled: Iterable[int]) -> float:
        """The loss of the whole clip with these frames labelled."""
        ends = np.array([-1, *sorted(set(labelled)), len(self)])
        return float(self.gaps(ends[:-1], ends[1:]).sum())

    def gain(self, frames: ArrayLike, left: int, right: int) -> NDArray[np.float64]:
        """How much of the loss between `left` and `right` (as in `gaps`) a label would remove.

        Args:
            frames: (M,) frames between the two.
            left: A labelled frame or −1.
            right: A labelled frame or N.

        Returns:
            (M,) float64, one for each frame.
        """
        middle = np.asarray(frames)
        return self.gaps(left, right) - self.gaps(left, middle) - self.gaps(middle, right)


def _drawn(
    losses: NDArray[np.float32], exists: NDArray[np.bool_], share: float
) -> NDArray[np.float32]:
    """Draw each column's values to their mean within S rows; only those of gaps that exist."""
    frames, span = len(losses), losses.shape[1] - 1
    none = np.zeros((1, span + 1))
    sums = np.concatenate([none, np.cumsum(np.where(exists, losses, 0.0), axis=0)])
    counts = np.concatenate([none, np.cumsum(exists, axis=0)])
    rows = np.arange(frames)
    low, high = np.maximum(rows - span, 0), np.minimum(rows + span + 1, frames)
    mean = (sums[high] - sums[low]) / np.maximum(counts[high] - counts[low], 1)
    drawn = losses + np.float32(share) * (mean - losses)
    return np.where(exists, drawn, losses).astype(np.float32)


class _Losses:
    """Adds up gap losses frame by frame."""

    def __init__(self, frames: int, span: int) -> None:
        self.frames, self.span = frames, max(span, 1)
        shape = (frames, self.span + 1)
        self.between = np.zeros(shape, dtype=np.float32)
        self.before = np.zeros(shape, dtype=np.float32)
        self.after = np.zeros(shape, dtype=np.float32)
        self.believed = np.exp(-np.arange(self.span + 1) / _STILLNESS).astype(np.float32)

    def add(self, t: int, row: NDArray[np.generic]) -> None:
        """Add frame t's part to every gap that it lies in."""
        span = (row.shape[0] - 1) // 2
        if span and span != self.span:
            raise ValueError(
                f"all rows must be {2 * self.span + 1} frames wide; got {row.shape[0]}"
            )
        scale = 255.0 if row.dtype == np.uint8 else 1.0
        found = np.asarray(row, dtype=np.float32) / np.float32(scale)
        near, far = min(t, span), min(self.frames - 1 - t, span)
        past = found[span - near : span][::-1] * self.believed[1 : near + 1, None]
        future = found[span + 1 : span + 1 + far] * self.believed[1 : far + 1, None]
        i, j = np.arange(1, near + 1), np.arange(1, far + 1)
        self.after[t - i, i] = 1.0 - past.mean(axis=1)
        self.before[t + j, j] = 1.0 - future.mean(axis=1)
        mean = np.full(found.shape[1], 1.0 / found.shape[1], dtype=np.float32)
        for step in range(1, near + 1):  # the label before is `step` frames back
            reachable = min(far, self.span - step)
            if reachable > 0:
                served = np.maximum(past[step - 1], future[:reachable]) @ mean
                self.between[t + j[:reachable], step + j[:reachable]] += 1.0 - served

    def reach(self) -> Reach:
        return Reach(self.between, self.before.cumsum(axis=1), self.after.cumsum(axis=1))
