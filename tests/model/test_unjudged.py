from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.flow import get_flow
from model.presets import FinetuneSettings
from model.unjudged import agreement, planned_for_few, unjudged_weight
from tests.model.moving import MovingClip


class _Oracle:
    """Says what is in the clip's frames, `off` frames too late; remembers what it was asked."""

    def __init__(self, clip: MovingClip, off: int = 0) -> None:
        self.clip = clip
        self.off = off
        self.asked: list[int] = []

    def __call__(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert image.shape == (48, 64, 3)
        self.asked.append(index)
        mask = self.clip.mask(max(0, index - self.off))
        onehot: NDArray[np.float32] = (mask == np.arange(3)[:, None, None]).astype(np.float32)
        return onehot


def _agreement(clip: MovingClip, evidence: _Oracle, *keys: int, **rest: object) -> float | None:
    masks = {index: clip.mask(index) for index in keys}
    return agreement(
        clip,
        masks,
        3,
        evidence,
        flow=get_flow("dis"),
        max_pixels=10**6,
        **rest,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("keys", [(0,), (11,), (4,), (2, 9)])
def test_a_network_that_is_right_agrees_and_one_that_lags_does_not(keys: tuple[int, ...]) -> None:
    clip = MovingClip()
    right, late = _agreement(clip, _Oracle(clip), *keys), _agreement(clip, _Oracle(clip, 4), *keys)
    assert right is not None
    assert late is not None
    assert right > 0.9
    assert late < right - 0.1


def test_the_key_frames_themselves_tell_nothing() -> None:
    clip = MovingClip()
    oracle = _Oracle(clip)
    _agreement(clip, oracle, 0, 5)
    assert oracle.asked
    assert not {0, 5} & set(oracle.asked)


def test_a_clip_of_one_frame_tells_nothing() -> None:
    clip = MovingClip(frames=1)
    assert _agreement(clip, _Oracle(clip), 0) is None


def test_without_time_nothing_is_known() -> None:
    clip = MovingClip()
    assert _agreement(clip, _Oracle(clip), 0, enough=lambda: True) is None


def test_frames_are_reduced_for_the_comparison() -> None:
    clip = MovingClip(size=(96, 128))
    sizes = set()

    def evidence(index: int, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.add(image.shape)
        return np.full((3, *image.shape[:2]), 1 / 3, np.float32)

    masks = {0: clip.mask(0)}
    agreement(clip, masks, 3, evidence, flow=get_flow("dis"), max_pixels=48 * 64)
    assert sizes == {(48, 64, 3)}


def test_the_weight_rises_with_the_agreement() -> None:
    weights = [unjudged_weight(agreed) for agreed in (None, 0.0, 0.5, 0.6, 0.7, 0.8, 1.0)]
    assert weights[:3] == [0.0, 0.0, 0.0]
    assert weights[2] < weights[3] < weights[4] < weights[5]
    assert weights[5] == weights[6] < 1


def test_with_few_labels_time_is_left_for_weighing_and_balance_is_kept() -> None:
    planned = planned_for_few(FinetuneSettings(seconds=50.0, balance_taken_back=0.5, epochs=7))
    assert 40.0 < planned.seconds < 50.0
    assert (planned.balance_taken_back, planned.epochs) == (0.0, 7)
