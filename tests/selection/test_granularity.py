from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection import granularity as module
from selection.granularity import Granularity, parse_granularity, partition


def picture(height=24, width=36, seed=0):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (height // 6, width // 6, 3)), np.ones((6, 6, 1))).astype(
        np.uint8
    )


@pytest.mark.parametrize(
    ("text", "expected", "written"),
    [
        ("frame", Granularity("frame", 0), "frame"),
        ("rectangle:40", Granularity("rectangle", 40), "rectangle:40"),
        ("rectangle", Granularity("rectangle", 16), "rectangle:16"),
        ("superpixel", Granularity("superpixel", 16), "superpixel:16"),
        ("superpixel:24:mine", Granularity("superpixel", 24, "mine"), "superpixel:24:mine"),
    ],
)
def test_granularities_are_read_and_written(text, expected, written):
    assert parse_granularity(text) == expected
    assert str(expected) == written
    assert parse_granularity(written) == expected


@pytest.mark.parametrize(
    "text",
    ["", "frames", "frame:2", "rectangle:1", "rectangle:-3", "rectangle:3:4", "superpixel:x"],
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r"expected frame, rectangle:16 or superpixel"):
        parse_granularity(text)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 20))
def test_rectangles_tile_the_frame(height, width, size):
    numbers = partition(Granularity("rectangle", size), np.zeros((height, width, 3), np.uint8))
    down, across = -(-height // size), -(-width // size)
    assert set(np.unique(numbers)) == set(range(down * across))
    for number in range(down * across):
        rows, columns = np.nonzero(numbers == number)
        assert rows.max() - rows.min() < size
        assert columns.max() - columns.min() < size
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_a_frame_is_one_sample():
    assert not partition(Granularity(), picture()).any()


def test_superpixels_follow_the_picture_and_are_numbered_without_gaps():
    image = picture(48, 60)
    numbers = partition(Granularity("superpixel", 6), image)
    assert numbers.shape == (48, 60)
    assert numbers.dtype == np.int32
    assert set(np.unique(numbers)) == set(range(numbers.max() + 1))
    within = np.mean([image[numbers == n].std(axis=0).mean() for n in range(numbers.max() + 1)])
    tiles = partition(Granularity("rectangle", 7), image)
    assert within < np.mean([image[tiles == n].std(axis=0).mean() for n in range(tiles.max() + 1)])


def test_a_package_can_offer_super_pixels(monkeypatch):
    def halves(image, size):
        return np.arange(image.shape[1])[None].repeat(len(image), 0) // 18 * 7 + 3

    point = SimpleNamespace(name="halves", load=lambda: halves)
    monkeypatch.setattr(module, "_plugins", lambda: iter([point]))
    numbers = partition(Granularity("superpixel", 8, "halves"), picture())
    assert np.unique(numbers).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"'other'; there are halves, slic"):
        partition(Granularity("superpixel", 8, "other"), picture())


def test_super_pixels_of_another_size_are_refused(monkeypatch):
    monkeypatch.setitem(module.SUPERPIXELS, "bad", lambda image, size: np.zeros((2, 2), int))
    with pytest.raises(ValueError, match=r"'bad' gave \(2, 2\)"):
        partition(Granularity("superpixel", 8, "bad"), picture())


def test_not_a_frame_is_refused():
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        partition(Granularity(), np.zeros((4, 4), np.uint8))
