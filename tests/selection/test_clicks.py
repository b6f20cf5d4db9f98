"""What labelling costs: shapes whose corners can be counted."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selection.clicks import (
    VOID,
    boundary_clicks,
    correction_clicks,
    drawn_by_hand,
    rectangle_clicks,
)

masks = arrays(np.uint8, (12, 16), elements=st.sampled_from([0, 1, 2, 255]))


def blank():
    return np.zeros((40, 60), np.uint8)


def square(mask, top, left, side, label=1):
    mask[top : top + side, left : left + side] = label
    return mask


class TestFrame:
    def test_a_square_has_four_corners(self):
        assert boundary_clicks(square(blank(), 5, 5, 20), free={0}) == 4

    def test_each_component_of_each_class_counts(self):
        mask = square(square(square(blank(), 5, 5, 8), 5, 30, 8), 20, 5, 8, label=2)
        assert boundary_clicks(mask, free={0}) == 12

    def test_a_hole_is_drawn_too(self):
        mask = square(square(blank(), 5, 5, 24), 10, 10, 10, label=0)
        # The outer square, and the hole: OpenCV follows it over the pixels around, whose corners
        # are cut, so that the polygon may have up to 8.
        assert 4 + 4 <= boundary_clicks(mask, free={0}) <= 4 + 8

    def test_the_background_counts_where_it_is_not_free(self):
        mask = square(blank(), 5, 5, 20)
        assert boundary_clicks(mask) > boundary_clicks(mask, free={0})

    def test_a_long_straight_side_costs_no_more_than_a_short_one(self):
        short, long = square(blank(), 5, 5, 6), square(blank(), 5, 5, 30)
        assert boundary_clicks(short, free={0}) == boundary_clicks(long, free={0})

    def test_a_rough_outline_costs_more_than_a_smooth_one(self):
        smooth, rough = square(blank(), 10, 10, 20), square(blank(), 10, 10, 20)
        rough[7:10, 10:30:6] = 1
        assert boundary_clicks(rough, free={0}) > boundary_clicks(smooth, free={0})

    def test_a_roughness_within_the_tolerance_is_free(self):
        mask = square(blank(), 10, 10, 20)
        mask[9, 15:20] = 1
        assert boundary_clicks(mask, free={0}, tolerance=1.5) == 4
        assert boundary_clicks(mask, free={0}, tolerance=0.5) > 4

    def test_a_single_pixel_is_one_click(self):
        assert boundary_clicks(square(blank(), 5, 5, 1), free={0}) == 1

    def test_void_is_not_drawn(self):
        assert boundary_clicks(square(blank(), 5, 5, 20, label=255), free={0}) == 0

    def test_nothing_to_draw(self):
        assert boundary_clicks(blank(), free={0}) == 0


class TestRectangle:
    def test_a_straight_boundary_is_two_clicks_a_side(self):
        mask = blank()
        mask[:, 30:] = 1
        assert rectangle_clicks(mask, (10, 20, 16, 16), free={0}) == 2
        assert rectangle_clicks(mask, (10, 20, 16, 16)) == 4

    def test_one_class_is_one_click(self):
        assert rectangle_clicks(blank(), (0, 0, 16, 16), free={0}) == 1
        assert rectangle_clicks(np.ones_like(blank()), (0, 0, 16, 16)) == 1

    def test_only_the_boundary_inside_counts(self):
        mask = square(blank(), 5, 5, 20)
        assert rectangle_clicks(mask, (0, 0, 40, 60), free={0}) == 4
        # Its upper left corner, and where its two sides leave the rectangle.
        assert rectangle_clicks(mask, (0, 0, 16, 16), free={0}) == 3

    def test_what_lies_outside_the_frame_is_cut_off(self):
        mask = square(blank(), 5, 5, 20)
        assert rectangle_clicks(mask, (-4, -4, 20, 20), free={0}) == 3

    @pytest.mark.parametrize("rectangle", [(40, 0, 16, 16), (0, -16, 16, 16), (0, 0, 0, 5)])
    def test_refuses_one_that_misses_the_frame(self, rectangle):
        with pytest.raises(ValueError, match="does not meet"):
            rectangle_clicks(blank(), rectangle)

    @given(masks)
    def test_never_nothing(self, mask):
        assert rectangle_clicks(mask, (2, 3, 5, 5)) >= 1


class TestCorrection:
    def test_what_is_right_costs_nothing(self):
        mask = square(blank(), 5, 5, 20)
        assert correction_clicks(mask, mask, free={0}) == 0

    def test_a_missing_part_is_drawn(self):
        truth = square(square(blank(), 5, 5, 10), 5, 30, 10)
        truth[25:35, 5:15] = 2
        ours = square(square(blank(), 5, 5, 10), 5, 30, 10)
        assert correction_clicks(truth, ours, free={0}) == 4
        assert boundary_clicks(truth, free={0}) == 12

    def test_too_much_is_taken_away(self):
        truth = square(square(blank(), 5, 5, 10), 5, 30, 10)
        ours = square(truth.copy(), 25, 5, 10)
        assert correction_clicks(truth, ours, free={0}) == 4

    def test_void_needs_no_correction(self):
        truth = square(blank(), 5, 5, 20, label=255)
        ours = square(blank(), 5, 5, 20, label=1)
        assert correction_clicks(truth, ours, free={0}) == 0

    def test_refuses_two_sizes(self):
        with pytest.raises(ValueError, match="must be of one size"):
            correction_clicks(blank(), blank()[:5])

    def test_a_boundary_that_is_off_by_a_pixel_is_left_alone(self):
        truth = square(blank(), 5, 5, 20)
        assert correction_clicks(truth, square(blank(), 6, 5, 20), free={0}) == 0
        assert correction_clicks(truth, square(blank(), 8, 5, 20), free={0}) > 0

    def test_a_thin_thing_that_is_missing_is_not(self):
        truth = blank()
        truth[5:35, 20] = 2
        assert correction_clicks(truth, blank(), free={0}) == 2

    @given(masks, masks)
    def test_never_more_than_drawing_anew_and_none_only_if_right(self, truth, ours):
        cost = correction_clicks(truth, ours, tolerance=0.5)
        assert 0 <= cost <= boundary_clicks(truth, tolerance=0.5)
        assert (cost == 0) == bool(((truth == ours) | (truth == 255)).all())


def test_refuses_what_is_no_mask():
    with pytest.raises(ValueError, match=r"a mask must be \(H, W\) uint8; got \(40, 60\) int64"):
        boundary_clicks(blank().astype(np.int64))


def test_drawn_by_hand_straight_outlines_stay():
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 8:30] = 1
    mask[22:28, 3:9] = 2
    np.testing.assert_array_equal(drawn_by_hand(mask, {0}), mask)


def test_drawn_by_hand_leaves_holes_open():
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 8:30] = 1
    mask[9:15, 12:24] = 0
    drawn = drawn_by_hand(mask, {0})
    assert not drawn[10:14, 13:23].any()
    hole = np.zeros_like(mask)
    hole[8:16, 11:25] = 1
    np.testing.assert_array_equal(drawn[hole == 0], mask[hole == 0])


def test_drawn_by_hand_rounds_off_by_a_pixel_at_most():
    y, x = np.mgrid[:60, :60]
    mask = ((x - 30) ** 2 + (y - 30) ** 2 < 400).astype(np.uint8)
    drawn = drawn_by_hand(mask, {0})
    assert 0 < (drawn != mask).sum() < 0.05 * mask.sum()
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8))
    outer = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    assert (drawn[inner > 0] == 1).all()
    assert (drawn[outer == 0] == 0).all()


def test_drawn_by_hand_keeps_void_and_draws_all_where_nothing_is_free():
    mask = np.full((20, 20), 3, np.uint8)
    mask[:, 10:] = 7
    mask[:5] = VOID
    np.testing.assert_array_equal(drawn_by_hand(mask), mask)
    assert (drawn_by_hand(np.full((4, 4), VOID, np.uint8)) == VOID).all()
