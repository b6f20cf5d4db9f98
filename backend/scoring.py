"""Scores a clip's masks as they come, and keeps a few pictures of them for the report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from model.benchmark import LabelledClip
from model.flow import FlowEstimator, get_flow
from model.metrics import (
    FrameCounts,
    Scores,
    TemporalConsistency,
    VideoConsistency,
    measure_frame,
)
from model.metrics.regions import VOID
from model.propagate import FrameResult

__all__ = ["ClipScorer", "FrameScore", "MeasuredFrame", "Picture", "Values", "measured"]

Values = dict[str, float | None]
"""Scores by name."""

_FLOW = "dis"
"""The flow that temporal consistency is measured along, whatever the method uses."""

_WINDOWS = (8, 16)
_EVENLY, _WORST = 4, 2
_WIDTH = 360


@dataclass(frozen=True)
class FrameScore:
    """How good one frame is: its own mIoU, and whether a person labelled it."""

    index: int
    is_key: bool
    miou: float | None


@dataclass(frozen=True)
class MeasuredFrame:
    """A frame's masks, measured against the truth.

    Attributes:
        index: The frame.
        mask: (H, W) uint8, the most probable class.
        counts: What it adds to the scores.
        settled: Whether a person labelled all of it but what is void.
    """

    index: int
    mask: npt.NDArray[np.uint8]
    counts: FrameCounts
    settled: bool


def measured(
    result: FrameResult, truth: npt.NDArray[np.uint8], class_names: Sequence[str]
) -> MeasuredFrame:
    """Measure a frame against its true mask (H, W) uint8, 255 = void."""
    mask = result.mask
    return MeasuredFrame(
        result.index,
        mask,
        measure_frame(truth, mask, class_names),
        bool((result.confidence[truth != VOID] >= 1).all()),
    )


@dataclass(frozen=True)
class Picture:
    """A frame made small for the report: image (h, w, 3), truth and prediction (h, w), uint8."""

    index: int
    miou: float | None
    image: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]
    predicted: npt.NDArray[np.uint8]
    why: str


@dataclass
class ClipScorer:
    """Takes in the frames of a clip, in order, and scores them.

    Args:
        clip: The clip and its truth.
        keys: Frames that are labelled, all or in part; only the former count as labelled.
        pictures: Whether to keep pictures: some at even distances, and the worst.
        follow: Whether to measure temporal consistency, which needs flow between all neighbours
            and takes longer than all else; its score is None otherwise.
    """

    clip: LabelledClip
    keys: Collection[int]
    pictures: bool = False
    follow: bool = True
    frames: list[FrameScore] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.clip.class_names)
        self._unlabelled, self._all = Scores(), Scores()
        self._tc = TemporalConsistency(count)
        self._vc = [VideoConsistency(window) for window in _WINDOWS]
        self._flow: FlowEstimator = get_flow(_FLOW)
        self._before: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None = None
        unlabelled = sorted(set(range(len(self.clip))) - set(self.keys))
        places = np.linspace(0, len(unlabelled) - 1, _EVENLY + 2)[1:-1].round().astype(int)
        self._wanted = {unlabelled[place] for place in places} if unlabelled else set()
        self._even: list[Picture] = []
        self._worst: list[Picture] = []

    def add(self, result: FrameResult, truth: npt.NDArray[np.uint8]) -> None:
        """Take in the next frame, with its true mask (H, W) uint8, 255 = void."""
        self.take(measured(result, truth, self.clip.class_names), truth)

    def take(self, frame: MeasuredFrame, truth: npt.NDArray[np.uint8]) -> None:
        """Take in the next frame, measured already."""
        predicted, counts = frame.mask, frame.counts
        self._all.add(counts)
        # Void is labelled by nobody; a frame of which all else is labelled is so as a whole.
        is_key = frame.index in self.keys and frame.settled
        if not is_key:
            self._unlabelled.add(counts)
        self.frames.append(FrameScore(frame.index, is_key, counts.miou))
        for vc in self._vc:
            vc.update(truth, predicted)
        shown = self.pictures and not is_key
        if self.follow or shown:
            image = self.clip.source.read(frame.index)
            if self.follow:
                self._follow(image, predicted, truth)
            if shown:
                self._keep(frame.index, counts.miou, image, truth, predicted)

    def unlabelled(self) -> Values | None:
        """Scores over the frames that nobody labelled; None where there are none."""
        return self._unlabelled.values() or None

    def all(self) -> Values:
        """Scores over every frame, and those that need consecutive frames: tc, vc8, vc16."""
        over_time = {f"vc{vc.window}": vc.value() for vc in self._vc}
        return {**self._all.values(), "tc": self._tc.value(), **over_time}

    def shown(self) -> list[Picture]:
        """The pictures kept, in the clip's order."""
        kept = {picture.index: picture for picture in (*self._even, *self._worst)}
        return [kept[index] for index in sorted(kept)]

    def _follow(
        self,
        image: npt.NDArray[np.uint8],
        predicted: npt.NDArray[np.uint8],
        truth: npt.NDArray[np.uint8],
    ) -> None:
        if self._before is not None:
            last_image, last_mask = self._before
            backward = self._flow.flow(image, last_image)
            forward = self._flow.flow(last_image, image)
            self._tc.update(last_mask, predicted, backward, forward, truth == VOID)
        self._before = (image, predicted)

    def _keep(
        self,
        index: int,
        miou: float | None,
        image: npt.NDArray[np.uint8],
        truth: npt.NDArray[np.uint8],
        predicted: npt.NDArray[np.uint8],
    ) -> None:
        is_bad = miou is not None and (
            len(self._worst) < _WORST or miou < max(p.miou or 0.0 for p in self._worst)
        )
        if index not in self._wanted and not is_bad:
            return
        height, width = truth.shape
        size = (min(width, _WIDTH), max(1, round(height * min(1.0, _WIDTH / width))))
        picture = Picture(
            index,
            miou,
            np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8),
            np.asarray(cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST), np.uint8),
            np.asarray(cv2.resize(predicted, size, interpolation=cv2.INTER_NEAREST), np.uint8),
            "among the worst" if is_bad else "",
        )
        if index in self._wanted:
            self._even.append(replace(picture, why=""))
        if is_bad:
            self._worst.append(picture)
            self._worst = sorted(self._worst, key=lambda kept: kept.miou or 0.0)[:_WORST]
