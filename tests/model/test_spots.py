from itertools import product

import cv2
import numpy as np
import pytest

from model.blend import FrameResult
from model.flow import DISFlow
from model.quality import reverse_test
from model.spots import Spot, SpotFinder, SpotLaw, find_spots
from tests.model.drifting import HEIGHT, WIDTH, Drifting


@pytest.fixture(scope="module")
def clip() -> Drifting:
    return Drifting()


def _spots(clip, keys) -> list[Spot]:
    return find_spots(reverse_test(clip, keys, 3, flow=DISFlow()), keys, clip)


def test_consistent_key_frames_have_no_spots(clip):
    assert _spots(clip, clip.keys(0, 4, 8, 12)) == []


@pytest.mark.parametrize(("frame", "label"), list(product((0, 4, 8, 12), (1, 2))))
def test_a_swapped_label_is_named_with_frame_region_and_classes(clip, frame, label):
    keys = clip.keys(0, 4, 8, 12)
    region = keys[frame] == label
    keys[frame][region] = 3 - label
    (spot,) = _spots(clip, keys)
    rows, columns = np.nonzero(region)
    assert spot.frame == frame
    assert (spot.labelled, spot.expected) == (3 - label, label)
    assert spot.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert spot.pixels == region.sum()


def test_a_key_frame_without_any_label_changes_nothing(clip):
    keys = clip.keys(0, 4, 8, 12)
    keys[4][keys[4] == 1] = 2
    expected = _spots(clip, keys)
    assert len(expected) == 1
    nothing = np.full((HEIGHT, WIDTH), 255, np.uint8)
    assert _spots(clip, {**keys, 2: nothing, 6: nothing}) == expected


def test_a_small_difference_at_an_outline_is_no_spot(clip):
    keys = clip.keys(0, 4, 8, 12)
    keys[4] = cv2.dilate(keys[4], np.ones((5, 5), np.uint8))
    assert _spots(clip, keys) == []


def spots_of(result, keys, clip, law=None) -> list[Spot]:
    finder = SpotFinder(keys, clip, law)
    finder.add(result)
    return finder.spots()


def _predicted(mask, confidence):
    probabilities = (mask == np.arange(3)[:, None, None]).astype(np.float32)
    return FrameResult(4, probabilities, np.full(mask.shape, confidence, np.float32), False)


def test_a_thing_that_looks_like_nothing_around_is_no_spot(clip):
    """The neighbours say 'background', but it is something that only this frame shows."""

    class Passing(Drifting):
        def read(self, index):
            image = super().read(index)
            if index == 4:
                image[60:80, 4:24] = (0, 255, 0)
            return image

    passing, keys = Passing(), clip.keys(0, 4, 8)
    background = _predicted(keys[4], confidence=0.0)
    keys[4][60:80, 4:24] = 1
    assert spots_of(background, keys, passing) == []
    (spot,) = spots_of(background, keys, clip)
    assert (spot.box, spot.labelled, spot.expected) == ((4, 60, 24, 80), 1, 0)


class Framed(Drifting):
    """The same in the corner of a frame four times as wide and high."""

    def read(self, index):
        image = np.zeros((4 * HEIGHT, 4 * WIDTH, 3), np.uint8)
        image[:HEIGHT, :WIDTH] = super().read(index)
        return image

    def mask(self, index):
        mask = np.zeros((4 * HEIGHT, 4 * WIDTH), np.uint8)
        mask[:HEIGHT, :WIDTH] = super().mask(index)
        return mask


@pytest.mark.parametrize(("side", "found"), [(13, 0), (26, 1)])
def test_the_smallest_regions_are_not_told(side, found):
    clip = Framed()
    keys = clip.keys(0, 4, 8)
    predicted = _predicted(keys[4], 0.5)
    keys[4][60 : 60 + side, 2 : 2 + side] = 1
    assert len(spots_of(predicted, keys, clip)) == found


def test_a_region_that_flow_has_lost_is_told_by_its_colours(clip):
    """It is predicted as it is labelled, without any confidence."""
    keys = clip.keys(0, 4, 8)
    square = keys[4] == 1
    keys[4][square] = 2
    (spot,) = spots_of(_predicted(keys[4], confidence=0.0), keys, clip)
    assert (spot.labelled, spot.expected, spot.pixels) == (2, 1, square.sum())
    assert spots_of(_predicted(keys[4], confidence=0.0), keys, clip, SpotLaw(level=-9.0)) == []


def test_what_became_one_with_its_surroundings_is_found(clip):
    """A square called 'background' is no region of its own any more."""
    keys = clip.keys(0, 4, 8)
    square = keys[4] == 1
    keys[4][square] = 0
    (spot,) = _spots(clip, keys)
    assert (spot.frame, spot.labelled, spot.expected) == (4, 0, 1)
    assert spot.pixels == pytest.approx(square.sum(), rel=0.1)


def test_what_became_one_with_a_right_region_is_told_by_itself(clip):
    """It was told as one with the right region, of which it made more than half."""
    keys = clip.keys(0, 4, 8)
    right, wrong = (slice(54, 88), slice(0, 20)), (slice(54, 88), slice(20, 62))
    for mask in keys.values():
        mask[right] = 1
    predicted = _predicted(keys[4], confidence=0.9)
    keys[4][wrong] = 1
    (spot,) = spots_of(predicted, keys, clip)
    assert (spot.box, spot.labelled, spot.expected) == ((20, 54, 62, 88), 1, 0)
    assert spot.share == pytest.approx(1)


def test_a_part_of_a_region_is_found(clip):
    keys = clip.keys(0, 4, 8)
    sure = _predicted(keys[4], confidence=0.9)
    keys[4][10:44, 28:40] = 0  # A third of the first square.
    (spot,) = spots_of(sure, keys, clip)
    assert (spot.box, spot.labelled, spot.expected) == ((28, 10, 40, 44), 0, 1)


def test_close_spots_of_the_same_classes_are_told_as_one(clip):
    keys = clip.keys(0, 4, 8)
    predicted = _predicted(keys[4], confidence=0.9)
    keys[4][60:70, 4:14] = keys[4][60:70, 18:28] = 1
    (spot,) = spots_of(predicted, keys, clip)
    assert (spot.box, spot.pixels) == ((4, 60, 28, 70), 200)


def test_two_key_frames_blame_each_other(clip):
    keys = clip.keys(0, 4)
    keys[4][keys[4] == 1] = 2
    assert {spot.frame for spot in _spots(clip, keys)} == {0, 4}


def test_key_frames_labelled_in_different_places_have_no_spots(clip):
    """As they are where rectangles are asked for: nothing else is known about these places."""
    keys = clip.keys(0, 4)
    keys[0][:, WIDTH // 4 :] = 255
    keys[4][:, : WIDTH // 2 + WIDTH // 4] = 255
    assert _spots(clip, keys) == []
