import numpy as np
import pytest

from selection.asking import (
    SamplePool,
    answered,
    choose_samples,
    labelled_samples,
    sample_strategy,
)
from selection.granularity import Granularity, partition
from selection.samples import FrameSamples
from selection.strategies import strategy_names

TILES = np.repeat(np.repeat(np.arange(6).reshape(2, 3), 4, axis=0), 4, axis=1)


def samples(frame: int, uncertainty: list[float], channels: int = 2) -> FrameSamples:
    count = len(uncertainty)
    features = np.random.default_rng(frame).random((count, channels)).astype(np.float32)
    return FrameSamples(
        frame,
        np.zeros((count, 4), np.int32),
        np.full(count, 16),
        np.arange(count) + 1,
        np.array(uncertainty),
        features,
    )


def none(count: int) -> np.ndarray:
    return np.zeros(count, bool)


def test_a_pool_leaves_out_what_is_labelled():
    known = np.array([True, False, True])
    pool = SamplePool.gather(
        [(0, samples(4, [0.1, 0.2, 0.3]), known), (1, samples(2, [0.5]), none(1))]
    )
    assert pool.clips.tolist() == [0, 1]
    assert pool.frames.tolist() == [4, 2]
    assert pool.numbers.tolist() == [1, 0]
    assert pool.uncertainty.tolist() == [0.2, 0.5]
    assert pool.clicks.tolist() == [2, 1]


def test_a_pool_keeps_the_most_uncertain_when_there_are_too_many():
    values = np.random.default_rng(0).permutation(40) / 40
    frames = [(0, samples(f, values[4 * f : 4 * f + 4].tolist()), none(4)) for f in range(10)]
    pool = SamplePool.gather(iter(frames), most=7)
    assert sorted(pool.uncertainty * 40) == [33, 34, 35, 36, 37, 38, 39]
    assert [4 * f + n for f, n in zip(pool.frames, pool.numbers, strict=True)] == [
        i for i in range(40) if values[i] >= 33 / 40
    ]


def test_clips_of_networks_that_differ_fit_into_one_pool():
    pool = SamplePool.gather(
        [(0, samples(0, [0.1], 2), none(1)), (1, samples(0, [0.2], 5), none(1))]
    )
    assert pool.features.shape == (2, 5)
    assert (pool.features[0, 2:] == 0).all()


def test_a_pool_says_what_does_not_fit():
    with pytest.raises(ValueError, match="frame 4 has 2 samples"):
        SamplePool.gather([(0, samples(4, [0.1, 0.2]), none(3))])


@pytest.mark.parametrize("strategy", ["hvsa", "reach", "uniform", "random", "uncertainty"])
def test_chosen_samples_are_different_ones_of_the_pool(strategy):
    rng = np.random.default_rng(3)
    pool = SamplePool.gather(
        (clip, samples(frame, rng.random(6).tolist()), none(6))
        for clip in range(2)
        for frame in range(5)
    )
    chosen = choose_samples(pool, strategy, 9, seed=1)
    flat = [(*place, n) for place, numbers in chosen.items() for n in numbers]
    assert len(flat) == len(set(flat)) == 9
    assert set(flat) <= set(zip(pool.clips, pool.frames, pool.numbers, strict=True))
    assert choose_samples(pool, strategy, 9, seed=1) == chosen


def test_hvsa_keeps_to_the_uncertain_half():
    values = [0.9, 0.8, 0.7, 0.1, 0.05, 0.0]
    pool = SamplePool.gather([(0, samples(0, values), none(6))])
    ((place, numbers),) = choose_samples(pool, "hvsa", 2).items()
    assert place == (0, 0)
    assert set(numbers) < {0, 1, 2}
    assert numbers == sorted(numbers)  # most uncertain first


def test_every_strategy_can_choose_samples():
    pool = SamplePool.gather([(0, samples(0, [0.1, 0.2, 0.3]), none(3))])
    for name in strategy_names():
        assert sum(map(len, choose_samples(pool, name, 2).values())) == 2
    assert sample_strategy("reach") == "hvsa"
    assert sample_strategy("random") == "random"


def test_a_sample_is_labelled_where_most_of_it_is_known():
    label = np.full((8, 12), 255, np.uint8)
    label[:4, :4] = 1
    label[4:8, 4:7] = 0
    label[:2, 8:] = 2
    assert labelled_samples(TILES, label).tolist() == [True, False, False, False, True, False]
    assert not labelled_samples(TILES, None).any()
    with pytest.raises(ValueError, match="must be"):
        labelled_samples(TILES, label[:4])


def test_an_answer_is_unknown_outside_of_what_was_asked():
    truth = np.arange(96).reshape(8, 12).astype(np.uint8) % 3
    mask = answered(Granularity("rectangle", 4), TILES, [1, 5], truth)
    asked = np.isin(TILES, [1, 5])
    np.testing.assert_array_equal(mask[asked], truth[asked])
    assert (mask[~asked] == 255).all()


def test_a_super_pixel_has_one_class():
    truth = np.zeros((8, 12), np.uint8)
    truth[:, 3:] = 1
    mask = answered(Granularity("superpixel", 4), TILES, [0, 1], truth)
    assert (mask[:4, :4] == 0).all()  # three quarters of it
    assert (mask[:4, 4:8] == 1).all()
    assert (mask[4:] == 255).all()


def test_asking_for_everything_labels_everything():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    granularity = Granularity("rectangle", 8)
    numbers = partition(granularity, image)
    truth = (image[..., 0] > 100).astype(np.uint8)
    mask = answered(granularity, numbers, range(numbers.max() + 1), truth)
    np.testing.assert_array_equal(mask, truth)
    assert labelled_samples(numbers, mask).all()
