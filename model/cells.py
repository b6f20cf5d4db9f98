"""The cells in which refinement decides: small squares of a frame, and what is seen around them.

Pixels to decide on lie along outlines. Cut into squares of 20 pixels, they take half of the sums
that the squares of `model.windows` would, which a network learns from: fewer pixels beside them,
and fewer classes in each. What is found for a class in a pixel is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.clues import Clues
from model.warp import sample
from model.windows import CLASS_CHANNELS, PRESENT, Shared

__all__ = ["CORE", "SEEN", "Cells", "Looks"]

CORE = 20
"""Pixels on a side of a cell."""

SEEN = 3
"""Pixels that the network sees on each side of the one that it decides on."""

_SIDE = CORE + 2 * SEEN

_SURE = 0.95
"""A pixel is left as it is where a class has at least this: no correction overturns that."""

_THERE = 0.05
"""A class is looked at in cells where it has more than this in a pixel to decide on."""

_AT_ONCE = 64
"""Pairs of cell and class that go through the network together: more leave the cache."""


@dataclass(frozen=True)
class Looks:
    """Some pairs of a cell and a class, as the network sees them.

    Attributes:
        pairs: Which of the cells' pairs these are.
        by_class: (N, `CLASS_CHANNELS`, s, s) float32, a pair each, `SEEN` pixels around the cell
            on each side; 0 beyond the frame.
        shared: (M, `SHARED_CHANNELS`, s, s) float32, a cell each.
        of: (N,) int64, the cell that each pair belongs to.
        inside: (M, s, s) bool, what of it is inside of the frame; None where all is.
    """

    pairs: slice
    by_class: Tensor
    shared: Tensor
    of: Tensor
    inside: Tensor | None


class Cells:
    """A frame's contested and unsure pixels by cells, with the classes that are there in each.

    Args:
        clues: What was found out about the frame.
        probabilities: (K, H, W) float32, as fused so far.
        evidence: (K, H, W) float32, a network's word.
        weight: How much it counted in fusion, 0 to 1.

    Attributes:
        places: (P,) the pixels to decide on, as indices into the flat frame, cell by cell. Cells
            with one class are left out.
        fused: (K, P) float32, their probabilities.
        classes: (pairs,) the classes that are looked at, cell by cell.
        corners: (pairs, 2) the first row and column of each pair's cell.
    """

    def __init__(
        self,
        clues: Clues,
        probabilities: NDArray[np.float32],
        evidence: NDArray[np.float32] | None = None,
        weight: float = 0.0,
    ) -> None:
        self._clues = clues
        self._weight = 0.0 if evidence is None else weight
        self._flat = probabilities.reshape(len(probabilities), -1)
        self._heard = None if evidence is None else evidence.reshape(self._flat.shape)
        self._shape = (clues.lab.shape[0], clues.lab.shape[1])
        self._across = -(-self._shape[1] // CORE)
        contested = self._flat.take(clues.votes.places, axis=1)
        unsure = np.flatnonzero(contested.max(axis=0) < _SURE)
        places = clues.votes.places[unsure]
        y, x = np.divmod(places, self._shape[1])
        cell = y // CORE * self._across + x // CORE
        order = np.argsort(cell, kind="stable")
        self.places = places[order]
        self.fused = contested.take(unsure[order], axis=1)
        self._local = ((y % CORE) * CORE + x % CORE)[order]
        self._numbers, starts = np.unique(cell[order], return_index=True)
        self._sizes = np.diff(np.append(starts, len(order)))
        looked = self._look(starts)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._of, self.classes = np.nonzero(looked.T)
        self.corners = np.stack(np.divmod(self._numbers[self._of], self._across), axis=1) * CORE

    def _look(self, starts: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which classes are there in which cells, (K, cells); cells with one are dropped."""
        if not len(starts):
            return np.zeros((len(self._flat), 0), bool)
        there = self.fused > _THERE
        if self._heard is not None:
            there |= self._heard.take(self.places, axis=1) > _THERE
        looked = np.logical_or.reduceat(there, starts, axis=1)
        several = looked.sum(axis=0) > 1
        kept = several.repeat(self._sizes)
        self.places, self._local = self.places[kept], self._local[kept]
        self.fused = self.fused[:, kept]
        self._numbers, self._sizes = self._numbers[several], self._sizes[several]
        return looked[:, several]

    def __len__(self) -> int:
        """How many pairs of cell and class there are."""
        return len(self._of)

    def looks(self) -> Iterator[Looks]:
        """Give what the network sees of the pairs, some at a time."""
        if not len(self):
            return
        votes = [self._clues.votes.table(side) for side in range(len(self._clues.distance))]
        rows = self._clues.votes.rows()
        shared = Shared(self._clues, self._weight)
        everywhere, _ = self._around(self._numbers)
        warped = [self._warped(side, everywhere) for side in range(len(votes))]
        for start in range(0, len(self), _AT_ONCE):
            pairs = slice(start, min(start + _AT_ONCE, len(self)))
            cells, of = np.unique(self._of[pairs], return_inverse=True)
            at, inside = self._around(self._numbers[cells])
            masks = [mask[pairs] for mask in warped]
            by_class = self._by_class(votes, masks, self.classes[pairs], at[of], rows.take(at)[of])
            told = shared.at(at)
            outside = ~inside
            cut = bool(outside.any())
            if cut:
                by_class[outside[of]] = 0
                told[outside] = 0
            yield Looks(
                pairs,
                torch.from_numpy(by_class).permute(0, 3, 1, 2),
                torch.from_numpy(told).permute(0, 3, 1, 2),
                torch.from_numpy(of),
                torch.from_numpy(inside) if cut else None,
            )

    def _around(self, numbers: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where the pixels of cells and around them are in the flat frame, (M, s, s), and whether
        they are inside of it; the nearest one where they are not."""
        height, width = self._shape
        span = np.arange(-SEEN, CORE + SEEN)
        top, left = np.divmod(numbers, self._across)
        y, x = top[:, None] * CORE + span, left[:, None] * CORE + span
        inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None]
        y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
        return y[:, :, None] * width + x[:, None], inside

    def _by_class(
        self,
        votes: Sequence[NDArray[np.float32]],
        warped: Sequence[NDArray[np.uint8]],
        classes: NDArray[np.intp],
        at: NDArray[np.intp],
        rows: NDArray[np.intp],
    ) -> NDArray[np.float32]:
        """(N, s, s, `CLASS_CHANNELS`) float32, of pairs of these classes at these pixels."""
        places = at + (classes * self._flat.shape[1])[:, None, None]
        if votes:
            rows = rows + (classes * votes[0].shape[1])[:, None, None]
        seen = np.empty((*places.shape, CLASS_CHANNELS), np.float32)
        fused = self._flat.reshape(-1).take(places)
        seen[..., 0] = fused
        for side in range(2):
            if side < len(votes):
                seen[..., 1 + side] = votes[side].take(rows)
                np.multiply(warped[side], np.float32(1 / 255), out=seen[..., 3 + side])
            else:  # A side that is missing says what all say.
                seen[..., 1 + side] = seen[..., 3 + side] = fused
        seen[..., 5] = fused if self._heard is None else self._heard.reshape(-1).take(places)
        torch.logit_(torch.from_numpy(seen), eps=PRESENT).div_(4)
        return seen

    def _warped(self, side: int, at: NDArray[np.intp]) -> NDArray[np.uint8]:
        """A side's mask as all pairs see it, (pairs, s, s) uint8: 255 where it is the class."""
        flat = at.reshape(len(at), -1)
        positions = self._clues.positions[side].reshape(-1, 2).take(flat, axis=0)
        out = np.empty((len(self), *at.shape[1:]), np.uint8)
        for label in np.unique(self.classes):
            mine = np.flatnonzero(self.classes == label)
            warped = sample(self._clues.labels[side][label], positions[self._of[mine]])
            out[mine] = warped.reshape(-1, *at.shape[1:])
        return out

    def decided(self, corrections: NDArray[np.float32], floor: float) -> NDArray[np.float32]:
        """Correct the pixels to decide on.

        Args:
            corrections: (pairs, `CORE`, `CORE`) float32, what is added to log-probabilities.
            floor: What a class that no source names can be raised from.

        Returns:
            (K, P) float32: the change of `fused`; 0 for classes that are not looked at.
        """
        sizes = self._sizes[self._of]
        pair = np.repeat(np.arange(len(self)), sizes)
        within = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        column = np.repeat(self._starts[self._of], sizes) + within
        classes = np.repeat(self.classes, sizes)
        logits = np.full(self.fused.shape, -np.inf, np.float32)
        flat = corrections.reshape(len(corrections), CORE * CORE)
        old = self.fused[classes, column]
        logits[classes, column] = flat[pair, self._local[column]] + np.log(old + np.float32(floor))
        logits -= logits.max(axis=0)
        new = np.exp(logits, out=logits)
        new /= new.sum(axis=0)
        looked = np.zeros_like(new)
        looked[classes, column] = old
        new *= looked.sum(axis=0)
        new -= looked
        return new
