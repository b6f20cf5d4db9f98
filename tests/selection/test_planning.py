import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection import planning
from selection.planning import plan
from selection.reach import Reach


def random_reach(frames, span, seed):
    rng = np.random.default_rng(seed)
    return Reach.from_matches(rng.random((frames, 2 * span + 1, 2)), frames)


def total(reaches, labels):
    return sum(reach.loss(labels.get(clip, ())) for clip, reach in reaches.items())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=2), st.integers(0, 99), st.data())
def test_no_choice_leaves_less_loss(lengths, seed, data):
    reaches = {
        clip: random_reach(frames, data.draw(st.integers(1, 7)), seed + clip)
        for clip, frames in enumerate(lengths)
    }
    everything = [(clip, f) for clip, frames in enumerate(lengths) for f in range(frames)]
    labelled = data.draw(st.sets(st.sampled_from(everything), max_size=2))
    open_frames = sorted(data.draw(st.sets(st.sampled_from(everything))) - labelled)
    budget = data.draw(st.integers(0, 4))

    def by_clip(pairs):
        return {clip: [f for c, f in pairs if c == clip] for clip in range(len(lengths))}

    chosen = plan(reaches, by_clip(open_frames), by_clip(labelled), budget)
    assert len(set(chosen)) == len(chosen) == min(budget, len(open_frames))
    assert set(chosen) <= set(open_frames)
    best = min(
        total(reaches, by_clip([*labelled, *some]))
        for some in itertools.combinations(open_frames, len(chosen))
    )
    assert total(reaches, by_clip([*labelled, *chosen])) == pytest.approx(best, abs=1e-4)


def test_best_first():
    reach = random_reach(30, 29, 4)
    chosen = [frame for _, frame in plan({0: reach}, {0: range(30)}, {}, 6)]
    for place in range(6):
        here = reach.loss(chosen[: place + 1])
        assert here == pytest.approx(
            min(reach.loss([*chosen[:place], other]) for other in chosen[place:]), abs=1e-4
        )


def test_a_still_clip_is_divided_evenly():
    reach = Reach.from_matches(np.ones((60, 119, 1)), 60)
    chosen = sorted(frame for _, frame in plan({0: reach}, {0: range(60)}, {}, 3))
    assert np.abs(np.array(chosen) - [10, 30, 50]).max() <= 2


def test_labels_go_where_flow_fails():
    confidence = np.r_[np.full(50, 0.999), np.full(50, 0.8)]
    reach = Reach.from_confidence(confidence, span=100)
    chosen = [frame for _, frame in plan({0: reach}, {0: range(101)}, {}, 6)]
    assert sum(frame > 50 for frame in chosen) >= 4


def test_clips_get_labels_by_need():
    reaches = {
        0: Reach.from_confidence(np.full(59, 0.999), 59),
        1: Reach.from_confidence(np.full(59, 0.8), 59),
    }
    chosen = plan(reaches, {0: range(60), 1: range(60)}, {}, 6)
    assert sum(clip == 1 for clip, _ in chosen) >= 4
    assert {clip for clip, _ in chosen} == {0, 1}


@pytest.mark.parametrize(
    "limits", [{"_MOST_STEPS": 4000, "_QUICK_STEPS": 500}, {"_MOST_SHARES": 1}]
)
def test_the_short_cuts_for_long_clips_stay_near_the_best(monkeypatch, limits):
    reaches = {clip: random_reach(60, 12, clip) for clip in range(2)}
    open_frames = {0: range(60), 1: range(60)}
    labelled = {0: [20], 1: []}

    def loss():
        chosen = plan(reaches, open_frames, labelled, 20)
        assert len(set(chosen)) == 20
        return total(
            reaches, {c: [*labelled[c], *(f for k, f in chosen if k == c)] for c in range(2)}
        )

    exact = loss()
    for name, value in limits.items():
        monkeypatch.setattr(planning, name, value)
    assert exact - 1e-3 <= loss() <= 1.1 * exact


@pytest.mark.parametrize(
    ("open_frames", "labelled", "message"),
    [({1: [0]}, {}, "clip 1 .* no reach"), ({0: [4]}, {}, "4 frames.* frame 4")],
)
def test_what_the_reach_does_not_cover_is_refused(open_frames, labelled, message):
    with pytest.raises(ValueError, match=message):
        plan({0: Reach.from_time(4)}, open_frames, labelled, 1)


def test_dear_frames_give_way_to_cheap_neighbours():
    reach = Reach.from_time(41, 41)
    without = sorted(frame for _, frame in plan({0: reach}, {0: range(41)}, {}, 3))
    clicks = np.full(41, 100.0)
    clicks[without[1] - 2 : without[1] + 3] = 400.0
    priced = sorted(frame for _, frame in plan({0: reach}, {0: range(41)}, {}, 3, {0: clicks}))
    assert clicks[priced].tolist() == [100, 100, 100]
    assert np.abs(np.array(priced) - without).max() <= 6


def test_prices_are_part_of_the_sum(monkeypatch):
    reach = random_reach(9, 9, 7)
    prices = {0: np.random.default_rng(0).uniform(-0.3, 0.6, 9)}
    monkeypatch.setattr(planning, "_prices", lambda *_: prices)
    chosen = [frame for _, frame in plan({0: reach}, {0: range(9)}, {0: [2]}, 3, {0: np.ones(9)})]

    def cost(frames):
        return reach.loss([2, *frames]) + prices[0][list(frames)].sum()

    some = itertools.combinations([f for f in range(9) if f != 2], 3)
    assert cost(chosen) == pytest.approx(min(map(cost, some)), abs=1e-4)


@pytest.mark.parametrize("clicks", [np.full(30, 7.0), np.full(30, np.nan), np.zeros(30)])
def test_equal_or_unknown_clicks_change_nothing(clicks):
    reach = random_reach(30, 29, 1)
    assert plan({0: reach}, {0: range(30)}, {0: [3]}, 5, {0: clicks}) == plan(
        {0: reach}, {0: range(30)}, {0: [3]}, 5
    )


def test_too_few_clicks_are_refused():
    with pytest.raises(ValueError, match="9 frames but clicks for 3"):
        plan({0: Reach.from_time(9)}, {0: range(9)}, {}, 2, {0: np.ones(3)})
