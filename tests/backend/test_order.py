from __future__ import annotations

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
