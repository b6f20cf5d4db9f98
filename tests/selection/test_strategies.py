import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from selection import strategies
from selection.planning import plan
from selection.reach import Reach
from selection.strategies import (
    STRATEGIES,
    Candidates,
    Strategy,
    get_strategy,
    register_strategy,
    strategy_names,
)
from selection.uncertainty import NonFiniteWarning


def candidates(count, clips=1, seed=0, labelled=None, **changes):
    rng = np.random.default_rng(seed)
    fields = {
        "uncertainty": rng.random(count),
        "features": rng.random((count, 6)).astype(np.float32),
        "positions": np.arange(count) // clips,
        "clips": np.arange(count) % clips,
        "labelled": labelled or {},
    }
    return Candidates(**(fields | changes))


class StrategyContract:
    """What every strategy must do; a subclass gives `strategy`."""

    def select(self, strategy, given, budget, seed=0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NonFiniteWarning)
            chosen = strategy.select(given, budget, seed)
        assert len(set(chosen.tolist())) == len(chosen) == min(budget, len(given))
        assert np.issubdtype(chosen.dtype, np.integer)
        assert all(0 <= i < len(given) for i in chosen)
        return chosen

    def test_follows_the_protocol(self, strategy):
        assert isinstance(strategy, Strategy)
        assert strategy.name
        assert isinstance(strategy.needs_uncertainty, bool)

    @pytest.mark.parametrize("budget", [0, 1, 5, 39, 40, 100])
    @pytest.mark.parametrize("clips", [1, 3])
    def test_as_many_as_asked_unique(self, strategy, budget, clips):
        self.select(strategy, candidates(40, clips, labelled={0: [100]}), budget)

    def test_deterministic_by_seed(self, strategy):
        for seed in (0, 7):
            first = self.select(strategy, candidates(30), 6, seed)
            assert self.select(strategy, candidates(30), 6, seed).tolist() == first.tolist()

    def test_one_candidate_and_none(self, strategy):
        assert self.select(strategy, candidates(1), 3).tolist() == [0]
        self.select(strategy, candidates(0), 3)

    def test_identical_features_and_positions(self, strategy):
        given = candidates(9, features=np.zeros((9, 2), np.float32), positions=np.zeros(9, int))
        self.select(strategy, given, 4)

    @pytest.mark.parametrize("broken", [1, 12])
    def test_uncertainties_that_are_not_finite(self, strategy, broken):
        values = np.linspace(0, 1, 12)
        values[:broken] = np.nan
        self.select(strategy, candidates(12, uncertainty=values), 4)

    def test_no_features_at_all(self, strategy):
        self.select(strategy, candidates(8, features=np.zeros((8, 0), np.float32)), 3)

    def test_a_negative_budget_is_refused(self, strategy):
        with pytest.raises(ValueError, match="-1"):
            strategy.select(candidates(4), -1)

    def test_leaves_the_candidates_alone(self, strategy):
        given = candidates(20)
        before = [given.uncertainty.copy(), given.features.copy(), given.positions.copy()]
        self.select(strategy, given, 5)
        for old, new in zip(
            before, [given.uncertainty, given.features, given.positions], strict=True
        ):
            assert np.array_equal(old, new)


@pytest.fixture(params=list(STRATEGIES))
def strategy(request):
    return get_strategy(request.param)


class TestEveryStrategy(StrategyContract):
    pass


def test_hvsa_chooses_in_the_most_uncertain_half_and_never_twins():
    rng = np.random.default_rng(0)
    uncertainty = np.r_[np.zeros(20), np.linspace(0.5, 1, 20)]
    looks = np.repeat(np.eye(4) * 9, 5, axis=0) + 0.01 * rng.random((20, 4))
    features = np.r_[rng.random((20, 4)), looks].astype(np.float32)
    given = candidates(40, uncertainty=uncertainty, features=features)
    chosen = get_strategy("hvsa").select(given, 4)
    assert sorted(((chosen - 20) // 5).tolist()) == [0, 1, 2, 3]
    assert (np.diff(uncertainty[chosen]) <= 0).all()


def test_hvsa_widens_the_half_to_the_budget():
    assert len(get_strategy("hvsa").select(candidates(10), 8)) == 8


def test_uncertainty_takes_the_highest_and_keeps_ties_in_order():
    given = candidates(5, uncertainty=np.array([0.2, 0.9, 0.2, 0.9, 0.1]))
    assert get_strategy("uncertainty").select(given, 3).tolist() == [1, 3, 0]


def test_uniform_fills_the_widest_gap_of_any_clip():
    positions = np.r_[np.arange(1, 100), np.arange(1, 20)]
    owner = np.r_[np.zeros(99, int), np.ones(19, int)]
    given = Candidates(
        np.zeros(118), np.zeros((118, 1)), positions, owner, {0: [0, 100], 1: [0, 20]}
    )
    assert positions[get_strategy("uniform").select(given, 1)].tolist() == [50]


def test_random_differs_by_seed():
    drawn = {tuple(get_strategy("random").select(candidates(30), 5, seed)) for seed in range(4)}
    assert len(drawn) > 1


def test_shapes_that_don_t_fit_are_refused():
    with pytest.raises(ValueError, match=r"uncertainty must be \(4,\).*\(3,\)"):
        candidates(4, uncertainty=np.zeros(3))
    with pytest.raises(ValueError, match=r"features must be \(4, C\)"):
        candidates(4, features=np.zeros((3, 2), np.float32))


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"'best'.*diversity.*hvsa.*uniform"):
        get_strategy("best")


def test_a_package_can_offer_one(monkeypatch):
    class Last:
        name = "last"
        needs_uncertainty = False

        def select(self, candidates, budget, seed=0):
            return np.arange(len(candidates))[::-1][:budget]

    point = SimpleNamespace(name="last", load=lambda: Last)
    monkeypatch.setattr(strategies, "_plugins", lambda: iter([point]))
    assert get_strategy("last").select(candidates(5), 2).tolist() == [4, 3]
    assert "last" in strategy_names()


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'hvsa'"):
        register_strategy("hvsa", strategies.HVSA)


def test_reach_uses_the_clip_s_reach_and_goes_by_time_without_one():
    flowing = Reach.from_confidence(np.r_[np.full(20, 0.999), np.full(20, 0.7)], 40)
    strategy = get_strategy("reach")
    by_flow = strategy.select(candidates(41, reach={0: flowing}), 5)
    by_time = strategy.select(candidates(41), 5)
    assert (by_flow > 20).sum() > (by_time > 20).sum()
    assert np.abs(np.diff(np.sort(by_time)) - 8).max() <= 3


def test_reach_that_ends_before_the_clip_is_not_used():
    short = Reach.from_time(10)
    given = candidates(41, reach={0: short}, labelled={0: [60]})
    assert (
        get_strategy("reach").select(given, 1).tolist()
        == get_strategy("reach").select(candidates(41, labelled={0: [60]}), 1).tolist()
    )


def test_reach_does_not_rely_on_small_differences_between_places():
    rng = np.random.default_rng(0)
    reach = Reach.from_confidence(rng.uniform(0.5, 1.0, 119), span=96)
    given = candidates(120, uncertainty=np.full(120, np.nan), reach={0: reach})
    chosen = get_strategy("reach").select(given, 10)
    planned = [frame for _, frame in plan({0: reach}, {0: range(120)}, {0: []}, 10)]

    def widest(frames):
        return np.diff(np.sort(frames)).max()

    assert widest(chosen) < widest(planned)
    assert reach.loss(chosen.tolist()) < reach.loss(range(6, 120, 12))
