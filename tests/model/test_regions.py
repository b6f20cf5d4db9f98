from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.blend import FrameResult
from model.colours import Colours
from model.regions import regions_of
from tests.model.drifting import Drifting


@pytest.fixture(scope="module")
def clip():
    return Drifting()


def _result(mask):
    probabilities = (mask == np.arange(3)[:, None, None]).astype(np.float32)
    return FrameResult(4, probabilities, np.ones(mask.shape, np.float32), False)


def _regions(clip, mask, predicted):
    keys = {**clip.keys(0, 8), 4: mask}
    return list(regions_of(mask, _result(predicted), Colours(keys, clip)))


def test_labels_that_prediction_and_colours_confirm_give_no_region(clip):
    mask = clip.mask(4)
    assert _regions(clip, mask, mask) == []


def _box(inside):
    rows, columns = np.nonzero(inside)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_a_region_of_one_label_that_is_predicted_as_another(clip):
    mask = clip.mask(4)
    region, *_ = _regions(clip, mask, np.where(mask == 1, np.uint8(2), mask))
    assert (region.box, region.label, region.whole) == (_box(mask == 1), 1, True)
    assert region.inside.sum() == (mask == 1).sum()


def test_what_is_confirmed_but_by_a_guess_is_looked_at(clip):
    mask = clip.mask(4)
    keys = {**clip.keys(0, 8), 4: mask}
    guess = replace(_result(mask), confidence=np.zeros(mask.shape, np.float32))
    labels = [region.label for region in regions_of(mask, guess, Colours(keys, clip))]
    assert sorted(labels) == [0, 1, 2]


def test_a_wrong_region_that_became_one_with_what_is_around_has_the_predictions_outline(clip):
    truth = clip.mask(4)
    wrong = np.where(truth == 1, np.uint8(0), truth)
    regions = [region for region in _regions(clip, wrong, truth) if region.whole]
    assert (_box(truth == 1), 0) in [(region.box, region.label) for region in regions]


def test_a_prediction_that_flow_has_lost_leaves_the_colours(clip):
    """The square is called what is around it, and predicted as that too."""
    truth = clip.mask(4)
    lost = np.where(truth == 1, np.uint8(0), truth)
    regions = _regions(clip, lost, lost)
    off = [np.abs(np.array(region.box) - _box(truth == 1)).max() for region in regions]
    (region,) = [region for region, by in zip(regions, off, strict=True) if by <= 6]
    assert region.label == 0
    assert not region.whole


def test_void_and_slivers_are_no_regions(clip):
    mask = clip.mask(4)
    predicted = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    void = mask.copy()
    void[mask == 1] = 255
    assert _regions(clip, mask, predicted) == []
    assert all(region.label != 255 for region in _regions(clip, void, predicted))
