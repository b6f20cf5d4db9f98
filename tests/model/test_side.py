import cv2
import numpy as np

from model.chain import Chain
from model.keyframes import KeyFrame, lab
from model.side import Joined, Side, Way, colour_similarity
from model.warp import identity_map

HEIGHT, WIDTH = 24, 32


def _image(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    image = generator.integers(100, 140, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return cv2.GaussianBlur(image, (0, 0), 1.5)


def test_likeness_is_that_of_the_plain_formula():
    frame, other = lab(_image(0)), lab(_image(1))
    squares = (frame.astype(np.float64) - other) ** 2
    squares = squares @ [0.5 * (100 / 255) ** 2, 1, 1]
    padded = np.pad(squares, 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    expected = np.exp(-windows.mean(axis=(2, 3)) / (2 * 6**2))
    assert expected.min() < 0.9
    np.testing.assert_allclose(colour_similarity(frame, other, 6), expected, rtol=1e-5)


def _way(value: float, likeness: float, left: float) -> Way:
    """A way of some trust in the left part of the frame, and half as much in the right one."""
    trusted = np.full((HEIGHT, WIDTH), value * left, np.float32)
    trusted[:, WIDTH // 2 :] = value * (1.5 - left)
    return Way(
        positions=identity_map(HEIGHT, WIDTH) + np.float32(value),
        trusted=trusted,
        warped=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        classes=np.zeros((HEIGHT, WIDTH), np.uint8),
        likeness=np.full((HEIGHT, WIDTH), likeness, np.float32),
    )


def _key() -> KeyFrame:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[8:16, 8:16] = 1
    return KeyFrame.prepare(0, mask, _image(0), 2)


def test_of_two_ways_each_pixel_takes_the_one_of_higher_confidence():
    one, two = _way(0.8, 0.5, 1.0), _way(0.6, 0.7, 0.5)
    joined = Joined.of([one, two])
    middle = WIDTH // 2
    for array in ("positions", "trusted", "likeness"):
        found = getattr(joined, array)
        np.testing.assert_array_equal(found[:, :middle], getattr(one, array)[:, :middle])
        np.testing.assert_array_equal(found[:, middle:], getattr(two, array)[:, middle:])
    side = Side(_key(), (one, two))
    np.testing.assert_array_equal(side.confidence, joined.trusted * joined.likeness)


def test_of_equal_ways_it_is_the_first():
    one, two = _way(0.5, 0.5, 1.0), _way(0.5, 0.5, 1.0)
    two.positions[:] += 1
    np.testing.assert_array_equal(Joined.of([one, two]).positions, one.positions)


def test_a_way_knows_what_is_at_its_end():
    key = _key()
    chain = Chain.start(0, (HEIGHT, WIDTH))
    way = Way.of(key, chain, key.lab, 6)
    np.testing.assert_array_equal(way.classes, key.mask)
    np.testing.assert_array_equal(way.warped, key.lab)
    np.testing.assert_array_equal(way.confidence, 1)
    values = np.zeros((HEIGHT, WIDTH), np.float32)
    values[4:20, 4:20] = 0.25
    assert way.mean_at_outlines(values) == np.float32(0.25)
    nothing = KeyFrame.prepare(0, np.zeros((HEIGHT, WIDTH), np.uint8), _image(0), 2)
    assert Way.of(nothing, chain, key.lab, 6).mean_at_outlines(values) == 1


def test_labels_that_are_not_to_be_trusted_make_no_way_trusted():
    key = _key()
    mask = key.mask.copy()
    mask[:, 16:] = 255
    part = KeyFrame.prepare(0, mask, key.image, 2)
    way = Way.of(part, Chain.start(0, (HEIGHT, WIDTH)), key.lab, 6)
    np.testing.assert_array_equal(way.trusted[:, :16], 1)
    assert (way.trusted[:, 24:] < 0.5).all()
