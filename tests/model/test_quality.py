from dataclasses import replace

import numpy as np
import pytest

from model import blend
from model.blend import FrameResult
from model.flow import DISFlow
from model.propagate import PropagationSettings, propagate
from model.quality import Calibration, QualityEstimate, reverse_test
from model.refine import Refinement, load_refiner
from model.signals import BETWEEN, Signals
from model.walk import Walk
from tests.model.drifting import Drifting
from tests.model.moving import MovingClip


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


def test_some_may_be_predicted_as_all_would_have_them(clip):
    keys = clip.keys(0, 4, 8, 12)
    some = list(reverse_test(clip, keys, 3, flow=DISFlow(), indices=(4, 12)))
    assert [result.index for result in some] == [4, 12]
    everything = {r.index: r for r in reverse_test(clip, keys, 3, flow=DISFlow())}
    for result in some:
        assert (result.probabilities == everything[result.index].probabilities).all()


def test_key_frames_with_next_to_no_labels_are_not_predicted(clip):
    keys = clip.keys(0, 6, 12)
    keys[6][5:] = 255
    results = reverse_test(clip, keys, 3, flow=DISFlow())
    assert [result.index for result in results] == [0, 12]


def test_the_work_for_a_key_frame_does_not_grow_with_the_number_of_the_others(monkeypatch):
    given = []

    class Counting(Walk):
        def __init__(self, source, keys, *rest):
            given.append(len(keys))
            super().__init__(source, keys, *rest)

    monkeypatch.setattr("model.quality.Walk", Counting)
    clip = MovingClip(frames=40, size=(32, 48))
    keys = {index: clip.mask(index) for index in range(40)}
    assert len(list(reverse_test(clip, keys, 3, flow=DISFlow()))) == 40
    assert max(given) < 20


def test_one_key_frame_predicts_nothing(clip):
    assert list(reverse_test(clip, clip.keys(3), 3, flow=DISFlow())) == []
    assert Calibration.of(iter(()), {}) == Calibration()


def test_certain_frames_are_expected_nearly_perfect():
    probabilities = np.eye(3, dtype=np.float32)[np.arange(12).reshape(3, 4) % 3].transpose(2, 0, 1)
    estimate = QualityEstimate()
    estimate.add(_result(probabilities))
    assert estimate.frames[1] > 0.995


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


def test_a_key_frame_without_any_label_is_none():
    truth, nothing = np.uint8([[1, 1, 0, 0]]), np.full((1, 4), 255, np.uint8)
    alone = Calibration.of([_result(DOUBTFUL)], {0: truth, 1: truth})
    beside = Calibration.of([_result(DOUBTFUL)], {0: truth, 1: truth, 9: nothing})
    assert beside == alone


def test_frames_labelled_in_a_small_part_count_as_unlabelled():
    estimate = QualityEstimate(Calibration((0, 10)))
    part = _result(DOUBTFUL, 0, is_key=True)
    part.confidence[:, 1:] = 0.5
    estimate.add(part)
    assert estimate.frames[0] < 0.95
    part.confidence[:, 1:3] = 1
    for whole in (part, replace(part, is_key=False)):
        estimate.add(whole)
        assert estimate.frames == {0: 1.0}


def test_a_calibration_that_comes_later_holds_for_all():
    late, early = (QualityEstimate(Calibration((0, 10), *shift)) for shift in ((), (1.0, 2.0)))
    for estimate in (late, early):
        estimate.add(_result(DOUBTFUL, 3))
        estimate.add(_result(DOUBTFUL, 12))
    assert late.mean_iou > early.mean_iou
    late.calibration = early.calibration
    assert late.frames == early.frames
    assert late.mean_iou == early.mean_iou


def test_refinement_is_tested_too(clip):
    class Worse:
        share = 1.0

        def __call__(self, result):
            flipped = np.ascontiguousarray(result.probabilities[[1, 2, 0]])
            return replace(result, probabilities=flipped)

    keys = clip.keys(0, 6, 12)
    for plain, refined in zip(
        reverse_test(clip, keys, 3, flow=DISFlow()),
        reverse_test(clip, keys, 3, flow=DISFlow(), refinement=Worse()),
        strict=True,
    ):
        # All but ties: outwards of key frames, results are kept as float16.
        assert (refined.mask == (plain.mask + 2) % 3).mean() > 0.99


def test_refinement_without_a_share_is_spared(clip, monkeypatch):
    asked = []
    real = blend.Clues
    monkeypatch.setattr(blend, "Clues", lambda **given: asked.append(1) or real(**given))
    best = PropagationSettings.best(refine=0.0)
    for share, clues in ((0.0, False), (0.5, True)):
        refinement = Refinement(load_refiner(), share)
        keys = clip.keys(0, 2, 4)
        list(reverse_test(clip, keys, 3, flow=DISFlow(), settings=best, refinement=refinement))
        assert bool(asked) == clues


def test_key_frames_count_as_perfect_and_stay_out_of_the_mean():
    estimate = QualityEstimate(Calibration((0, 10)))
    assert estimate.mean_iou == 1.0
    estimate.add(_result(np.full((2, 3, 3), 0.5), 0, is_key=True))
    assert estimate.frames == {0: 1.0}
    assert estimate.mean_iou == 1.0
    estimate.add(_result(DOUBTFUL, 1))
    assert estimate.frames == {0: 1.0, 1: pytest.approx(SOFT, abs=0.1)}
    assert estimate.mean_iou == pytest.approx(estimate.frames[1])


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


def _beyond(contradicted, index=12) -> FrameResult:
    """A frame of 100 pixels, and a network that says otherwise of so many."""
    probabilities = np.eye(2, dtype=np.float32)[np.arange(100).reshape(10, 10) % 2].transpose(
        2, 0, 1
    )
    result = _result(probabilities * 0.8 + 0.1, index, confidence=0.5)
    word = result.mask
    word.ravel()[:contradicted] = 1 - word.ravel()[:contradicted]
    return replace(result, word=word)


def _expected(contradicted, calibration, index=12):
    estimate = QualityEstimate(calibration)
    estimate.add(_beyond(contradicted, index))
    return estimate.frames[index]


def test_beyond_key_frames_a_network_s_dissent_lowers_what_is_expected():
    one_key = Calibration((0,))
    assert _expected(2, one_key) > _expected(20, one_key) > _expected(60, one_key)
    between = Calibration((0, 20))
    assert _expected(2, between) == _expected(60, between)


def test_dissent_weighs_less_the_more_key_frames_were_predicted():
    few = Calibration((0,))
    more = Calibration((0, 5, 10), held_out={0: 0.9, 5: 0.9, 10: 0.9})
    span = [_expected(2, known) - _expected(60, known) for known in (few, more)]
    assert span[0] > span[1] > 0


def test_dissent_is_of_the_clip_and_leaves_the_order_of_frames():
    def expected(dissents):
        estimate = QualityEstimate(Calibration((0,)))
        for index, contradicted in zip((3, 30), dissents, strict=True):
            estimate.add(_beyond(contradicted, index))
        return estimate.frames

    assert expected((30, 2)) == pytest.approx(expected((2, 30)))
    assert expected((30, 2))[3] > expected((30, 2))[30]


def test_the_clip_s_mean_agrees_with_that_of_its_frames():
    """All classes shifted alike by the frame's own shift, a clip came out better than its frames:
    a class that is nearly right stays so, and it is in the mean."""
    large = np.full((2, 20, 20), 0.001, np.float32)
    large[0] = 0.999
    large[:, :4, :5] = [[[0.4]], [[0.6]]]
    large[0, 5:] = 0.999
    result = _result(large / large.sum(axis=0), 15, confidence=0.1)
    estimate = QualityEstimate(Calibration((0,)))
    estimate.add(result)
    assert estimate.mean_iou == pytest.approx(estimate.frames[15], abs=1e-6)


def test_frames_before_the_first_key_frame_go_by_what_was_propagated(clip):
    """They did not: what was propagated was lost there, and a vague word made them look bad."""
    keys = clip.keys(6)

    def vague(index, image):
        return np.full((3, *image.shape[:2]), 1 / 3, np.float32)

    results = list(propagate(clip, keys, 3, flow=DISFlow(), evidence=vague, evidence_weight=0.5))
    plain = list(propagate(clip, keys, 3, flow=DISFlow()))
    for result, same in zip(results[:6], plain[:6], strict=True):
        assert result.propagated == pytest.approx(same.probabilities, abs=0.01)
        assert result.word.shape == result.mask.shape


def test_a_network_s_vague_word_does_not_change_what_is_expected(clip):
    """It did: mixed into sure probabilities, it made masks that had not changed look bad."""
    keys = clip.keys(0, 6, 12)

    def vague(index, image):
        return np.full((3, *image.shape[:2]), 1 / 3, np.float32)

    def expected(**options):
        estimate = QualityEstimate(
            Calibration.of(reverse_test(clip, keys, 3, flow=DISFlow()), keys)
        )
        for result in propagate(clip, keys, 3, flow=DISFlow(), **options):
            estimate.add(result)
        return estimate.mean_iou

    assert expected(evidence=vague, evidence_weight=0.75) == pytest.approx(expected(), abs=1e-6)
