import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.ranking import lead, most_probable


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_as_argmax_and_the_two_highest(count, seed):
    levels = np.random.default_rng(seed).integers(0, 4, (count, 5, 7))
    probabilities = (levels / 3).astype(np.float32)
    out = most_probable(probabilities)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, probabilities.argmax(axis=0))
    if count > 1:
        ranked = np.sort(probabilities, axis=0)
        np.testing.assert_array_equal(lead(probabilities), ranked[-1] - ranked[-2])


@pytest.mark.parametrize("ask", [lead, most_probable])
def test_what_is_asked_about_stays_as_it_is(ask):
    probabilities = np.random.default_rng(0).random((3, 4, 5), np.float32)
    before = probabilities.copy()
    ask(probabilities)
    np.testing.assert_array_equal(probabilities, before)


def test_one_class_leads_by_all():
    np.testing.assert_array_equal(lead(np.full((1, 2, 3), 0.4, np.float32)), 1)
