"""How good propagated masks are, without ground truth.

Every frame has a *soft IoU*: the IoU to expect were its probabilities right. They are surer than
they ought to be, by an amount that a simple law tells; and that law is set right for the clip at
hand by VSPW's reverse test (Miao et al., CVPR 2021, section on comparing propagators): each key
frame is predicted from the *other* key frames and scored against its own label. Beyond the key
frames, where nobody disagrees with what is propagated, a network that learnt the clip is a second
opinion.
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
from model.signals import Overlap, Signals, dissent_odds, law_of, log_odds, squash
from model.walk import Walk, others_about

if TYPE_CHECKING:  # It would load torch.
    from model.refine import Refinement

__all__ = [
    "Calibration",
    "QualityEstimate",
    "as_propagated",
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
    improve = None
    if refinement is None or refinement.share == 0:
        settings = replace(settings, refine=None)  # What refinement goes by is not asked for.
    else:
        improve = partial(_refined, refinement)
    for index, mask in masks.items():
        if (mask != IGNORE).mean() < _LABELLED or (indices is not None and index not in indices):
            continue
        others = others_about(masks, index)
        walk = Walk(source, others, num_classes, flow, settings, improve)
        yield from walk.frames({index})


def _refined(refinement: Refinement, result: FrameResult) -> FrameResult:
    return replace(refinement(result), clues=None, propagated=result.probabilities)


def as_propagated(result: FrameResult) -> FrameResult:
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
        keys = {index: mask for index, mask in keys.items() if (mask != IGNORE).any()}
        held_out = {}
        off: dict[bool, list[float]] = {True: [], False: []}
        for result in predictions:
            truth = keys[result.index]
            signals = Signals.of(as_propagated(result), keys, truth != IGNORE)
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

    def by_dissent(self, signals: Iterable[Signals]) -> float:
        """What a network's word adds to the log-odds of the error of frames beyond key frames.

        How much it contradicts, on the mean over these frames, is a second opinion on the clip's
        level. The law is the first, and each outermost key frame that was predicted from the
        others another; all weigh alike. It says nothing about single frames: what the network
        corrected is propagated further, and so the two agree on some frames where both are wrong.

        Args:
            signals: Of the clip's frames; those between key frames, and those without a word, do
                not count.
        """
        gaps = [
            dissent_odds(seen.dissent) - self.odds(seen)
            for seen in signals
            if seen.beyond and seen.dissent is not None
        ]
        if not gaps:
            return 0.0
        ends = {self.keys[0], self.keys[-1]} & set(self.held_out)
        return sum(gaps) / len(gaps) / (2 + len(ends))


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

    def add(self, result: FrameResult) -> None:
        """Take in a frame's result."""
        is_key = result.is_key or result.index in self.calibration.keys
        if is_key and (result.confidence >= 1).mean() >= _WHOLE:
            self._seen[result.index] = None
            return
        result = as_propagated(result)
        soft = Overlap.expected(result.probabilities)
        signals = Signals.from_overlap(result, self.calibration.keys, soft, None)
        self._seen[result.index] = signals, soft

    @property
    def frames(self) -> dict[int, float]:
        """Frame index → mIoU to expect, of the frames added so far; 1.0 for key frames.

        Beyond the key frames it changes with each frame that is added: take it in the end.
        """
        errors = self._errors()
        return {index: 1 - errors.get(index, 0.0) for index in self._seen}

    @property
    def mean_iou(self) -> float:
        """The mIoU to expect over all unlabelled frames added; 1.0 where there was none.

        Each frame's classes are made as wrong as the frame is expected to be before the clip's
        unions are added up, since mIoU is of classes.
        """
        total: Overlap | None = None
        errors = self._errors()
        for index, seen in self._seen.items():
            if seen is not None:
                overlap = seen[1].with_error(errors[index])
                total = overlap if total is None else total + overlap
        return 1.0 if total is None else total.mean_iou()

    def _errors(self) -> dict[int, float]:
        """Frame index → 1 − mIoU to expect, of the unlabelled frames."""
        unlabelled = {index: seen[0] for index, seen in self._seen.items() if seen is not None}
        more = self.calibration.by_dissent(unlabelled.values())
        odds = [
            self.calibration.odds(seen) + (more if seen.beyond else 0.0)
            for seen in unlabelled.values()
        ]
        return dict(zip(unlabelled, squash(np.array(odds)).tolist(), strict=True))
