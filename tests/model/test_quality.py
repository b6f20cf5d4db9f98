import numpy as np
import pytest

from model.blend import FrameResult
from model.flow import DISFlow
from model.propagate import propagate
from model.quality import (
    BETWEEN,
    BEYOND,
    Calibration,
    Law,
    QualityEstimate,
    Signals,
    reverse_test,
)
from tests.model.drifting import Drifting


@pytest.fixture(scope="module")
def clip() -> Drifting:
    return Drifting()


def _result(probabilities, index=1, is_key=False, confidence=1.0) -> FrameResult:
    probabilities = np.asarray(probabilities, np.float32)
    sure = np.full(probabilities.shape[1:], confidence, np.float32)
    return FrameResult(index, probabilities, sure, is_key)


def _iou(truth, predicted, classes=3):
    pairs = [
        ((truth == c) & (predicted == c), (truth == c) | (predicted == c)) for c in range(classes)
    ]
    return np.mean([both.sum() / either.sum() for both, either in pairs if either.any()])


def _odds(error):
    return np.log(error / (1 - error))


# Two pixels called 1 with probability 0.8, two called 0 with certainty; soft IoUs 2/2.4, 1.6/2.
DOUBTFUL = [[[0.2, 0.2, 1, 1]], [[0.8, 0.8, 0, 0]]]
SOFT = np.mean([2 / 2.4, 1.6 / 2.0])


def test_each_key_frame_is_predicted_from_the_others(clip):
    keys = clip.keys(0, 4, 8, 12)
    results = list(reverse_test(clip, keys, 3, flow=DISFlow()))
    assert [result.index for result in results] == [0, 4, 8, 12]
    for result in results:
        assert not result.is_key
        assert (result.mask != keys[result.index]).any()
        assert _iou(keys[result.index], result.mask) > 0.7


def test_at_most_so_many_are_predicted_evenly_spread(clip):
    keys = clip.keys(0, 2, 4, 6, 8, 10, 12)
    results = reverse_test(clip, keys, 3, flow=DISFlow(), most=2)
    assert [result.index for result in results] == [4, 8]


def test_key_frames_with_next_to_no_labels_are_not_predicted(clip):
    keys = clip.keys(0, 6, 12)
    keys[6][5:] = 255
    results = reverse_test(clip, keys, 3, flow=DISFlow())
    assert [result.index for result in results] == [0, 12]


def test_one_key_frame_predicts_nothing(clip):
    assert list(reverse_test(clip, clip.keys(3), 3, flow=DISFlow())) == []
    assert Calibration.of(iter(()), {}) == Calibration()


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


def test_certain_frames_are_expected_nearly_perfect():
    probabilities = np.eye(3, dtype=np.float32)[np.arange(12).reshape(3, 4) % 3].transpose(2, 0, 1)
    assert QualityEstimate().add(_result(probabilities)) > 0.995


def test_the_calibration_shifts_the_odds_of_frames_alike():
    truth = np.array([[0, 0, 0, 0]], np.uint8)  # Half of it is predicted wrong.
    keys = {0: truth, 5: truth, 10: truth}
    between = Calibration.of([_result(DOUBTFUL, 5)], keys)
    assert between.held_out == {5: pytest.approx(np.mean([0.5, 0.0]))}
    assert between.between > 1.0
    assert between.beyond == 0.0
    beyond = Calibration.of([_result(DOUBTFUL, 10)], keys)
    assert beyond.beyond > 0.5
    assert 0 < beyond.between < beyond.beyond
    signals = Signals.of(_result(DOUBTFUL, 3), keys)
    assert between.odds(signals) == pytest.approx(BETWEEN.odds(signals) + between.between)


def test_more_held_out_frames_are_believed_more():
    truth = np.array([[0, 0, 0, 0]], np.uint8)
    keys = dict.fromkeys((0, 4, 8, 12), truth)
    one = Calibration.of([_result(DOUBTFUL, 4)], keys)
    two = Calibration.of([_result(DOUBTFUL, 4), _result(DOUBTFUL, 8)], keys)
    assert two.between > one.between


def test_ignored_pixels_do_not_calibrate():
    prediction = [[[0.1, 0.9, 1, 1]], [[0.9, 0.1, 0, 0]]]
    keys = {0: np.zeros((1, 4), np.uint8), 5: np.array([[1, 255, 0, 0]], np.uint8)}
    assert Calibration.of([_result(prediction, 5)], keys).held_out == {5: 1.0}


def test_key_frames_count_as_perfect_and_stay_out_of_the_mean():
    estimate = QualityEstimate(Calibration((0, 10)))
    assert estimate.mean_iou == 1.0
    assert estimate.add(_result(np.full((2, 3, 3), 0.5), 0, is_key=True)) == 1.0
    assert estimate.mean_iou == 1.0
    quality = estimate.add(_result(DOUBTFUL, 1))
    assert quality == pytest.approx(SOFT, abs=0.1)
    assert estimate.frames == {0: 1.0, 1: quality}
    assert estimate.mean_iou == pytest.approx(quality, abs=0.02)


def test_the_estimate_is_near_the_truth_on_a_clip(clip):
    keys = clip.keys(0, 4, 8)
    tested = reverse_test(clip, keys, 3, flow=DISFlow())
    estimate = QualityEstimate(Calibration.of(tested, keys))
    real = {}
    for result in propagate(clip, keys, 3, flow=DISFlow()):
        estimate.add(result)
        if not result.is_key:
            real[result.index] = _iou(clip.mask(result.index), result.mask)
    assert estimate.mean_iou == pytest.approx(np.mean(list(real.values())), abs=0.03)
    assert estimate.frames[5] > estimate.frames[12]
