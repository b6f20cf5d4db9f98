import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selection.uncertainty import (
    MEASURES,
    NonFiniteWarning,
    entropy,
    least_confidence,
    margin,
    normalise,
    rankable,
    reduce,
)


def pixel(*values):
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())
class TestMeasureContract:
    def test_certain_is_zero_and_uniform_is_one(self, measure):
        assert measure(pixel(0, 1, 0, 0)).item() == 0.0
        assert measure(pixel(0.25, 0.25, 0.25, 0.25)).item() == pytest.approx(1.0, abs=1e-6)

    def test_less_sure_is_more_uncertain(self, measure):
        values = [measure(pixel(p, 1 - p)).item() for p in (1.0, 0.9, 0.7, 0.5)]
        assert values == sorted(values)
        assert len(set(values)) == 4

    def test_shape_dtype_and_range(self, measure):
        raw = np.random.default_rng(0).random((5, 7, 9)).astype(np.float32) ** 8
        out = measure(raw / raw.sum(axis=0))
        assert out.shape == (7, 9)
        assert out.dtype == np.float32
        assert out.min() >= 0
        assert out.max() <= 1

    def test_one_class_is_never_uncertain(self, measure):
        assert measure(np.ones((1, 2, 2), dtype=np.float32)).tolist() == [[0, 0], [0, 0]]

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_non_finite_becomes_nan_in_that_pixel_only(self, measure, bad):
        probabilities = np.full((2, 1, 2), 0.5, dtype=np.float32)
        probabilities[0, 0, 1] = bad
        out = measure(probabilities)
        assert np.isfinite(out[0, 0])
        assert np.isnan(out[0, 1])

    @pytest.mark.parametrize("broken", [np.nan, np.inf])
    def test_a_broken_pixel_breaks_no_other(self, measure, broken):
        p = np.zeros((3, 4, 4), dtype=np.float32)
        p[0] = 1.0
        p[1, 2, 3] = broken
        out = measure(p)
        assert np.argwhere(~np.isfinite(out)).tolist() == [[2, 3]]
        assert np.nansum(out) == 0

    def test_wrong_shape_says_what_came(self, measure):
        with pytest.raises(ValueError, match=r"\(K, H, W\).*\(4, 4\)"):
            measure(np.zeros((4, 4), dtype=np.float32))


def test_hand_worked_values():
    p = pixel(0.5, 0.25, 0.25)
    bits = 0.5 * np.log(2) + 2 * 0.25 * np.log(4)
    assert entropy(p).item() == pytest.approx(bits / np.log(3))
    assert margin(p).item() == pytest.approx(0.75)
    assert least_confidence(p).item() == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({}, 0.5),
        ({"top": 0.25}, 1.0),
        ({"top": 0.5}, 0.75),
        ({"top": 1e-9}, 1.0),
        ({"ignore": np.array([[False, True], [False, False]])}, 1 / 3),
        ({"ignore": np.ones((2, 2), dtype=bool)}, 0.0),
    ],
)
def test_reduce(kwargs, expected):
    values = np.array([[0.0, 1.0], [0.5, 0.5]], dtype=np.float32)
    assert reduce(values, **kwargs) == pytest.approx(expected)


def test_reduce_is_nan_only_where_a_counting_pixel_is():
    values = np.array([0.2, np.nan, 0.4])
    assert np.isnan(reduce(values))
    assert reduce(values, ignore=np.isnan(values)) == pytest.approx(0.3)


@pytest.mark.parametrize("top", [0, -1, 1.5, np.nan])
def test_reduce_refuses_a_share_outside(top):
    with pytest.raises(ValueError, match="share"):
        reduce(np.zeros(3), top=top)


def test_reduce_refuses_another_shape():
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        reduce(np.zeros(3), ignore=np.zeros(2, dtype=bool))


@given(arrays(np.float64, st.integers(0, 30)))
def test_normalise_spans_the_unit_interval_and_keeps_the_order(values):
    out = normalise(values)
    finite = np.isfinite(values)
    assert np.array_equal(np.isfinite(out), finite)
    kept = out[finite]
    if kept.size:
        assert kept.min() == 0
        assert kept.max() == (1 if values[finite].min() < values[finite].max() else 0)
        by_value = np.argsort(values[finite], kind="stable")
        assert (np.diff(kept[by_value]) >= 0).all()


def test_rankable_puts_the_broken_last_and_says_so():
    with pytest.warns(NonFiniteWarning, match=r"2 of 4 .*first at 1.*ranked last"):
        out = rankable([0.3, np.nan, 0.9, np.inf])
    assert np.argsort(-out, kind="stable").tolist() == [2, 0, 1, 3]


def test_rankable_is_silent_and_leaves_its_input_alone():
    values = np.array([0.3, 0.1])
    assert rankable(values).tolist() == [0.3, 0.1]
    with pytest.raises(ValueError, match=r"\(N,\)"):
        rankable(np.zeros((2, 2)))
