"""The reach's forecast, weighed by what masks turned out to be."""

from __future__ import annotations

import numpy as np
import pytest

from selection.measured import stakes
from selection.planning import plan
from selection.reach import Reach

FRAMES = 41


@pytest.fixture
def reach() -> Reach:
    return Reach.from_time(FRAMES)


def unsure(first: float, second: float) -> np.ndarray:
    """A clip labelled in its middle and at its ends, its halves so uncertain."""
    values = np.full(FRAMES, first)
    values[21:] = second
    return values


LABELS = {0: [0, 20, 40]}


def test_as_foretold_nothing_changes(reach: Reach) -> None:
    factors = stakes({0: reach}, LABELS, {0: unsure(0.1, 0.1)})
    assert factors[0, 0, 20] == pytest.approx(1.0)
    assert factors[0, 20, 40] == pytest.approx(1.0)


def test_uncertain_masks_count_for_more_by_the_root(reach: Reach) -> None:
    factors = stakes({0: reach}, LABELS, {0: unsure(0.1, 0.2)})
    assert factors[0, 20, 40] > 1 > factors[0, 0, 20]
    assert factors[0, 20, 40] / factors[0, 0, 20] == pytest.approx(2**0.5)


def test_the_plan_follows_the_measured_uncertainty(reach: Reach) -> None:
    free = {0: [t for t in range(FRAMES) if t not in LABELS[0]]}
    (first,) = plan({0: reach}, free, LABELS, 1, uncertainty={0: unsure(0.3, 0.1)})
    (second,) = plan({0: reach}, free, LABELS, 1, uncertainty={0: unsure(0.1, 0.3)})
    assert 0 < first[1] < 20 < second[1] < 40


def test_clips_are_weighed_against_each_other(reach: Reach) -> None:
    reaches = {0: reach, 1: reach}
    labels = {0: [20], 1: [20]}
    free = {clip: [t for t in range(FRAMES) if t != 20] for clip in (0, 1)}
    values = {0: unsure(0.1, 0.1), 1: unsure(0.4, 0.4)}
    picked = plan(reaches, free, labels, 3, uncertainty=values)
    assert sum(clip == 1 for clip, _ in picked) >= 2


@pytest.mark.parametrize(
    "values",
    [
        np.full(FRAMES, np.nan),
        np.zeros(FRAMES),
    ],
)
def test_nothing_known_says_nothing(reach: Reach, values: np.ndarray) -> None:
    assert stakes({0: reach}, LABELS, {0: values}) == {}


def test_a_clip_without_labels_is_not_read(reach: Reach) -> None:
    assert stakes({0: reach}, {}, {0: np.ones(FRAMES)}) == {}


def test_one_wild_gap_is_held_to_bounds(reach: Reach) -> None:
    values = np.full(FRAMES, 0.01)
    values[39] = 100.0
    factors = stakes({0: reach}, {0: [0, 38, 40]}, {0: values})
    assert max(factors.values()) <= 5**0.5
