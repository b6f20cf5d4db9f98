"""The passes of a simulation: what was worked out once on a clip is not worked out again.

Runs on one clip with other strategies and seeds, and rounds after one another, share most stretches
between two labelled frames. With the method `flow` a stretch whose ends are the same comes out the
same (`model.neighbours`), so its frames' masks and scores are kept: exactly, not nearly.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from backend.evaluation import Stopwatch
from backend.passes import propagated, uncertainty_map
from backend.scoring import MeasuredFrame, measured
from model.benchmark import LabelledClip
from model.neighbours import neighbours
from model.pipeline import ClipAnnotator
from model.propagate import FrameResult, propagate
from selection.clicks import correction_clicks

__all__ = ["PassMemory", "SeenFrame", "seen"]

_BYTES = 256 * 2**20
"""Kept at most, of a clip."""


@dataclass(frozen=True)
class SeenFrame:
    """What a simulation knows of a frame after a pass.

    Attributes:
        frame: Its masks, and how good they are.
        uncertainty: See `backend.passes.FrameSummary`.
        feature: (C,) float32, for diversity; None where it is what it was before any label.
        corrections: Clicks that would correct the mask.
    """

    frame: MeasuredFrame
    uncertainty: float
    feature: npt.NDArray[np.float32] | None
    corrections: int


def seen(
    clip: LabelledClip,
    result: FrameResult,
    free: Collection[int],
    feature: npt.NDArray[np.float32] | None = None,
) -> SeenFrame:
    """Measure a frame of a pass against the truth.

    Args:
        clip: The clip and its truth.
        result: The frame's masks.
        free: Classes that nobody draws.
        feature: Its feature, where that depends on a network.
    """
    truth = clip.masks.read(result.index)
    frame = measured(result, truth, clip.class_names)
    return SeenFrame(
        frame,
        float(uncertainty_map(result).mean()),
        feature,
        correction_clicks(truth, frame.mask, free),
    )


class PassMemory:
    """Passes over one clip whose labels are its true masks; remembers frames of the method `flow`.

    Args:
        limit: The most bytes to keep. What comes after that is worked out anew each time.

    Attributes:
        misses: Frames that were worked out.
    """

    def __init__(self, limit: int = _BYTES) -> None:
        self.misses = 0
        self._room = limit
        self._kept: dict[tuple[int, ...], tuple[bytes, SeenFrame]] = {}

    def frames(
        self,
        annotator: ClipAnnotator,
        clip: LabelledClip,
        labels: Mapping[int, npt.NDArray[np.uint8]],
        free: Collection[int],
        watch: Stopwatch,
    ) -> Iterator[SeenFrame]:
        """Yield every frame of the clip as the labels give it.

        Args:
            annotator: The clip's annotator, fine-tuned where its method wants that.
            clip: The clip and its truth; the same one each time.
            labels: True masks (H, W) of the labelled frames, by index.
            free: Classes that nobody draws.
            watch: Told how long propagation takes; measuring is not counted.
        """
        between = neighbours(labels, len(clip)) if annotator.method == "flow" else None
        if between is None:
            passing = propagated(annotator, clip.source, labels)
            for result, summary in watch.steps("propagate", passing):
                self.misses += 1
                yield seen(clip, result, free, summary.feature)
            return
        places = [(index, *ends) for index, ends in enumerate(between)]
        missing = {place[0] for place in places if place not in self._kept}
        results = propagate(
            clip.source,
            labels,
            annotator.num_classes,
            flow=annotator.flow,
            settings=annotator.propagation,
            wanted=missing,
        )
        fresh = watch.steps("propagate", results)
        for place in places:
            if place[0] in missing:
                self.misses += 1
                frame = seen(clip, next(fresh), free)
                self._keep(place, frame)
                yield frame
            else:
                yield self._known(place)

    def _keep(self, place: tuple[int, ...], frame: SeenFrame) -> None:
        packed = zlib.compress(frame.frame.mask.tobytes(), 1)
        size = len(packed) + frame.frame.counts.confusion.nbytes + 1000
        if size <= self._room:
            self._room -= size
            blank = np.broadcast_to(np.uint8(0), frame.frame.mask.shape)
            empty = replace(frame, frame=replace(frame.frame, mask=blank))
            self._kept[place] = (packed, empty)

    def _known(self, place: tuple[int, ...]) -> SeenFrame:
        packed, frame = self._kept[place]
        mask = np.frombuffer(zlib.decompress(packed), np.uint8)
        full = mask.reshape(frame.frame.mask.shape)
        return replace(frame, frame=replace(frame.frame, mask=full))
