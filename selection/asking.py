"""Asking for samples: a pool of those of many frames, the choice among them, and the answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selection.granularity import Granularity
from selection.samples import FrameSamples, query_mask
from selection.strategies import Candidates, get_strategy
from selection.uncertainty import rankable

__all__ = ["SamplePool", "answered", "choose_samples", "labelled_samples", "sample_strategy"]

_MOST = 200_000
"""Samples that a pool holds at most: their features are what choosing needs memory for."""

_VOID = 255

# These choose frames: of the samples of a frame, which look all alike to them, they take any.
_BY_FRAME = ("reach", "uniform")


@dataclass(frozen=True)
class SamplePool:
    """The samples, N of them, that may be asked for.

    Attributes:
        clips: (N,) int64, index of the clip.
        frames: (N,) int64, index of the frame in its clip.
        numbers: (N,) int64, the sample's number in its frame's partition.
        uncertainty: (N,) float64, 0..1; NaN where nothing is known.
        clicks: (N,) float64, what labelling each is expected to cost.
        features: (N, C) float32.
    """

    clips: NDArray[np.int64]
    frames: NDArray[np.int64]
    numbers: NDArray[np.int64]
    uncertainty: NDArray[np.float64]
    clicks: NDArray[np.float64]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def gather(
        cls,
        samples: Iterable[tuple[int, FrameSamples, NDArray[np.bool_]]],
        most: int = _MOST,
    ) -> SamplePool:
        """Take in frames one after the other.

        Args:
            samples: Clip index, the samples of one of its frames (R of them), and which of these
                are labelled already, (R,) bool; those are left out.
            most: The most samples kept: beyond it the least uncertain ones go, frame by frame, so
                that memory does not grow with the clip.

        Raises:
            ValueError: A frame's arrays are of two lengths.
        """
        pool = cls._empty()
        waiting: list[SamplePool] = []
        count = 0
        for clip, frame, labelled in samples:
            if labelled.shape != (len(frame),):
                raise ValueError(
                    f"frame {frame.frame} has {len(frame)} samples, but {labelled.shape} say"
                    " which are labelled"
                )
            waiting.append(cls._of_frame(clip, frame, np.flatnonzero(~labelled)))
            count += len(waiting[-1])
            if count > most:
                pool = cls._joined([pool, *waiting])._most_uncertain(most)
                waiting, count = [], 0
        return cls._joined([pool, *waiting])._most_uncertain(most)

    def subset(self, indices: NDArray[np.intp]) -> SamplePool:
        """The samples at `indices`, in that order."""
        return SamplePool(
            self.clips[indices],
            self.frames[indices],
            self.numbers[indices],
            self.uncertainty[indices],
            self.clicks[indices],
            self.features[indices],
        )

    def candidates(self, labelled: Mapping[int, Sequence[int]] | None = None) -> Candidates:
        """What a strategy sees of them; `labelled` are the labelled frames of each clip."""
        return Candidates(
            uncertainty=self.uncertainty,
            features=self.features,
            positions=self.frames,
            clips=self.clips,
            labelled=labelled or {},
            clicks=self.clicks,
        )

    @classmethod
    def _empty(cls) -> SamplePool:
        whole, real = np.zeros(0, np.int64), np.zeros(0, np.float64)
        return cls(whole, whole, whole, real, real, np.zeros((0, 0), np.float32))

    @classmethod
    def _of_frame(cls, clip: int, frame: FrameSamples, kept: NDArray[np.intp]) -> SamplePool:
        return cls(
            np.full(len(kept), clip, np.int64),
            np.full(len(kept), frame.frame, np.int64),
            kept.astype(np.int64),
            frame.uncertainty[kept],
            frame.clicks[kept].astype(np.float64),
            frame.features[kept],
        )

    @classmethod
    def _joined(cls, parts: list[SamplePool]) -> SamplePool:
        """One pool; features of clips whose networks differ get the width of the widest."""
        parts = [part for part in parts if len(part)] or [cls._empty()]
        width = max(part.features.shape[1] for part in parts)
        features = [
            np.pad(part.features, ((0, 0), (0, width - part.features.shape[1]))) for part in parts
        ]
        return cls(
            np.concatenate([part.clips for part in parts]),
            np.concatenate([part.frames for part in parts]),
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.uncertainty for part in parts]),
            np.concatenate([part.clicks for part in parts]),
            np.concatenate(features),
        )

    def _most_uncertain(self, most: int) -> SamplePool:
        if len(self) <= most:
            return self
        falling = np.argsort(-rankable(self.uncertainty), kind="stable")
        return self.subset(np.sort(falling[:most]))


def sample_strategy(strategy: str) -> str:
    """The strategy that chooses samples where this one is set: `hvsa` for those that see frames
    only (`reach`, `uniform`), else itself."""
    return "hvsa" if strategy in _BY_FRAME else strategy


def choose_samples(
    pool: SamplePool, strategy: str, budget: int, seed: int = 0
) -> dict[tuple[int, int], list[int]]:
    """Choose samples from a pool, by HVSA's two steps or as another strategy does.

    Args:
        pool: What there is.
        strategy: Name in `selection.strategies`; see `sample_strategy`.
        budget: How many samples to choose, ≥ 0.
        seed: Of the choice.

    Returns:
        Numbers of the chosen samples, best first, by (clip, frame); the frames whose samples were
        chosen first come first.

    Raises:
        ValueError: No such strategy, or `budget` is negative.

    Example:
        >>> choose_samples(SamplePool.gather([]), "hvsa", 5)
        {}
    """
    if not len(pool):
        return {}
    picked = get_strategy(sample_strategy(strategy)).select(pool.candidates(), budget, seed)
    chosen: dict[tuple[int, int], list[int]] = {}
    for index in picked.tolist():
        place = (int(pool.clips[index]), int(pool.frames[index]))
        chosen.setdefault(place, []).append(int(pool.numbers[index]))
    return chosen


def labelled_samples(
    partition: NDArray[np.integer], label: NDArray[np.uint8] | None, share: float = 0.5
) -> NDArray[np.bool_]:
    """Which samples of a frame are labelled already.

    Args:
        partition: (H, W) sample numbers, 0 to R − 1.
        label: (H, W) uint8, 255 = unknown; None where the frame has no label.
        share: A sample counts as labelled where more than this share of its pixels are known.

    Returns:
        (R,) bool.

    Raises:
        ValueError: The label is of another size.
    """
    count = int(partition.max()) + 1
    if label is None:
        return np.zeros(count, dtype=bool)
    if label.shape != partition.shape:
        raise ValueError(
            f"the label must be {partition.shape}, as the partition; got {label.shape}"
        )
    pixels = np.bincount(partition.ravel(), minlength=count)
    known = np.bincount(partition.ravel(), weights=(label != _VOID).ravel(), minlength=count)
    return np.asarray(known > share * pixels)


def answered(
    granularity: Granularity,
    partition: NDArray[np.integer],
    chosen: Collection[int],
    truth: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """What a person answers who is asked for these samples of a frame.

    Frames and rectangles are drawn pixel by pixel. A super-pixel gets one class, that of most of
    its pixels, so where it crosses a boundary its answer is wrong in part (HVSA).

    Args:
        granularity: What a sample is.
        partition: (H, W) sample numbers.
        chosen: Numbers of the samples.
        truth: (H, W) uint8, 255 = void.

    Returns:
        (H, W) uint8, 255 outside of the samples; to be laid over what was labelled before.

    Raises:
        ValueError: The truth is of another size.
    """
    if truth.shape != partition.shape:
        raise ValueError(
            f"the truth must be {partition.shape}, as the partition; got {truth.shape}"
        )
    asked = query_mask(partition, chosen)
    if granularity.kind != "superpixel":
        return np.where(asked, truth, np.uint8(_VOID))
    votes = np.zeros((int(partition.max()) + 1, 256), np.int64)
    np.add.at(votes, (partition[asked], truth[asked]), 1)
    return np.where(asked, votes.argmax(axis=1).astype(np.uint8)[partition], np.uint8(_VOID))
