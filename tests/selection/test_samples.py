import numpy as np
import pytest

from selection.clicks import boundary_clicks, rectangle_clicks
from selection.granularity import Granularity, partition
from selection.samples import describe, pool, query_mask


def frame(height=32, width=48, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def described(granularity, image=None, seed=0):
    image = frame() if image is None else image
    rng = np.random.default_rng(seed)
    numbers = partition(granularity, image)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[5:20, 10:30] = 1
    unsure = rng.random(image.shape[:2]).astype(np.float32)
    features = rng.random((6, 8, 12)).astype(np.float32)
    samples = describe(
        3, granularity, numbers, uncertainty=unsure, features=features, mask=mask, free={0}
    )
    return samples, numbers, mask, unsure


def test_pool_averages_each_sample():
    numbers = np.array([[0, 0, 1], [2, 1, 1]])
    values = np.array([[1.0, 3.0, 6.0], [7.0, 0.0, 3.0]])
    assert pool(numbers, values).tolist() == [2, 3, 7]


def test_pool_takes_the_nearest_cell_of_a_smaller_map():
    numbers = np.repeat(np.arange(2), 4)[None].repeat(4, 0)
    cells = np.arange(8, dtype=float).reshape(2, 2, 2)
    assert pool(numbers, cells).tolist() == [[1, 5], [2, 6]]


def test_pool_marks_broken_samples_only():
    numbers = np.array([[0, 1]])
    found = pool(numbers, np.array([[np.inf, 0.5]]))
    assert np.isnan(found[0])
    assert found[1] == 0.5


@pytest.mark.parametrize("text", [Granularity(), Granularity("rectangle", 16)])
def test_samples_of_a_frame_add_up(text):
    samples, numbers, mask, unsure = described(text)
    assert samples.areas.sum() == mask.size
    assert len(samples) == numbers.max() + 1
    assert (samples.uncertainty * samples.areas).sum() == pytest.approx(unsure.sum(), rel=1e-5)
    assert samples.features.shape == (len(samples), 6)


def test_clicks_are_those_of_each_kind():
    whole, _, mask, _ = described(Granularity())
    assert whole.clicks.tolist() == [boundary_clicks(mask, {0})]
    tiles, numbers, mask, _ = described(Granularity("rectangle", 16))
    for number, (top, left, height, width) in enumerate(tiles.boxes.tolist()):
        box = np.zeros_like(mask, bool)
        box[top : top + height, left : left + width] = True
        assert np.array_equal(box, numbers == number)
        assert tiles.clicks[number] == rectangle_clicks(mask, (top, left, height, width), {0})
    pieces, _, _, _ = described(Granularity("superpixel", 8))
    assert set(pieces.clicks.tolist()) == {1}


def test_query_mask_is_the_queried_pixels_only():
    _, numbers, _, _ = described(Granularity("rectangle", 16))
    asked = query_mask(numbers, [0, 5])
    assert asked.sum() == 2 * 256
    assert asked[0, 0]
    assert not asked[0, 20]
    assert not query_mask(numbers, []).any()


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": np.zeros((2, 2), np.uint8)},
        {"uncertainty": np.zeros((2, 2))},
        {"features": np.zeros(4)},
    ],
)
def test_shapes_are_checked(changes):
    numbers = partition(Granularity("rectangle", 16), frame())
    fields = {
        "uncertainty": np.zeros((32, 48)),
        "features": np.zeros((1, 2, 2)),
        "mask": np.zeros((32, 48), np.uint8),
    }
    with pytest.raises(ValueError, match="got"):
        describe(0, Granularity("rectangle", 16), numbers, **(fields | changes))
