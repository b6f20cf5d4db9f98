import numpy as np
import pytest

from model.features import APPEARANCE_SIZE, appearance, appearance_map


def _image(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((20, 20, 1), np.uint8))


def test_is_of_unit_length_and_deterministic():
    first, second = appearance(_image(0)), appearance(_image(0))
    assert first.shape == (APPEARANCE_SIZE,)
    assert first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(first, second)


def test_a_shifted_frame_is_nearer_than_another_one():
    image = _image(0)
    shifted = np.roll(image, 4, axis=1)
    near = np.linalg.norm(appearance(image) - appearance(shifted))
    far = np.linalg.norm(appearance(image) - appearance(_image(1)))
    assert near < 0.5 * far


def test_size_of_the_frame_does_not_matter():
    image = _image(3)
    twice = np.kron(image, np.ones((2, 2, 1), np.uint8))
    assert np.linalg.norm(appearance(image) - appearance(twice)) < 0.05


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_a_plain_frame_has_finite_features(colour):
    assert np.isfinite(appearance(np.full((5, 7, 3), colour, np.uint8))).all()


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_refuses_what_is_no_frame(shape):
    with pytest.raises(ValueError, match=r"a frame is \(H, W, 3\) uint8"):
        appearance(np.zeros(shape, np.uint8))


def test_the_map_tells_places_apart():
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, 16:] = (255, 0, 0)
    found = appearance_map(image)
    assert found.shape == (6, 3, 4)
    assert found.dtype == np.float32
    assert np.abs(found[:, 0, 0] - found[:, 0, 3]).max() > 0.3
    np.testing.assert_allclose(found[:, 0, 0], found[:, 2, 0], atol=1e-5)
    noisy = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    assert (appearance_map(noisy)[3:] > 0.05).all()
