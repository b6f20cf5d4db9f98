"""TC and VC against cases worked by hand, and on a clip whose flow is exact."""

import numpy as np
import pytest

from model.metrics.temporal import TemporalConsistency, VideoConsistency
from model.synthetic import render_clip


def flow(dx, dy=0.0, shape=(8, 8)):
    return np.broadcast_to(np.array([dx, dy], np.float32), (*shape, 2)).copy()


def bar(column, shape=(8, 8)):
    mask = np.zeros(shape, np.uint8)
    mask[:, column] = 1
    return mask


class TestTemporalConsistency:
    def test_a_mask_that_follows_the_motion(self):
        tc = TemporalConsistency(2)
        assert tc.value() is None
        tc.update(bar(3), bar(4), flow(-1), flow(1))
        assert tc.value() == 1.0

    def test_a_mask_that_stays_behind_by_hand(self):
        tc = TemporalConsistency(2)
        tc.update(bar(3), bar(3), flow(-1), flow(1))
        # The first column came from outside and is ignored: 7 × 8 pixels count. Warped, the bar
        # is in column 4: of class 1, 0 of 16 agree; of class 0, 5 columns of 7.
        assert tc.value() == pytest.approx((0 + 5 / 7) / 2)

    def test_accumulated_over_the_clip(self):
        tc = TemporalConsistency(2)
        tc.update(bar(3), bar(3), flow(-1), flow(1))
        tc.update(bar(3), bar(4), flow(-1), flow(1))
        assert tc.value() == pytest.approx((8 / 24 + 11 / 13) / 2)

    def test_what_fails_the_check_is_ignored(self):
        tc = TemporalConsistency(2)
        tc.update(bar(3), bar(6), flow(-4), flow(-4))
        assert tc.value() is None

    def test_void_is_ignored(self):
        tc = TemporalConsistency(2)
        void = np.ones((8, 8), bool)
        void[:, 5:] = False
        tc.update(bar(3), bar(3), flow(0), flow(0), void)
        tc.update(bar(3), bar(2), flow(0), flow(0), void)
        assert tc.value() == 1.0

    def test_half_a_pixel_is_no_disagreement_a_whole_one_is(self):
        half, whole = TemporalConsistency(2), TemporalConsistency(2)
        half.update(bar(3), bar(4), flow(-0.5), flow(0.5))
        whole.update(bar(3), bar(5), flow(-0.5), flow(0.5))
        assert half.value() == 1.0
        assert whole.value() < 0.7

    @pytest.mark.parametrize("difficulty", ["easy", "hard"])
    def test_the_truth_is_consistent_with_exact_flow(self, difficulty):
        clip = render_clip(4, (160, 120), 0, difficulty)
        tc = TemporalConsistency(len(clip.class_names))
        for index in range(3):
            tc.update(
                clip.mask(index),
                clip.mask(index + 1),
                clip.flow(index + 1, index),
                clip.flow(index),
                ~clip.visible(index + 1, index),
            )
        assert tc.value() == pytest.approx(1.0, abs=1e-4)


class TestVideoConsistency:
    def test_by_hand(self):
        truth = np.array([[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 1, 1]], np.uint8)
        ours = np.array([[0, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 1]], np.uint8)
        vc = VideoConsistency(2)
        for t, o in zip(truth, ours, strict=True):
            vc.update(t[None], o[None])
        # Frames 0–1: pixels 0, 1, 2 keep their class, 0 and 2 are right throughout.
        # Frames 1–2: the same three, 0 and 1 are right throughout.
        assert vc.value() == pytest.approx((2 / 3 + 2 / 3) / 2)

    def test_windows_are_averaged_not_their_pixels(self):
        vc = VideoConsistency(2)
        for truth, ours in (([0, 0, 0, 0],) * 2, ([0, 0, 0, 1], [1, 0, 0, 1]), ([1, 1, 1, 1],) * 2):
            vc.update(np.array([truth], np.uint8), np.array([ours], np.uint8))
        # First window: 3 still, 2 right. Second: 1 still, 1 right.
        assert vc.value() == pytest.approx((2 / 3 + 1) / 2)

    def test_no_value_before_a_window_is_full(self):
        vc = VideoConsistency(3)
        mask = np.zeros((2, 2), np.uint8)
        for expected in (None, None, 1.0, 1.0):
            vc.update(mask, mask)
            assert vc.value() == expected

    def test_a_window_in_which_nothing_stays_is_left_out(self):
        vc = VideoConsistency(2)
        for value in (0, 1, 0):
            vc.update(np.full((2, 2), value, np.uint8), np.zeros((2, 2), np.uint8))
        assert vc.value() is None

    def test_void_breaks_the_window(self):
        vc = VideoConsistency(2)
        for truth in ([0, 0], [255, 0], [0, 0]):
            vc.update(np.array([truth], np.uint8), np.array([[1, 0]], np.uint8))
        assert vc.value() == 1.0

    def test_the_caller_may_reuse_its_arrays(self):
        fresh, reused, buffer = VideoConsistency(2), VideoConsistency(2), np.zeros((2, 2), np.uint8)
        ours = np.zeros((2, 2), np.uint8)
        for value in (0, 1, 1):
            buffer[:] = value
            reused.update(buffer, ours)
            fresh.update(np.full((2, 2), value, np.uint8), ours)
        assert reused.value() == fresh.value() == 0.0

    def test_memory_does_not_grow(self):
        vc = VideoConsistency(16)
        sizes = set()
        rng = np.random.default_rng(0)
        for _ in range(40):
            mask = rng.integers(0, 2, (8, 8), np.uint8)
            vc.update(mask, mask)
            sizes.add(sum(v.nbytes for v in vars(vc).values() if isinstance(v, np.ndarray)))
        assert len(sizes) == 1

    def test_refuses(self):
        with pytest.raises(ValueError, match="a window is at least 1 frame, not 0"):
            VideoConsistency(0)
        with pytest.raises(ValueError, match="must be of one size"):
            VideoConsistency(2).update(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
