from itertools import product

import cv2
import numpy as np
import pytest

from model.blend import FrameResult
from model.flow import DISFlow
from model.propagate import propagate
from model.quality import Calibration, QualityEstimate, Spot, find_spots, reverse_test

HEIGHT, WIDTH, FRAMES = 96, 128, 13


class Drifting:
    """Two textured squares (classes 1 and 2) that drift apart over a still background."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        noise = generator.integers(0, 256, (HEIGHT, 3 * WIDTH, 3), dtype=np.uint8)
        self._noise = cv2.GaussianBlur(noise, (0, 0), 1.5)

    def __len__(self) -> int:
        return FRAMES

    def _places(self, index: int):
        yield 1, slice(10, 44), slice(20 + 2 * index, 54 + 2 * index), (90, 0, 0)
        yield 2, slice(54, 88), slice(70 - 2 * index, 104 - 2 * index), (0, 0, 90)

    def read(self, index: int) -> np.ndarray:
        image = self._noise[:, :WIDTH] // 2
        for label, rows, columns, colour in self._places(index):
            texture = self._noise[:34, label * WIDTH : label * WIDTH + 34] // 2
            image[rows, columns] = texture + np.uint8(colour)
        return image

    def mask(self, index: int) -> np.ndarray:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, rows, columns, _ in self._places(index):
            mask[rows, columns] = label
        return mask

    def keys(self, *indices: int) -> dict[int, np.ndarray]:
        return {index: self.mask(index) for index in indices}


@pytest.fixture(scope="module")
def clip() -> Drifting:
    return Drifting()


def _result(probabilities, index=1, is_key=False) -> FrameResult:
    probabilities = np.asarray(probabilities, np.float32)
    return FrameResult(index, probabilities, np.ones(probabilities.shape[1:], np.float32), is_key)


def _iou(truth, predicted, classes=3):
    pairs = [
        ((truth == c) & (predicted == c), (truth == c) | (predicted == c)) for c in range(classes)
    ]
    return np.mean([both.sum() / either.sum() for both, either in pairs if either.any()])


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


def test_one_key_frame_predicts_nothing(clip):
    assert list(reverse_test(clip, clip.keys(3), 3, flow=DISFlow())) == []
    assert Calibration.of(iter(()), {}) == Calibration()


def test_certain_frames_are_expected_perfect():
    probabilities = np.eye(3, dtype=np.float32)[np.arange(12).reshape(3, 4) % 3].transpose(2, 0, 1)
    assert QualityEstimate().add(_result(probabilities)) == pytest.approx(1)


def test_soft_iou_is_the_expected_one():
    # Two pixels called 1 with probability 0.8, two called 0 with certainty.
    probabilities = np.array([[[0.2, 0.2, 1, 1]], [[0.8, 0.8, 0, 0]]])
    expected = np.mean([2 / 2.4, 1.6 / 2.0])
    assert QualityEstimate().add(_result(probabilities)) == pytest.approx(expected, abs=1e-5)


def test_the_calibration_scales_the_error():
    keys = {5: np.array([[1, 1, 0, 0]], np.uint8)}
    prediction = np.array([[[0.1, 0.9, 1, 1]], [[0.9, 0.1, 0, 0]]])
    calibration = Calibration.of(iter([_result(prediction, 5)]), keys)
    assert calibration.held_out == {5: pytest.approx(np.mean([1 / 2, 2 / 3]))}
    assert calibration.scale > 1.5
    assert Calibration(2.0).apply(0.9) == pytest.approx(0.8)
    assert Calibration(6.0).apply(0.5) == 0.0


def test_key_frames_count_as_perfect_and_stay_out_of_the_mean():
    estimate = QualityEstimate()
    assert estimate.mean_iou == 1.0
    assert estimate.add(_result(np.full((2, 3, 3), 0.5), 0, is_key=True)) == 1.0
    assert estimate.mean_iou == 1.0
    doubtful = np.stack([np.full((3, 3), 0.6), np.full((3, 3), 0.4)])
    assert estimate.add(_result(doubtful, 1)) < 0.7
    assert estimate.frames == {0: 1.0, 1: estimate.mean_iou}


def test_ignored_pixels_do_not_calibrate():
    prediction = np.array([[[0.1, 0.9, 1, 1]], [[0.9, 0.1, 0, 0]]])
    keys = {5: np.array([[1, 255, 0, 0]], np.uint8)}
    assert Calibration.of(iter([_result(prediction, 5)]), keys).held_out == {5: 1.0}


def test_the_estimate_is_near_the_truth_on_a_clip(clip):
    keys = clip.keys(0, 4, 8, 12)
    tested = reverse_test(clip, keys, 3, flow=DISFlow())
    estimate = QualityEstimate(Calibration.of(tested, keys))
    real = []
    for result in propagate(clip, keys, 3, flow=DISFlow()):
        estimate.add(result)
        if not result.is_key:
            real.append(_iou(clip.mask(result.index), result.mask))
    assert estimate.mean_iou == pytest.approx(np.mean(real), abs=0.05)


def _spots(clip, keys) -> list[Spot]:
    return find_spots(reverse_test(clip, keys, 3, flow=DISFlow()), keys)


def test_consistent_key_frames_have_no_spots(clip):
    assert _spots(clip, clip.keys(0, 4, 8, 12)) == []


@pytest.mark.parametrize(("frame", "label"), list(product((0, 4, 8, 12), (1, 2))))
def test_a_swapped_label_is_named_with_frame_region_and_classes(clip, frame, label):
    keys = clip.keys(0, 4, 8, 12)
    region = keys[frame] == label
    keys[frame][region] = 3 - label
    (spot,) = _spots(clip, keys)
    rows, columns = np.nonzero(region)
    assert spot.frame == frame
    assert (spot.labelled, spot.expected) == (3 - label, label)
    assert spot.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert spot.pixels == region.sum()


def test_a_small_difference_at_an_outline_is_no_spot(clip):
    keys = clip.keys(0, 4, 8, 12)
    keys[4] = cv2.dilate(keys[4], np.ones((5, 5), np.uint8))
    assert _spots(clip, keys) == []
