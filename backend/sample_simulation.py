"""The simulated annotator where rectangles or super-pixels are asked for, not whole frames.

As in the service the first round asks for whole frames, which show all classes; from then on the
pool of all samples that are not labelled yet is chosen from.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.passes import uncertainty_map
from backend.queries import Budget
from model.benchmark import LabelledClip
from model.pipeline import ClipAnnotator
from model.propagate import FrameResult
from selection.asking import SamplePool, answered, choose_samples, labelled_samples
from selection.clicks import VOID, correction_clicks
from selection.granularity import Granularity, partition
from selection.samples import FrameSamples, describe, query_mask

__all__ = ["Answer", "SampleDesk"]

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What a round's samples were answered with.

    Attributes:
        labels: The labels of the frames that were asked about, (H, W) uint8, 255 = unknown.
        samples: (frame, sample number) of each, by frame.
        clicks: What they cost, drawn from scratch; a super-pixel costs one.
        corrections: What they cost where the last masks are corrected: a super-pixel whose class
            was right costs nothing.
    """

    labels: dict[int, Mask]
    samples: list[tuple[int, int]]
    clicks: int
    corrections: int


class SampleDesk:
    """Knows one clip's samples, what each is worth now, and answers for them with the truth.

    Args:
        clip: The clip and its truth.
        granularity: What a sample is; not frames.
        free: Classes that nobody draws.
    """

    def __init__(self, clip: LabelledClip, granularity: Granularity, free: Collection[int]) -> None:
        self._clip, self._granularity, self._free = clip, granularity, free
        self._partitions: dict[int, npt.NDArray[np.int32]] = {}
        self._worth: dict[int, tuple[FrameSamples, npt.NDArray[np.bool_]]] = {}
        self._masks: dict[int, Mask] = {}

    def frames(self, budget: Budget) -> int:
        """How many whole frames the first round asks for: as many pixels as later rounds."""
        each = int(self._partition(0).max()) + 1
        return max(1, round(self.samples(budget) / each))

    def samples(self, budget: Budget) -> int:
        """How many samples a later round asks for."""
        return budget.of(sum(int(self._partition(t).max()) + 1 for t in range(len(self._clip))))

    def see(self, result: FrameResult, annotator: ClipAnnotator, label: Mask | None) -> None:
        """Take in a frame of the last pass.

        Args:
            result: Its mask and how certain it is.
            annotator: What gave it; describes the frame place by place.
            label: What of it is labelled, 255 = unknown; None for nothing.
        """
        index = result.index
        numbers = self._partition(index)
        self._masks[index] = result.mask
        self._worth[index] = (
            describe(
                index,
                self._granularity,
                numbers,
                uncertainty=uncertainty_map(result),
                features=annotator.feature_map(self._clip.source.read(index)),
                mask=result.mask,
                free=self._free,
            ),
            labelled_samples(numbers, label),
        )

    def ask(self, strategy: str, budget: int, seed: int, labels: dict[int, Mask]) -> Answer:
        """Choose samples, and answer for them.

        Args:
            strategy: Name in `selection.strategies`.
            budget: How many samples.
            seed: Of the choice.
            labels: What is labelled so far.
        """
        pool = SamplePool.gather((0, *self._worth[index]) for index in sorted(self._worth))
        answer = Answer({}, [], 0, 0)
        clicks = corrections = 0
        for (_, index), chosen in choose_samples(pool, strategy, budget, seed).items():
            truth, numbers = self._clip.masks.read(index), self._partition(index)
            said = answered(self._granularity, numbers, chosen, truth)
            before = labels.get(index, np.full_like(truth, VOID))
            answer.labels[index] = np.where(said != VOID, said, before)
            answer.samples.extend((index, number) for number in sorted(chosen))
            clicks += self._clicks(index, truth, chosen)
            corrections += self._corrections(index, truth, said, chosen)
        return Answer(answer.labels, sorted(answer.samples), clicks, corrections)

    def _clicks(self, index: int, truth: Mask, chosen: list[int]) -> int:
        if self._granularity.kind == "superpixel":
            return len(chosen)
        nothing = np.zeros(truth.shape)
        true = describe(
            index,
            self._granularity,
            self._partition(index),
            uncertainty=nothing,
            features=nothing[None, :1, :1],
            mask=truth,
            free=self._free,
        )
        return int(true.clicks[chosen].sum())

    def _corrections(self, index: int, truth: Mask, said: Mask, chosen: list[int]) -> int:
        numbers, shown = self._partition(index), self._masks[index]
        if self._granularity.kind != "superpixel":
            asked = query_mask(numbers, chosen)
            wanted = np.where(asked, truth, np.uint8(VOID))
            return correction_clicks(wanted, np.where(asked, shown, wanted))
        offered = answered(self._granularity, numbers, chosen, shown)
        wrong = (said != VOID) & (offered != said)
        return len(np.unique(numbers[wrong]))

    def _partition(self, index: int) -> npt.NDArray[np.int32]:
        if index not in self._partitions:
            image = self._clip.source.read(index)
            self._partitions[index] = partition(self._granularity, image)
        return self._partitions[index]
