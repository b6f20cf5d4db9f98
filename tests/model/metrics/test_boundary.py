"""Boundary IoU against bands counted by hand."""

import numpy as np
import pytest

from model.metrics.boundary import boundary_band, boundary_counts


def square(shape=(20, 20), top=5, left=5, side=10):
    region = np.zeros(shape, bool)
    region[top : top + side, left : left + side] = True
    return region


def test_the_band_of_a_square():
    band = boundary_band(square(), 2)
    # A 10 × 10 square less its 6 × 6 core.
    assert band.sum() == 100 - 36
    assert band[5, 5]
    assert band[6, 6]
    assert not band[7, 7]
    assert not band[4, 5]


def test_the_images_border_is_no_boundary():
    assert boundary_band(np.ones((8, 8), bool), 2).sum() == 0
    half = np.zeros((8, 8), bool)
    half[:, :4] = True
    assert boundary_band(half, 2).sum() == 2 * 8


def test_a_shift_by_hand():
    truth = square((20, 30)).astype(np.uint8)
    ours = square((20, 30), left=7).astype(np.uint8)
    counts = boundary_counts(truth, ours, 2)
    # Class 1. Rings of 64 pixels each, columns 5–14 and 7–16. In the 4 rows of either end: 8 shared
    # columns each; in the 6 rows between, truth has 5, 6, 13, 14 and ours 7, 8, 15, 16: none.
    assert counts[0, 1] == 4 * 8
    assert counts[1, 1] == 64 + 64 - 32
    # Class 0. Each band is the square grown by 2 all round, less the square: 14² − 10² = 96.
    outer = np.zeros((20, 30), bool)
    outer[3:17, 3:17] = True
    band = outer & ~truth.astype(bool)
    moved = np.roll(band, 2, axis=1)
    assert band.sum() == 96
    assert counts[0, 0] == (band & moved).sum()
    assert counts[1, 0] == (band | moved).sum()


def test_itself():
    mask = square().astype(np.uint8)
    shared, union = boundary_counts(mask, mask, 2)
    np.testing.assert_array_equal(shared, union)
    assert (union > 0).all()


def test_void_is_counted_in_neither():
    truth, ours = square().astype(np.uint8), square(left=6).astype(np.uint8)
    truth[:, 10:] = 255
    elsewhere = ours.copy()
    elsewhere[:, 10:] = 0
    np.testing.assert_array_equal(
        boundary_counts(truth, ours, 2), boundary_counts(truth, elsewhere, 2)
    )
    assert boundary_counts(np.full_like(truth, 255), ours, 2).sum() == 0


def test_a_wider_band_forgives_more():
    truth, ours = square().astype(np.uint8), square(left=6).astype(np.uint8)
    near, wide = (boundary_counts(truth, ours, 2, distance=d)[:, 1] for d in (1, 3))
    assert near[0] / near[1] < wide[0] / wide[1]


def test_refuses_no_distance():
    with pytest.raises(ValueError, match="distance must be 1 pixel or more, not 0"):
        boundary_band(square(), 0)
