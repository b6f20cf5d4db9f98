"""All measures together over a set of frames."""

import numpy as np
import pytest

from model.metrics import Scores, measure_frame
from model.synthetic import render_clip

NAMES = ("background", "ball", "box")
NUMBERS = {"miou", "pixel_accuracy", "class_accuracy", "weighted_iou", "boundary_iou"}


def halves(split):
    mask = np.zeros((20, 20), np.uint8)
    mask[:, split:] = 1
    return mask


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_the_truth_scores_one_on_everything(difficulty):
    clip = render_clip(5, (160, 120), 2, difficulty)
    scores = Scores()
    for index in range(5):
        scores.add(measure_frame(clip.mask(index), clip.mask(index), clip.class_names))
    values = scores.values()
    assert values.keys() == NUMBERS | {"j", "f"}
    assert all(value == 1.0 for value in values.values())


def test_no_objects_without_a_background():
    scores = Scores()
    scores.add(measure_frame(halves(10), halves(10), ("sky", "road")))
    assert scores.values().keys() == NUMBERS


def test_j_is_the_mean_over_frames_and_then_objects():
    scores = Scores()
    scores.add(measure_frame(halves(10), halves(15), NAMES))
    scores.add(measure_frame(halves(10), halves(10), NAMES))
    # ball: ½ and 1; box occurs in neither mask, so 1 and 1. mIoU does not count box.
    assert scores.values()["j"] == pytest.approx((0.75 + 1.0) / 2)
    assert scores.values()["miou"] == pytest.approx((20 / 25 + 15 / 20) / 2)


def test_one_frames_own_miou():
    assert measure_frame(halves(10), halves(15), NAMES).miou == pytest.approx((10 / 15 + 0.5) / 2)


def test_no_frames_no_scores():
    assert Scores().values() == {}


def test_all_void_has_no_score_but_no_error():
    scores = Scores()
    scores.add(measure_frame(np.full((4, 4), 255, np.uint8), halves(2)[:4, :4], ("sky", "road")))
    assert all(value is None for value in scores.values().values())
