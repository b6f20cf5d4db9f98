import numpy as np
import pytest

from model.halves import halved, whole


@pytest.mark.parametrize("shape", [(7,), (5, 9), (4, 6, 2), (11, 3, 5)])
def test_numbers_are_rounded_as_numpy_rounds_them(shape):
    generator = np.random.default_rng(0)
    array = generator.normal(0, 1, shape) * 10.0 ** generator.integers(-9, 6, shape)
    array = array.astype(np.float32)
    with np.errstate(over="ignore"):
        expected = array.astype(np.float16)
    out = halved(array)
    assert out.dtype == np.float16
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(whole(out), expected.astype(np.float32))


def test_every_half_comes_back_as_it_was():
    bits = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = bits[np.isfinite(bits)]
    np.testing.assert_array_equal(halved(whole(halves)), halves)
    np.testing.assert_array_equal(whole(halves), halves.astype(np.float32))


def test_what_is_not_in_one_piece():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2]
    np.testing.assert_array_equal(halved(array), array.astype(np.float16))
