import cv2
import numpy as np
import pytest

from model.keyframes import lab
from model.match import MatchSettings, Source, match
from model.warp import identity_map

HEIGHT, WIDTH = 60, 80


def _image(mask: np.ndarray) -> np.ndarray:
    """Classes in distinct colours, with a little texture."""
    colours = np.array([(60, 90, 60), (200, 60, 50), (60, 80, 210), (220, 220, 90)], np.uint8)
    noise = np.random.default_rng(0).integers(0, 12, (*mask.shape, 3), dtype=np.uint8)
    return lab(colours[mask] + noise)


def _mask(left: int, top: int = 20, label: int = 1) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + 20, left : left + 24] = label
    return mask


def _source(mask: np.ndarray, shift=(0, 0), confidence=1.0, weight=1.0, margin=None) -> Source:
    positions = identity_map(HEIGHT, WIDTH) + np.float32(shift)
    trust = np.full((HEIGHT, WIDTH), confidence, np.float32)
    return Source(mask, margin, _image(mask), positions, trust, weight)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_probabilities_of_a_perfect_warp(count):
    mask = _mask(30)
    out = match(_image(mask), [_source(mask)], count, MatchSettings())
    assert out.shape == (count, HEIGHT, WIDTH)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(out.argmax(axis=0), mask)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("error", [(2, 0), (-3, 1), (0, 5)])
def test_a_warp_that_is_off_by_some_pixels_is_put_right(count, error):
    mask = _mask(30)
    wrong = _source(mask, error, confidence=0.3)
    out = match(_image(mask), [wrong], count, MatchSettings()).argmax(axis=0)
    warped = cv2.warpAffine(mask, np.float32([[1, 0, -error[0]], [0, 1, -error[1]]]), (80, 60))
    assert np.mean(out != mask) < 0.2 * np.mean(warped != mask)


def test_the_less_sure_a_source_the_further_it_looks():
    mask = _mask(30)
    frame = _image(mask)
    errors = [
        np.mean(match(frame, [_source(mask, (6, 0), c)], 2, MatchSettings()).argmax(axis=0) != mask)
        for c in (0.0, 1.0)
    ]
    assert errors[0] < errors[1]


def test_the_surer_and_the_heavier_source_wins():
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)

    def result(**better):
        first, second = _mask(20, label=1), _mask(20, label=2)
        sources = [
            Source(m, None, grey, identity_map(HEIGHT, WIDTH), np.full_like(c, v), w)
            for m, v, w, c in (
                (first, 0.2, 0.2, np.zeros((HEIGHT, WIDTH), np.float32)),
                (
                    second,
                    better.get("c", 0.2),
                    better.get("w", 0.2),
                    np.zeros((HEIGHT, WIDTH), np.float32),
                ),
            )
        ]
        return match(grey, sources, 3, MatchSettings())[:, 30, 30]

    assert result(c=0.9)[2] > 0.6
    assert result(w=0.9)[2] > 0.6
    np.testing.assert_allclose(result()[1:], 0.5, atol=1e-5)


@pytest.mark.parametrize("count", [2, 4])
def test_a_source_without_margin_has_no_say(count):
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    flat = identity_map(HEIGHT, WIDTH)
    sure = np.ones((HEIGHT, WIDTH), np.float32)
    doubtful = Source(_mask(20), np.zeros_like(sure), grey, flat, sure, 1.0)
    other = Source(_mask(60), np.ones_like(sure), grey, flat, sure, 0.01)
    out = match(grey, [doubtful, other], count, MatchSettings()).argmax(axis=0)
    assert out[30, 30] == 0
    assert out[30, 68] == 1


def test_where_nothing_is_contested_the_class_is_certain():
    mask = np.full((HEIGHT, WIDTH), 2, np.uint8)
    out = match(_image(mask), [_source(mask)], 4, MatchSettings())
    np.testing.assert_array_equal(out[2], 1)


def test_one_class_and_a_tiny_image():
    mask = np.zeros((1, 3), np.uint8)
    image = np.zeros((1, 3, 3), np.uint8)
    trust = np.ones((1, 3), np.float32)
    source = Source(mask, None, image, identity_map(1, 3), trust, 1.0)
    np.testing.assert_array_equal(match(image, [source], 1, MatchSettings()), 1)
