"""How good propagated masks are, without ground truth.

Every frame has a *soft IoU*: the IoU to expect were its probabilities right. They are surer than
they ought to be, by an amount that a simple law tells; and that law is set right for the clip at
hand by VSPW's reverse test (Miao et al., CVPR 2021, section on comparing propagators): each key
frame is predicted from the *other* key frames and scored against its own label.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.blend import FrameResult
from model.clip import FrameSource
from model.flow import FlowEstimator
from model.keyframes import IGNORE, check_keys
from model.settings import PropagationSettings
from model.signals import Overlap, Signals, law_of, log_odds, squash
from model.walk import Walk

if TYPE_CHECKING:  # It would load torch.
    from model.refine import Refinement

__all__ = [
    "Calibration",
    "QualityEstimate",
    "reverse_test",
]

_FIRMNESS = 0.5
"""Held-out key frames that the laws, which know of no clip, weigh as much as."""

_LENT = 0.3
"""Share of what is learnt beyond the key frames that is believed between them."""

_WHOLE = 0.5
"""Least share of labelled pixels for which a key frame counts as labelled."""

_LABELLED = 0.1
"""Least share of labelled pixels for which a key frame is predicted from the others."""


def reverse_test(
    source: FrameSource,
    keys: Mapping[int, NDArray[np.uint8]],
    num_classes: int,
    *,
    flow: FlowEstimator,
    settings: PropagationSettings | None = None,
    refinement: Refinement | None = None,
    indices: Collection[int] | None = None,
) -> Iterator[FrameResult]:
    """Predict each key frame from the other key frames.

    Args:
        source: The clip.
        keys: Frame index → (H, W) uint8 mask, 255 = ignore.
        num_classes: K.
        flow: The flow estimator.
        settings: How sources are weighed.
        refinement: Puts right what comes of that, as in `model.propagate.propagate`.
        indices: The key frames to predict; None for all.

    Yields:
        The prediction of each key frame, in order; nothing where fewer than two are labelled.

    Raises:
        ValueError: As `model.propagate.propagate`.
    """
    masks = check_keys(keys, num_classes, len(source))
    if len(masks) < 2:
        return
    settings = settings or PropagationSettings()
    improve = None if refinement is None else partial(_refined, refinement)
    for index, mask in masks.items():
        if (mask != IGNORE).mean() < _LABELLED or (indices is not None and index not in indices):
            continue
        others = {other: mask for other, mask in masks.items() if other != index}
        walk = Walk(source, others, num_classes, flow, settings, improve)
        yield from walk.frames({index})


def _refined(refinement: Refinement, result: FrameResult) -> FrameResult:
    return replace(refinement(result), clues=None, propagated=result.probabilities)


def _as_propagated(result: FrameResult) -> FrameResult:
    """What the laws go by.

    A network's word makes probabilities softer and masks better, and the reverse test has to do
    without it, as the network has seen the key frames. So what is expected is expected of
    propagation, and with a network's help a little too little.
    """
    if result.propagated is None:
        return result
    return replace(result, probabilities=result.propagated)


@dataclass(frozen=True)
class Calibration:
    """What the reverse test says about the laws: by how much they are off on this clip.

    Attributes:
        keys: The labelled frames.
        between: Added to the log-odds of the error of frames between two key frames.
        beyond: The same with key frames on one side only.
        held_out: Key frame → the mIoU of its prediction from the others.
    """

    keys: tuple[int, ...] = ()
    between: float = 0.0
    beyond: float = 0.0
    held_out: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, predictions: Iterable[FrameResult], keys: Mapping[int, NDArray[np.uint8]]
    ) -> Calibration:
        """Compare the predictions of `reverse_test` with the labels of these key frames.

        The means of the differences are shrunk towards none, the more the fewer there are. The
        two outermost key frames are predicted from one side and teach about frames beyond; where
        there is no other, they teach a little about those between as well.
        """
        held_out = {}
        off: dict[bool, list[float]] = {True: [], False: []}
        for result in predictions:
            truth = keys[result.index]
            signals = Signals.of(_as_propagated(result), keys, truth != IGNORE)
            real = Overlap.actual(truth, result.mask, len(result.probabilities)).mean_iou()
            held_out[result.index] = real
            error = float(log_odds(np.array(1 - real)))
            off[signals.beyond].append(error - law_of(signals).odds(signals))
        beyond = sum(off[True]) / (len(off[True]) + _FIRMNESS)
        inner = off[False]
        between = (sum(inner) + _FIRMNESS * _LENT * beyond) / (len(inner) + _FIRMNESS)
        return cls(tuple(sorted(keys)), between, beyond, held_out)

    def odds(self, signals: Signals) -> float:
        """Log-odds of the error to expect of a frame of this clip."""
        return law_of(signals).odds(signals) + (self.beyond if signals.beyond else self.between)


class QualityEstimate:
    """Expected quality of a clip's unlabelled frames, gathered as results come.

    Args:
        calibration: From the reverse test, or what names the key frames until that is done;
            without any, all frames count as between key frames.

    Attributes:
        calibration: May be set at any time; all that was added follows.
    """

    def __init__(self, calibration: Calibration | None = None) -> None:
        self.calibration = calibration or Calibration()
        self._seen: dict[int, tuple[Signals, Overlap] | None] = {}

    def add(self, result: FrameResult) -> float:
        """Take in a frame's result; return the mIoU to expect of it, 0 to 1."""
        is_key = result.is_key or result.index in self.calibration.keys
        if is_key and (result.confidence >= 1).mean() >= _WHOLE:
            self._seen[result.index] = None
            return 1.0
        result = _as_propagated(result)
        soft = Overlap.expected(result.probabilities)
        signals = Signals.from_overlap(result, self.calibration.keys, soft, None)
        self._seen[result.index] = signals, soft
        return self._expected(signals)

    @property
    def frames(self) -> dict[int, float]:
        """Frame index → mIoU to expect, of the frames added so far; 1.0 for key frames."""
        return {
            index: 1.0 if seen is None else self._expected(seen[0])
            for index, seen in self._seen.items()
        }

    @property
    def mean_iou(self) -> float:
        """The mIoU to expect over all unlabelled frames added; 1.0 where there was none."""
        overlaps = [
            soft.shifted(self.calibration.odds(signals) - signals.error)
            for signals, soft in filter(None, self._seen.values())
        ]
        if not overlaps:
            return 1.0
        total = overlaps[0]
        for overlap in overlaps[1:]:
            total = total + overlap
        return total.mean_iou()

    def _expected(self, signals: Signals) -> float:
        return 1 - float(squash(np.array(self.calibration.odds(signals))))
