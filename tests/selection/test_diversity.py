import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection import diversity
from selection.diversity import core_set, facility_location, kmeans_centroids, spread
from selection.uncertainty import NonFiniteWarning


def blobs(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [10.0 * i + 0.1 * rng.standard_normal((n, 3)) for i, n in enumerate(sizes)]
    ).astype(np.float32)


def test_kmeans_takes_one_of_each_cluster_the_largest_first():
    features = blobs(5, 20, 10)
    chosen = kmeans_centroids(features, 3, seed=1)
    assert [int(features[i, 0] / 10 + 0.5) for i in chosen] == [1, 2, 0]


def test_kmeans_takes_the_sample_nearest_to_the_centroid():
    features = np.array([[0.0], [1.0], [2.0], [100.0]])
    assert set(kmeans_centroids(features, 2).tolist()) == {1, 3}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 12), st.integers(0, 15), st.integers(0, 3), st.booleans())
def test_as_many_as_asked_unique_and_the_same_again(count, budget, seed, identical):
    rng = np.random.default_rng(seed)
    features = np.zeros((count, 4)) if identical else rng.random((count, 4))
    for choose in (
        lambda: kmeans_centroids(features, budget, seed),
        lambda: spread(features, np.arange(count), budget, seed),
    ):
        chosen = choose()
        assert len(set(chosen.tolist())) == len(chosen) == min(budget, count)
        assert choose().tolist() == chosen.tolist()


def test_spread_of_a_clip_that_never_changes_is_even():
    chosen = spread(np.ones((60, 8)), np.arange(60), 3)
    assert np.abs(np.sort(chosen) - [10, 30, 50]).max() <= 1


def test_spread_begins_in_the_middle_and_any_first_few_are_apart():
    chosen = spread(np.ones((90, 2)), np.arange(90), 9)
    assert abs(chosen[0] - 45) <= 5
    assert np.abs(np.diff(np.sort(chosen[:3]))).min() >= 30


def test_spread_gives_more_frames_to_the_stretch_where_much_changes():
    changing = np.arange(100) >= 80
    features = np.zeros((100, 2))
    features[changing, 0] = np.arange(20) * 5.0
    chosen = spread(features, np.arange(100), 10)
    assert int(changing[chosen].sum()) >= 4


def test_spread_takes_no_twins():
    rng = np.random.default_rng(3)
    looks = np.repeat(rng.random((8, 16)), 10, axis=0) + 0.001 * rng.random((80, 16))
    chosen = spread(looks, np.arange(80), 8)
    assert sorted((chosen // 10).tolist()) == list(range(8))


@pytest.mark.parametrize(
    ("features", "positions", "budget", "message"),
    [
        (np.zeros(3), np.arange(3), 1, r"\(N, C\).*\(3,\)"),
        (np.zeros((3, 1)), np.arange(4), 1, r"\(3,\).*\(4,\)"),
        (np.zeros((3, 1)), np.arange(3), -2, "-2"),
    ],
)
def test_wrong_input_is_refused(features, positions, budget, message):
    with pytest.raises(ValueError, match=message):
        spread(features, positions, budget)


def test_broken_features_are_warned_of_and_don_t_stop_the_choice():
    features = blobs(4, 4)
    features[2] = np.nan
    with pytest.warns(NonFiniteWarning, match="1 of 8 samples"):
        assert len(kmeans_centroids(features, 3)) == 3


@pytest.mark.parametrize("choose", [core_set, facility_location])
@pytest.mark.parametrize("channels", [2, 300])
def test_core_set_and_facilities_take_one_of_each_group(choose, channels):
    rng = np.random.default_rng(0)
    centres = 10 * rng.standard_normal((5, channels))
    group = np.repeat(np.arange(5), 8)
    features = centres[group] + 0.01 * rng.standard_normal((40, channels))
    assert sorted(group[choose(features, 5)].tolist()) == list(range(5))


def test_core_set_takes_the_extremes_and_facilities_the_middles():
    line = np.linspace(0, 1, 101)[:, None]
    assert set(core_set(line, 3).tolist()) == {50, 0, 100}
    assert facility_location(line, 1).tolist() == [50]
    assert np.abs(np.sort(facility_location(line, 3)) - [17, 50, 83]).max() <= 9


def test_core_set_stays_away_from_what_is_labelled():
    line = np.linspace(0, 1, 11)[:, None]
    assert core_set(line, 1, covered=np.array([[0.0]])).tolist() == [10]


@pytest.mark.parametrize("choose", [core_set, facility_location])
def test_alike_samples_are_still_unique(choose):
    assert sorted(choose(np.ones((6, 3)), 4).tolist()) == sorted(set(choose(np.ones((6, 3)), 4)))
    assert len(choose(np.ones((6, 3)), 9)) == 6


def test_facility_location_in_random_parts_is_nearly_as_good(monkeypatch):
    rng = np.random.default_rng(1)
    features = rng.standard_normal((400, 4))

    def left(chosen):
        return ((features[:, None] - features[chosen][None]) ** 2).sum(-1).min(1).mean()

    whole = left(facility_location(features, 20))
    monkeypatch.setattr(diversity, "_FULL_GREEDY", 10)
    assert left(facility_location(features, 20)) == pytest.approx(whole, rel=0.1)
