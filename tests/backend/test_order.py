from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.order import ClipState, order_frames


def clip(frames: int, labelled: tuple[int, ...] = (), seed: int = 0, width: int = 3) -> ClipState:
    random = np.random.default_rng(seed)
    flags = np.zeros(frames, bool)
    flags[list(labelled)] = True
    return ClipState(
        np.arange(frames),
        flags,
        random.random(frames),
        random.random((frames, width)).astype(np.float32),
    )


def test_every_unlabelled_frame_once_the_chosen_first() -> None:
    clips = [clip(10, (2, 7)), clip(6, (), seed=1, width=5)]
    order = order_frames(clips, "hvsa", budget=4, seed=0)
    places = [(place.clip, place.frame) for place in order]
    assert len(places) == len(set(places)) == 14
    assert {(0, 2), (0, 7)}.isdisjoint(places)
    assert [place.chosen for place in order] == [True] * 4 + [False] * 10


def test_without_labels_the_first_frames_are_spread() -> None:
    plain = clip(60)
    same = ClipState(plain.positions, plain.labelled, plain.uncertainty, plain.features * 0)
    order = order_frames([same], "hvsa", budget=3, seed=0)
    first = sorted(place.frame for place in order[:3])
    assert first[0] < 25
    assert first[-1] > 35
    assert min(np.diff(first)) >= 8


def test_behind_the_chosen_ones_uncertainty_falls() -> None:
    state = clip(30, (0, 29))
    order = order_frames([state], "hvsa", budget=5, seed=0)
    rest = [state.uncertainty[place.frame] for place in order[5:]]
    assert rest == sorted(rest, reverse=True)


@pytest.mark.parametrize("strategy", ["hvsa", "uniform", "random", "uncertainty", "diversity"])
def test_the_same_seed_gives_the_same_order(strategy: str) -> None:
    clips = [clip(20, (3,)), clip(15, seed=2)]
    assert order_frames(clips, strategy, 6, 1) == order_frames(clips, strategy, 6, 1)


def test_all_labelled_gives_nothing() -> None:
    assert order_frames([clip(3, (0, 1, 2))], "hvsa", 5, 0) == []


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        order_frames([clip(3)], "nonsense", 1, 0)


def test_skipped_frames_come_last_and_are_not_chosen() -> None:
    state = clip(12, (0, 11))
    skipped = np.zeros(12, bool)
    skipped[[4, 7]] = True
    order = order_frames([replace(state, skipped=skipped)], "hvsa", budget=4, seed=0)
    assert {place.frame for place in order[-2:]} == {4, 7}
    assert [place.chosen for place in order] == [True] * 4 + [False] * 6
    assert len({place.frame for place in order}) == 10


def test_a_clip_of_which_all_is_skipped_is_still_served() -> None:
    state = replace(clip(3), skipped=np.ones(3, bool))
    assert sorted(place.frame for place in order_frames([state], "hvsa", 2, 0)) == [0, 1, 2]


def test_several_annotators_have_no_twins_open_together() -> None:
    state = clip(60, (0, 59))
    smooth = replace(state, uncertainty=np.linspace(0, 1, 60))
    alone = [place.frame for place in order_frames([smooth], "uncertainty", 6, 0)]
    three = [place.frame for place in order_frames([smooth], "uncertainty", 6, 0, annotators=3)]
    assert sorted(alone) == sorted(three)

    def twins(frames: list[int]) -> int:
        pairs = zip(frames, frames[1:] + frames[:1], frames[2:] + frames[:2], strict=True)
        return sum(abs(a - b) <= 2 or abs(a - c) <= 2 for a, b, c in pairs)

    assert twins(alone[:40]) > 20
    assert twins(three[:40]) <= 4


def test_the_chosen_ones_stay_chosen_when_they_are_moved_apart() -> None:
    state = clip(40, (0, 39))
    alone = order_frames([state], "uncertainty", 8, 0)
    three = order_frames([state], "uncertainty", 8, 0, annotators=3)
    chosen = [{place.frame for place in order if place.chosen} for order in (alone, three)]
    assert chosen[0] == chosen[1]
