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

    def __len__(self):
        return len(self._frames)

    def read(self, index):
        return self._frames[index]


HALVES = np.repeat(np.uint8([[0, 1]]), 40, axis=1).repeat(40, axis=0)
LEFT = (slice(0, 40), slice(0, 40))


def _compare(first, second, labels=HALVES, expected=1, labelled=0):
    """The left half of the second frame, against the classes of the first."""
    colours = Colours(1, [0], {0: labels, 1: HALVES}, Frames(first, second))
    return colours.compare(LEFT, np.ones((40, 40), bool), expected, labelled)


def test_a_region_of_the_expected_colour_fits_wholly():
    assert _compare(_frame(RED, GREEN), _frame(GREEN, GREEN)) == pytest.approx((1.0, 1.0))


def test_a_region_of_the_labelled_colour_does_not_fit():
    closer, alike = _compare(_frame(RED, GREEN), _frame(RED, GREEN))
    assert (closer, alike) == pytest.approx((0.0, 0.0), abs=0.01)


def test_a_new_colour_is_not_alike():
    _, alike = _compare(_frame(RED, GREEN), _frame(BLUE, GREEN))
    assert alike < 0.05


def test_a_slightly_other_colour_is_still_alike():
    _, alike = _compare(_frame(RED, GREEN), _frame((30, 190, 38), GREEN))
    assert alike > 0.3


def test_where_the_labelled_class_is_not_seen_only_likeness_tells():
    ones = np.ones((40, 80), np.uint8)
    closer, alike = _compare(_frame(RED, GREEN), _frame(GREEN, GREEN), labels=ones)
    assert closer == 1.0
    assert alike > 0.2


def test_where_the_expected_class_is_not_seen_nothing_fits():
    zeros = np.zeros((40, 80), np.uint8)
    assert _compare(_frame(RED, GREEN), _frame(GREEN, GREEN), labels=zeros) == (0.0, 0.0)
