from __future__ import annotations

import numpy as np

from model.smaller import SmallerClip, smaller
from tests.model.moving import MovingClip


def test_a_clip_that_is_small_enough_comes_back_as_it_is() -> None:
    clip = MovingClip()
    labels = {3: clip.mask(3)}
    source, masks = smaller(clip, labels, 48 * 64)
    assert source is clip
    assert masks is labels


def test_frames_and_labels_are_reduced_alike() -> None:
    clip = MovingClip()
    source, masks = smaller(clip, {3: clip.mask(3)}, 24 * 32)
    assert isinstance(source, SmallerClip)
    assert len(source) == len(clip)
    mean = clip.read(3).reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(source.read(3) - mean).max() <= 1
    assert np.array_equal(masks[3], clip.mask(3)[1::2, 1::2])


def test_odd_sizes_keep_their_shape_as_far_as_pixels_go() -> None:
    clip = MovingClip(size=(61, 97))
    source, masks = smaller(clip, {0: clip.mask(0)}, 900)
    assert source.read(0).shape == (*masks[0].shape, 3)
    assert masks[0].size <= 900
