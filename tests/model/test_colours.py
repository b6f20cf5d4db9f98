import numpy as np
import pytest

from model.colours import Colours

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


def _frame(left, right):
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :40], image[:, 40:] = left, right
    return image


class Frames:
    def __init__(self, *frames):
        self._frames = frames
        self.reads = []

    def __len__(self):
        return len(self._frames)

    def read(self, index):
        self.reads.append(index)
        return self._frames[index]


HALVES = np.repeat(np.uint8([[0, 1]]), 40, axis=1).repeat(40, axis=0)
ZEROS = np.zeros((40, 80), np.uint8)
LEFT = (slice(0, 40), slice(0, 40))
WHOLE = (slice(0, 40), slice(0, 80))
HALF = np.ones((40, 40), bool)


def _fit(first, second, before=HALVES, now=HALVES):
    """Whether the left half of the second frame is class 1 rather than class 0."""
    return Colours({0: before, 1: now}, Frames(first, second)).fits(1, LEFT, HALF, 0)[1]


def test_a_region_of_the_expected_colour_fits_wholly():
    assert _fit(_frame(RED, GREEN), _frame(GREEN, GREEN)) == pytest.approx((3.0, 1.0))


def test_a_region_of_the_labelled_colour_does_not_fit():
    assert _fit(_frame(RED, GREEN), _frame(RED, GREEN)) == pytest.approx((-3.0, 0.0), abs=0.01)


def test_a_new_colour_is_not_alike():
    fit = _fit(_frame(RED, GREEN), _frame(BLUE, GREEN))
    assert fit.alike < 0.05
    assert fit.odds == pytest.approx(0.0, abs=0.01)


def test_a_slightly_other_colour_is_still_alike():
    assert _fit(_frame(RED, GREEN), _frame((30, 190, 38), GREEN)).alike > 0.3


def test_a_colour_that_both_have_says_nothing():
    fit = _fit(_frame(GREEN, GREEN), _frame(GREEN, GREEN))
    assert fit == pytest.approx((0.0, 1.0), abs=0.01)


def test_its_own_frame_shows_what_the_label_looks_like_elsewhere():
    """The other key frame does not have the class that the region is said to be."""
    now = ZEROS.copy()
    now[20:, 40:] = 1
    alone = _fit(_frame(GREEN, GREEN), _frame(GREEN, RED), before=HALVES | 1, now=HALVES)
    assert alone.odds == 3.0  # Nothing else is class 0.
    image = _frame(GREEN, GREEN)
    assert _fit(_frame(RED, RED), image, before=HALVES | 1, now=now).odds < 0


def test_a_class_that_is_hardly_seen_is_left_out():
    few = ZEROS.copy()
    few[0, 75:] = 1
    colours = Colours({0: ZEROS, 1: few}, Frames(_frame(RED, GREEN), _frame(GREEN, GREEN)))
    assert colours.fits(1, LEFT, HALF, 0) == {}


def test_void_pixels_are_no_class():
    void = np.where(HALVES == 0, np.uint8(255), HALVES)
    fit = _fit(_frame(RED, GREEN), _frame(RED, GREEN), before=void)
    assert fit.odds == 3.0


def test_the_nearest_key_frames_are_read_once_and_far_ones_not_at_all():
    frames = Frames(*[_frame(RED, GREEN)] * 9)
    colours = Colours(dict.fromkeys(range(9), HALVES), frames)
    for _ in range(2):
        colours.fits(4, LEFT, HALF, 0)
    assert sorted(frames.reads) == [2, 3, 4, 5, 6]
    colours.fits(5, LEFT, HALF, 0)
    assert sorted(frames.reads) == [2, 3, 4, 5, 6, 7]


def _likelier(first, second, before=HALVES):
    colours = Colours({0: before, 1: ZEROS}, Frames(first, second))
    return colours.likelier(1, WHOLE, np.ones((40, 80), bool), 0)


def test_pixels_that_look_like_another_class_are_told():
    likelier = _likelier(_frame(RED, GREEN), _frame(RED, GREEN))
    assert (likelier[:, :36] == 0).all()
    assert (likelier[:, 44:] == 1).all()


def test_new_colours_and_those_of_both_are_left_as_they_are():
    assert (_likelier(_frame(RED, GREEN), _frame(RED, BLUE)) == 0).all()
    assert (_likelier(_frame(GREEN, GREEN), _frame(GREEN, GREEN)) == 0).all()


def test_a_class_that_no_other_key_frame_has_is_left_as_it_is():
    ones = np.ones((40, 80), np.uint8)
    assert (_likelier(_frame(GREEN, GREEN), _frame(GREEN, GREEN), before=ones) == 0).all()


def test_where_no_class_is_known_about_a_region_there_is_nothing_to_fit():
    keys = {index: np.full((40, 80), 255, np.uint8) for index in (0, 1)}
    keys[0][:10, :10], keys[1][-10:, -10:] = 0, 1
    corner = (slice(0, 10), slice(0, 10))
    colours = Colours(keys, Frames(_frame(RED, RED), _frame(RED, RED)))
    assert colours.fits(0, corner, np.ones((10, 10), bool), 0) == {}
    assert (colours.likelier(0, corner, np.ones((10, 10), bool), 0) == 0).all()
