import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selection.ranking import apart, order, rank, scores
from selection.strategies import STRATEGIES, Candidates, get_strategy
from selection.uncertainty import NonFiniteWarning


def make(lengths, labelled=None, seed=0):
    """Candidates: every unlabelled frame of clips of these lengths."""
    labelled = labelled or {}
    rng = np.random.default_rng(seed)
    pairs = [
        (clip, frame)
        for clip, length in enumerate(lengths)
        for frame in range(length)
        if frame not in labelled.get(clip, ())
    ]
    clips, positions = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    known = np.isin(clips, [clip for clip, frames in labelled.items() if frames])
    uncertainty = np.where(known, rng.random(len(pairs)), np.nan)
    features = rng.random((len(pairs), 4)).astype(np.float32)
    return Candidates(uncertainty, features, positions, clips, labelled)


@pytest.mark.parametrize(
    ("chosen", "uncertainty", "expected"),
    [
        ([], [0.1, 0.9, 0.5], [1, 2, 0]),
        ([2, 0], [0.1, 0.9, 0.5], [2, 0, 1]),
        ([], [0.5, 0.5, 0.5], [0, 1, 2]),
        ([], [], []),
    ],
)
def test_rank(chosen, uncertainty, expected):
    assert rank(chosen, uncertainty).tolist() == expected


def test_rank_puts_the_broken_last_with_a_warning():
    with pytest.warns(NonFiniteWarning, match="ranked last"):
        assert rank([3], [np.nan, 0.2, 0.4, 0.1]).tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("chosen", "message"), [([3], "0 to 2"), ([-1], "0 to 2"), ([1, 1], "once")]
)
def test_rank_refuses_wrong_choices(chosen, message):
    with pytest.raises(ValueError, match=message):
        rank(chosen, [0.0, 0.1, 0.2])


@given(arrays(np.float64, st.integers(0, 40)), st.data())
def test_rank_is_a_total_order(uncertainty, data):
    everything = list(range(len(uncertainty)))
    chosen = data.draw(st.permutations(everything))[: data.draw(st.integers(0, len(everything)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonFiniteWarning)
        ranked = rank(np.array(chosen, dtype=int), uncertainty)
    assert sorted(ranked.tolist()) == everything
    assert ranked[: len(chosen)].tolist() == chosen
    rest = uncertainty[ranked[len(chosen) :]]
    finite = np.isfinite(rest)
    assert (np.diff(rest[finite]) <= 0).all()
    assert (np.diff(finite.astype(int)) <= 0).all()


@pytest.mark.parametrize("count", [0, 1, 7, 1_000_000])
def test_scores_are_distinct_rising_and_in_the_unit_interval(count):
    values = scores(np.arange(count)[::-1])
    assert len(values) == count
    assert (np.diff(values) > 0).all()
    assert ((values >= 0) & (values < 1)).all()


def test_scores_survive_json():
    values = scores(range(10_007))
    assert json.loads(json.dumps(values.tolist())) == values.tolist()


@pytest.mark.parametrize("name", list(STRATEGIES))
@pytest.mark.parametrize(
    ("lengths", "labelled"),
    [
        ([30], {}),
        ([30], {0: [3, 20]}),
        ([30, 8, 1], {}),
        ([30, 8, 12], {1: [4]}),
        ([12, 12], {0: [0], 1: [11]}),
    ],
)
@pytest.mark.parametrize("budget", [0, 1, 4, 99])
def test_order_is_total_and_deterministic(name, lengths, labelled, budget):
    candidates = make(lengths, labelled)
    found = order(candidates, get_strategy(name), budget, seed=2)
    assert sorted(found.tolist()) == list(range(len(candidates)))
    assert order(candidates, get_strategy(name), budget, seed=2).tolist() == found.tolist()


def test_before_any_label_the_whole_order_is_spread_over_the_clip():
    candidates = make([100])
    found = candidates.positions[order(candidates, get_strategy("hvsa"), 5)]
    for first in (2, 5, 10, 20):
        widest = np.diff(np.sort(np.r_[0, found[:first], 99])).max()
        assert widest <= 2.5 * 99 / first


def test_before_any_label_the_clips_share_the_first_frames():
    candidates = make([60, 60, 60])
    found = order(candidates, get_strategy("hvsa"), 6)
    assert np.bincount(candidates.clips[found[:6]]).tolist() == [2, 2, 2]
    assert len(set(candidates.clips[found[:3]].tolist())) == 3


def test_labelled_clips_are_ranked_by_uncertainty_after_the_chosen():
    candidates = make([40], {0: [0, 39]})
    found = order(candidates, get_strategy("hvsa"), 5)
    rest = candidates.uncertainty[found[5:]]
    assert (np.diff(rest) <= 0).all()


def test_a_new_clip_is_not_left_behind_a_labelled_one():
    candidates = make([40, 40], {0: [0, 39]})
    found = order(candidates, get_strategy("hvsa"), 4)
    assert set(candidates.clips[found[:4]].tolist()) == {0, 1}
    assert set(candidates.clips[found[4:10]].tolist()) == {0, 1}


def test_order_refuses_a_negative_budget():
    with pytest.raises(ValueError, match="-3"):
        order(make([5]), get_strategy("random"), -3)


def twins(found, positions, clips, annotators, frames):
    return sum(
        clips[found[i]] == clips[found[j]]
        and abs(positions[found[i]] - positions[found[j]]) <= frames
        for i in range(len(found))
        for j in range(i + 1, min(i + annotators, len(found)))
    )


@given(st.integers(0, 40), st.integers(1, 4), st.integers(0, 3), st.randoms())
def test_apart_is_a_permutation(count, annotators, frames, chance):
    given_ = list(range(count))
    chance.shuffle(given_)
    positions, clips = np.arange(count) // 2, np.arange(count) % 2
    found = apart(given_, positions, clips, annotators, frames)
    assert sorted(found.tolist()) == list(range(count))


def test_apart_separates_twins_and_moves_nothing_far():
    positions, clips = np.tile(np.arange(100), 2), np.repeat([0, 1], 100)
    smooth = np.cos(np.linspace(0, 12, 200)) + 0.5 * np.repeat([0, 1], 100)
    falling = rank([], smooth)
    assert twins(falling, positions, clips, 3, 2) > 50
    found = apart(falling, positions, clips, 3)
    assert twins(found[:180], positions, clips, 3, 2) == 0
    moved = np.argsort(found)[falling] - np.arange(200)
    assert np.abs(moved).max() <= 60


def test_apart_leaves_one_annotator_s_order_and_what_is_apart_alone():
    spread_out = [0, 50, 20, 80]
    assert apart([3, 1, 2, 0], range(4), [0] * 4, 1).tolist() == [3, 1, 2, 0]
    assert apart([3, 1, 2, 0], spread_out, [0] * 4, 3).tolist() == [3, 1, 2, 0]
    with pytest.raises(ValueError, match="annotators"):
        apart([0], [0], [0], 0)


def test_a_strategy_for_one_video_is_asked_clip_by_clip():
    candidates = make([40, 40], {0: [0, 39], 1: [0, 39]})
    candidates.uncertainty[candidates.clips == 0] = 0.1
    candidates.uncertainty[candidates.clips == 1] = 0.3
    found = order(candidates, get_strategy("hvsa"), 8)
    assert np.bincount(candidates.clips[found[:8]], minlength=2).tolist() == [2, 6]
