"""Key frames predicted from the others, and the weight of evidence that follows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.blend import FrameResult
from model.flow import DISFlow
from model.heldout import HeldOut, evidence_weight, hold_out
from model.settings import PropagationSettings
from tests.model.moving import MovingClip

FLOW = DISFlow()


class Oracle:
    """Knows the truth, or its opposite; remembers what it was asked."""

    def __init__(self, clip: MovingClip, right: bool = True) -> None:
        self.clip, self.right = clip, right
        self.asked: list[int] = []

    def __call__(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.asked.append(index)
        mask = self.clip.mask(index) if self.right else (self.clip.mask(index) + 1) % 3
        return (mask == np.arange(3)[:, None, None]).astype(np.float32)


def _held_out(clip: MovingClip, indices: tuple[int, ...], *keys: int, oracle: Oracle | None = None):
    labels = {index: clip.mask(index) for index in keys}
    return list(hold_out(clip, labels, 3, indices, flow=FLOW, evidence=oracle))


def test_a_frame_is_predicted_from_the_others_alone():
    clip = MovingClip()
    (record,) = _held_out(clip, (6,), 0, 6, 11)
    assert (record.result.index, record.result.is_key, record.evidence) == (6, False, None)
    np.testing.assert_array_equal(record.truth, clip.mask(6))
    assert 0.5 < np.mean(record.result.mask == record.truth) < 1


def test_evidence_that_is_right_gets_weight_and_wrong_evidence_none():
    clip, settings = MovingClip(), PropagationSettings()
    right = _held_out(clip, (4, 8), 0, 4, 8, 11, oracle=Oracle(clip))
    wrong = _held_out(clip, (4, 8), 0, 4, 8, 11, oracle=Oracle(clip, right=False))
    assert evidence_weight(right, 3, settings) > 0
    assert evidence_weight(wrong, 3, settings) == 0
    assert evidence_weight([], 3, settings) == 0


def _doubtful(right: bool) -> HeldOut:
    """Half of a frame is wrong by a hair; a quarter of the evidence's weight would put it right."""
    truth = np.zeros((8, 8), np.uint8)
    truth[4:] = 1
    wrong = np.where(truth == 1, 0.55, 0.6).astype(np.float32)
    result = FrameResult(3, np.stack([wrong, 1 - wrong]), np.zeros((8, 8), np.float32), False)
    said = truth if right else 1 - truth
    return HeldOut(result, (said == np.arange(2)[:, None, None]).astype(np.float32), truth)


@pytest.mark.parametrize(("frames", "weight"), [(1, 0.5), (3, 0.375), (9, 0.3)])
def test_the_fewer_frames_judge_the_nearer_is_the_weight_to_the_usual_one(frames, weight):
    settings = PropagationSettings()
    assert evidence_weight([_doubtful(True)] * frames, 2, settings) == pytest.approx(weight)
    assert evidence_weight([_doubtful(False)] * frames, 2, settings) == 0


def _level(harm: float) -> HeldOut:
    """Propagation has a tenth of a frame wrong; evidence that too, and a share of the rest."""
    truth = np.zeros((10, 100), np.uint8)
    truth[5:] = 1
    said = truth.copy()
    said[0] = 1
    here = np.where(said == np.arange(2)[:, None, None], 0.7, 0.3).astype(np.float32)
    said[5, : round(harm * truth.size)] = 0
    result = FrameResult(3, here, np.zeros(truth.shape, np.float32), False)
    return HeldOut(result, (said == np.arange(2)[:, None, None]).astype(np.float32), truth)


def test_evidence_that_is_level_gets_what_few_frames_leave_of_the_usual_weight():
    settings = PropagationSettings()
    assert evidence_weight([_level(0.002)], 2, settings) == pytest.approx(0.375)
    assert evidence_weight([_level(0.002)] * 3, 2, settings) == pytest.approx(0.1875)
    assert evidence_weight([_level(0.02)], 2, settings) == 0


def test_only_the_held_out_frames_are_asked():
    clip = MovingClip()
    oracle = Oracle(clip)
    _held_out(clip, (8,), 0, 4, 8, 11, oracle=oracle)
    assert oracle.asked == [8]


def test_one_key_frame_says_nothing():
    assert _held_out(MovingClip(), (4,), 4) == []


def test_a_frame_without_a_label_cannot_be_held_out():
    with pytest.raises(ValueError, match="frame 5 is to be held out but is not labelled"):
        _held_out(MovingClip(), (5,), 0, 4)
