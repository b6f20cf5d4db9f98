import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.disagreement import disagreement, temporal_disagreement


def maps(seed, shape=(3, 4, 5)):
    raw = np.random.default_rng(seed).random(shape).astype(np.float32) ** 4
    return raw / raw.sum(axis=0)


@given(st.integers(0, 50))
def test_symmetric_in_range_and_zero_with_itself(seed):
    one, other = maps(seed), maps(seed + 1)
    found = disagreement(one, other)
    assert found.shape == (4, 5)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert np.allclose(found, disagreement(other, one), atol=1e-6)
    assert np.abs(disagreement(one, one)).max() < 1e-6


def test_nothing_shared_is_one_and_a_worked_value():
    one = np.array([1.0, 0.0]).reshape(2, 1, 1)
    assert disagreement(one, one[::-1]).item() == pytest.approx(1.0)
    half = np.array([0.5, 0.5]).reshape(2, 1, 1)
    expected = 0.5 * np.log2(1 / 0.75) + 0.5 * (0.5 * np.log2(0.5 / 0.75) + 0.5 * np.log2(2))
    assert disagreement(one, half).item() == pytest.approx(expected)


def test_a_broken_pixel_is_nan():
    one = maps(0)
    one[1, 2, 3] = np.nan
    found = disagreement(one, maps(1))
    assert np.isnan(found[2, 3])
    assert np.isfinite(found).sum() == found.size - 1


def test_what_moves_with_the_flow_agrees():
    previous = maps(3, (2, 6, 8))
    current = np.roll(previous, 2, axis=2)
    flow = np.zeros((6, 8, 2), dtype=np.float32)
    assert temporal_disagreement(current, previous, flow).mean() > 0.01
    flow[..., 0] = -2
    found = temporal_disagreement(current, previous, flow)
    assert np.abs(found[:, 2:]).max() < 1e-6
    assert (found[:, :2] == 0).all()  # came from outside: unknown


def test_invalid_flow_counts_as_unknown():
    flow = np.zeros((4, 5, 2), dtype=np.float32)
    valid = np.ones((4, 5), dtype=bool)
    valid[0] = False
    flow[1, 1] = np.nan
    found = temporal_disagreement(maps(0), maps(1), flow, valid)
    assert (found[0] == 0).all()
    assert found[1, 1] == 0
    assert (found[2:] > 0).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: disagreement(maps(0), maps(0, (2, 4, 5))),
        lambda: temporal_disagreement(maps(0), maps(1), np.zeros((4, 4, 2))),
        lambda: temporal_disagreement(maps(0), maps(1), np.zeros((4, 5, 2)), np.ones((1, 5), bool)),
    ],
)
def test_shapes_are_checked(call):
    with pytest.raises(ValueError, match="got"):
        call()
