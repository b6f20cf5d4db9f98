import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.warp import compose, identity_map, inside, sample


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 1), (7, 9, 3), (7, 9, 4), (7, 9, 11)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_identity_changes_nothing(shape, dtype, interpolation):
    array = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    out = sample(array, identity_map(7, 9), interpolation)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, array)


@pytest.mark.parametrize("channels", [2, 6])
def test_bilinear_halfway_is_the_mean_of_the_neighbours(channels):
    array = np.random.default_rng(1).random((5, 6, channels)).astype(np.float32)
    positions = identity_map(5, 6) + np.float32([0.5, 0])
    out = sample(array, positions)
    np.testing.assert_allclose(out[:, :-1], (array[:, :-1] + array[:, 1:]) / 2, atol=1e-5)
    np.testing.assert_allclose(out[:, -1], array[:, -1], atol=1e-5)


@pytest.mark.parametrize("channels", [1, 9])
def test_nearest_takes_one_pixel_and_keeps_classes(channels):
    array = np.random.default_rng(2).integers(0, 9, (8, 8, channels)).astype(np.uint8)
    out = sample(array, identity_map(8, 8) + np.float32([1.3, -0.4]), "nearest")
    np.testing.assert_array_equal(out[:, :-1], array[:, 1:])


def test_bool_stays_bool():
    array = np.eye(6, dtype=bool)
    out = sample(array, identity_map(6, 6) + np.float32([1, 0]))
    assert out.dtype == bool
    np.testing.assert_array_equal(out[:, :-1], array[:, 1:])


def test_beyond_the_border_is_the_border():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    far = identity_map(3, 4) + np.float32([1000, -1000])
    np.testing.assert_array_equal(sample(array, far), np.full((3, 4), array[0, -1]))


@given(
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
)
def test_translations_compose_by_addition(first, then):
    identity = identity_map(9, 11)
    out = compose(identity + np.float32(first), identity + np.float32(then))
    np.testing.assert_allclose(out - identity, np.broadcast_to(np.add(first, then), out.shape))


def test_compose_is_sampling_twice():
    generator = np.random.default_rng(3)
    identity = identity_map(16, 16)
    first = identity + generator.uniform(-1, 1, (16, 16, 2)).astype(np.float32)
    ramp = np.stack(np.meshgrid(np.arange(16), np.arange(16)), -1).astype(np.float32)
    then = identity + np.float32(0.1) * ramp
    inner = (slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(compose(first, then)[inner], 1.1 * first[inner], atol=0.02)


def test_inside():
    positions = np.float32([[[0, 0], [4, 2], [-0.1, 0], [4.1, 0], [0, 2.1]]])
    np.testing.assert_array_equal(inside(positions, 3, 5), [[True, True, False, False, False]])


def test_the_identity_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        identity_map(3, 3)[0, 0] = 1


@pytest.mark.parametrize(
    ("array", "positions", "interpolation", "message"),
    [
        (np.zeros((3, 3)), np.zeros((3, 3, 2)), "cubic", "'bilinear' or 'nearest'"),
        (np.zeros((3, 3)), np.zeros((3, 3)), "nearest", "positions must be"),
        (np.zeros(3), np.zeros((3, 3, 2)), "nearest", "array must be"),
    ],
)
def test_refuses_wrong_input(array, positions, interpolation, message):
    with pytest.raises(ValueError, match=message):
        sample(array, positions, interpolation)


def test_the_border_is_inside_and_what_is_beyond_is_not():
    x, y = np.meshgrid(np.float32([-0.01, 0, 2.5, 6, 6.01]), np.float32([-0.01, 0, 4, 4.01]))
    out = inside(np.stack([x, y], axis=-1), 5, 7)
    expected = np.outer([False, True, True, False], [False, True, True, True, False])
    np.testing.assert_array_equal(out, expected)
    assert out.dtype == np.bool_
