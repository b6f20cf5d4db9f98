from dataclasses import replace

import numpy as np
import pytest

from model.blend import FrameResult
from model.signals import BETWEEN, BEYOND, Law, Overlap, Signals, dissent_odds

# Two pixels called 1 with probability 0.8, two called 0 with certainty; soft IoUs 2/2.4, 1.6/2.
DOUBTFUL = [[[0.2, 0.2, 1, 1]], [[0.8, 0.8, 0, 0]]]
SOFT = np.mean([2 / 2.4, 1.6 / 2.0])


def _result(probabilities, index=1, confidence=1.0) -> FrameResult:
    probabilities = np.asarray(probabilities, np.float32)
    sure = np.full(probabilities.shape[1:], confidence, np.float32)
    return FrameResult(index, probabilities, sure, is_key=False)


def _odds(error):
    return np.log(error / (1 - error))


def test_the_soft_error_is_the_expected_one():
    signals = Signals.of(_result(DOUBTFUL), (0, 10))
    assert signals.error == pytest.approx(_odds(1 - SOFT), abs=1e-5)


def test_doubt_is_a_mean_over_classes():
    signals = Signals.of(_result(DOUBTFUL, confidence=0.5), (0, 10))
    assert signals.doubt == pytest.approx(np.mean([1 - 0.5, 1 - 0.5 * 0.8]))


@pytest.mark.parametrize(
    ("index", "keys", "distance", "beyond"),
    [(3, (0, 10), 3, False), (12, (0, 10), 2, True), (7, (7, 9, 12), 2, True), (5, (), 1, False)],
)
def test_the_nearest_key_frame_and_its_side(index, keys, distance, beyond):
    signals = Signals.of(_result(DOUBTFUL, index), keys)
    assert (signals.distance, signals.beyond) == (distance, beyond)


def test_dissent_is_how_far_a_network_contradicts():
    result = replace(_result(DOUBTFUL), word=np.array([[1, 0, 0, 0]], np.uint8))
    iou = np.mean([1 / 2, 2 / 3])  # Of the two classes.
    assert Signals.of(result, (0,)).dissent == pytest.approx(_odds(1 - iou))
    part = Signals.of(result, (0,), np.array([[True, False, True, True]]))
    assert part.dissent == pytest.approx(_odds(0.002))
    assert Signals.of(_result(DOUBTFUL), (0,)).dissent is None
    assert dissent_odds(-1.0) > dissent_odds(-3.0)


@pytest.mark.parametrize("error", [0.01, 0.2, 0.7])
def test_an_overlap_is_given_the_error_that_is_asked_for(error):
    overlap = Overlap(np.array([90.0, 8.0, 0.0]), np.array([100.0, 10.0, 0.0]))
    worse = overlap.with_error(error)
    assert 1 - worse.mean_iou() == pytest.approx(error)
    assert (worse.union == overlap.union).all()
    gone = 1 - worse.intersection[:2] / worse.union[:2]
    # The odds of both are shifted alike: 0.1 and 0.2 to begin with.
    assert np.diff(_odds(gone)) == pytest.approx(_odds(0.2) - _odds(0.1))


def test_an_overlap_of_nothing_stays_so():
    nothing = Overlap(np.zeros(2), np.zeros(2))
    assert nothing.with_error(0.3).mean_iou() == 1.0


def test_only_valid_pixels_tell():
    valid = np.array([[False, False, True, True]])
    signals = Signals.of(_result(DOUBTFUL, confidence=0.5), (0, 10), valid)
    assert signals.error == pytest.approx(_odds(0.002))
    assert signals.doubt == pytest.approx(0.5)


def test_a_law_is_linear_in_the_odds():
    signals = Signals(error=-2.0, doubt=0.1, distance=4, beyond=True)
    law = Law(level=0.5, slope=1.5, doubt=2.0, distance=0.7)
    assert law.odds(signals) == pytest.approx(0.5 - 3 + 2 * np.log(0.101) + 0.7 * np.log(4))


def test_the_laws_expect_less_where_signals_are_worse():
    def quality(law, error, doubt, distance):
        return -law.odds(Signals(error, doubt, distance, law is BEYOND))

    for law in (BETWEEN, BEYOND):
        assert quality(law, -3, 0.2, 5) > quality(law, -1, 0.2, 5)
        assert quality(law, -3, 0.2, 5) >= quality(law, -3, 0.6, 5)
        assert quality(law, -3, 0.2, 5) >= quality(law, -3, 0.2, 20)
    # Beyond the key frames there is nobody to disagree.
    assert quality(BEYOND, -4, 0.3, 10) < quality(BETWEEN, -4, 0.3, 10)
