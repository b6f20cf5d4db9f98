import numpy as np
import pytest

from model.keyframes import KeyFrame, check_keys, lab
from model.warp import identity_map

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def _prepare(mask, classes=3) -> KeyFrame:
    return KeyFrame.prepare(4, np.asarray(mask, np.uint8), IMAGE, classes)


def test_keys_come_back_in_frame_order():
    mask = np.zeros((6, 8), np.uint8)
    assert list(check_keys({5: mask, 1: mask, 3: mask}, 2, 9)) == [1, 3, 5]


def test_a_fully_labelled_key_frame():
    mask = np.random.default_rng(1).integers(0, 3, (6, 8), dtype=np.uint8)
    key = _prepare(mask)
    assert key.index == 4
    assert key.trust is None
    assert key.labelled.all()
    np.testing.assert_array_equal(key.onehot.argmax(axis=2), mask)
    np.testing.assert_array_equal(key.onehot.sum(axis=2, dtype=int), 255)
    np.testing.assert_array_equal(key.lab, lab(IMAGE))


def test_ignored_pixels_take_the_nearest_class_and_less_trust_the_further_off():
    mask = np.full((6, 8), 255, np.uint8)
    mask[:, 0] = 1
    mask[:, 7] = 2
    key = _prepare(mask)
    np.testing.assert_array_equal(key.mask[2], [1, 1, 1, 1, 2, 2, 2, 2])
    assert (key.trust[:, [0, 7]] == 1).all()
    assert (np.diff(key.trust[2, :4]) < 0).all()
    assert 0 < key.trust.min() < 1


def test_warping_by_half_a_pixel_mixes_classes():
    mask = np.zeros((6, 8), np.uint8)
    mask[:, 4:] = 2
    warped = _prepare(mask).warp(identity_map(6, 8) + np.float32([0.5, 0]))
    assert warped.shape == (3, 6, 8)
    np.testing.assert_allclose(warped.sum(axis=0), 1, atol=0.005)
    np.testing.assert_allclose(warped[2, 0], [0, 0, 0, 0.5, 1, 1, 1, 1], atol=0.005)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255)])
def test_lab_of_grey_has_no_colour(colour):
    out = lab(np.full((2, 2, 3), colour, np.uint8))
    assert (out[..., 1:] == 128).all()
