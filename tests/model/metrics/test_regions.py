"""Region measures against cases worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.metrics.regions import (
    class_accuracy,
    confusion,
    ious,
    mean_iou,
    pixel_accuracy,
    weighted_iou,
)

# Truth: six pixels of class 0, three of 1, one of 2, two void. Right: 5, 2 and 0 of them.
TRUTH = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [1, 2, 255, 255]], np.uint8)
OURS = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 0, 2]], np.uint8)

masks = arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 255]))


def test_confusion_by_hand():
    np.testing.assert_array_equal(
        confusion(TRUTH, OURS, 3), [[5, 1, 0, 0], [1, 2, 0, 0], [0, 1, 0, 0]]
    )


def test_scores_by_hand():
    counts = confusion(TRUTH, OURS, 3)
    np.testing.assert_allclose(ious(counts), [5 / 7, 2 / 5, 0])
    assert mean_iou(counts) == pytest.approx((5 / 7 + 2 / 5) / 3)
    assert pixel_accuracy(counts) == pytest.approx(7 / 10)
    assert class_accuracy(counts) == pytest.approx((5 / 6 + 2 / 3 + 0) / 3)
    assert weighted_iou(counts) == pytest.approx((6 * 5 / 7 + 3 * 2 / 5) / 10)


def test_a_class_that_occurs_nowhere_is_left_out():
    counts = confusion(TRUTH, OURS, 5)
    assert np.isnan(ious(counts)[3:]).all()
    assert mean_iou(counts) == pytest.approx((5 / 7 + 2 / 5) / 3)
    assert class_accuracy(counts) == pytest.approx((5 / 6 + 2 / 3 + 0) / 3)


def test_a_class_that_is_only_predicted_counts_against_the_miou():
    truth = np.zeros((2, 2), np.uint8)
    ours = np.array([[0, 0], [0, 1]], np.uint8)
    counts = confusion(truth, ours, 2)
    assert mean_iou(counts) == pytest.approx((3 / 4 + 0) / 2)
    assert class_accuracy(counts) == pytest.approx(3 / 4)


def test_predicting_no_class_is_wrong():
    truth = np.zeros((1, 4), np.uint8)
    ours = np.array([[0, 0, 255, 7]], np.uint8)
    counts = confusion(truth, ours, 2)
    assert (pixel_accuracy(counts), mean_iou(counts)) == (0.5, 0.5)


def test_accumulated_over_frames_before_the_mean():
    small, large = np.zeros((1, 2), np.uint8), np.zeros((1, 8), np.uint8)
    wrong = np.ones((1, 2), np.uint8)
    counts = confusion(small, wrong, 2) + confusion(large, large, 2)
    assert mean_iou(counts) == pytest.approx((8 / 10 + 0 / 2) / 2)


def test_nothing_counted_has_no_score():
    void = np.full((2, 2), 255, np.uint8)
    counts = confusion(void, OURS[:2, :2], 3)
    for score in (mean_iou, pixel_accuracy, class_accuracy, weighted_iou):
        assert score(counts) is None


@given(masks, masks)
def test_void_never_counts(truth, ours):
    void = truth == 255
    changed = np.where(void, np.uint8(2), ours)
    np.testing.assert_array_equal(confusion(truth, ours, 3), confusion(truth, changed, 3))
    assert confusion(truth, ours, 3).sum() == (~void).sum()


@given(masks, masks)
def test_scores_are_shares_and_one_for_the_truth_itself(truth, ours):
    counts, perfect = confusion(truth, ours, 3), confusion(truth, truth, 3)
    for score in (mean_iou, pixel_accuracy, class_accuracy, weighted_iou):
        if score(counts) is not None:
            assert 0 <= score(counts) <= 1
            assert score(perfect) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("truth", "ours", "sentence"),
    [
        (TRUTH, OURS[:2], "must be of one size"),
        (TRUTH.astype(int), OURS, r"the truth must be \(H, W\) uint8, not .* int64"),
        (TRUTH, OURS[None], r"the prediction must be \(H, W\) uint8"),
        (np.full_like(TRUTH, 3), OURS, "the truth names class 3, but there are 3 classes, 0 to 2"),
    ],
)
def test_refuses(truth, ours, sentence):
    with pytest.raises(ValueError, match=sentence):
        confusion(truth, ours, 3)
