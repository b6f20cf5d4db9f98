import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from model import flow as flow_module
from model.flow import (
    FLOWS,
    DISFlow,
    FlowEstimator,
    forward_backward_check,
    forward_backward_confidence,
    get_flow,
    register_flow,
)


def _texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def _constant(height: int, width: int, vector: tuple[float, float]) -> np.ndarray:
    return np.broadcast_to(np.float32(vector), (height, width, 2)).copy()


class FlowContract:
    """What every estimator must do; subclasses say which."""

    name: str

    @pytest.fixture
    def estimator(self) -> FlowEstimator:
        return get_flow(self.name)

    def test_has_a_name(self, estimator):
        assert isinstance(estimator, FlowEstimator)
        assert estimator.name

    @pytest.mark.parametrize("shift", [(3, 0), (0, -2), (-4, 5)])
    def test_finds_a_translation(self, estimator, shift):
        big = _texture(140, 180)
        source = big[20:-20, 20:-20]
        target = big[20 - shift[1] : 120 - shift[1], 20 - shift[0] : 160 - shift[0]]
        found = estimator.flow(source, np.ascontiguousarray(target))
        assert found.shape == (100, 140, 2)
        assert found.dtype == np.float32
        error = np.linalg.norm(found - np.float32(shift), axis=-1)[10:-10, 10:-10]
        assert np.median(error) < 0.5

    def test_uses_a_first_guess_without_changing_it(self, estimator):
        big = _texture(140, 220)
        source, target = big[20:-20, 60:-60], np.ascontiguousarray(big[20:-20, 20:-100])
        guess = _constant(100, 100, (38, 0))
        before = guess.copy()
        found = estimator.flow(source, target, guess)
        np.testing.assert_array_equal(guess, before)
        assert np.median(np.abs(found[10:-10, 10:-50, 0] - 40)) < 1

    @pytest.mark.parametrize("size", [(1, 1), (5, 40), (31, 33)])
    def test_takes_small_images(self, estimator, size):
        image = _texture(*size)
        assert np.abs(estimator.flow(image, image)).max() < 0.5

    def test_is_deterministic(self, estimator):
        first, second = _texture(64, 64), _texture(64, 64, 1)
        np.testing.assert_array_equal(
            estimator.flow(first, second), get_flow(self.name).flow(first, second)
        )

    def test_refuses_frames_of_two_sizes(self, estimator):
        with pytest.raises(ValueError, match="one size"):
            estimator.flow(_texture(40, 40), _texture(40, 41))

    def test_refuses_a_guess_of_another_size(self, estimator):
        with pytest.raises(ValueError, match="initial must be"):
            estimator.flow(_texture(40, 40), _texture(40, 40), _constant(40, 41, (0, 0)))

    def test_refuses_what_is_no_frame(self, estimator):
        with pytest.raises(ValueError, match="uint8"):
            estimator.flow(np.zeros((40, 40, 3)), np.zeros((40, 40, 3)))


class TestDIS(FlowContract):
    name = "dis"


class TestDISUltrafast(FlowContract):
    name = "dis-ultrafast"


class TestDISFast(FlowContract):
    name = "dis-fast"


class TestDISFine(FlowContract):
    name = "dis-fine"


class TestDISSharp(FlowContract):
    name = "dis-sharp"


class TestDISQuick(FlowContract):
    name = "dis-quick"


def test_every_registered_flow_keeps_the_contract():
    tested = {contract.name for contract in FlowContract.__subclasses__()}
    assert set(FLOWS) == tested


def test_an_estimator_survives_pickling_after_use():
    estimator = DISFlow()
    image = _texture(40, 40)
    estimator.flow(image, image)
    assert pickle.loads(pickle.dumps(estimator)).flow(image, image).shape == (40, 40, 2)


def test_unknown_flow_names_the_known_ones():
    with pytest.raises(ValueError, match=r"no flow named 'nope'.*dis, dis-fast"):
        get_flow("nope")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'dis' is registered already"):
        register_flow("dis", DISFlow)


def test_another_package_can_offer_a_flow(monkeypatch):
    class Point:
        name = "theirs"

        def load(self):
            return lambda: DISFlow("fast")

    monkeypatch.setattr(flow_module, "entry_points", lambda group: [Point()])
    assert get_flow("theirs").name == "dis-fast"
    with pytest.raises(ValueError, match="theirs"):
        get_flow("nope")


@pytest.mark.parametrize("options", [{"preset": "slow"}, {"finest_scale": -1}, {"smoothing": -2}])
def test_dis_refuses_wrong_options(options):
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        DISFlow(**options)


def test_sharp_flow_keeps_the_edge_of_a_moving_thing():
    big = _texture(140, 220)
    source, target = big[20:-20, 40:-40].copy(), big[20:-20, 40:-40].copy()
    thing = _texture(36, 36, 3)
    source[32:68, 40:76] = thing
    target[32:68, 46:82] = thing
    truth = np.zeros((100, 140, 2), np.float32)
    truth[32:68, 40:76, 0] = 6
    visible = np.ones((100, 140), bool)
    visible[32:68, 76:82] = False
    errors = [
        np.linalg.norm(get_flow(name).flow(source, target) - truth, axis=-1)[visible].mean()
        for name in ("dis-sharp", "dis")
    ]
    assert errors[0] < errors[1]


def test_the_check_passes_where_the_way_back_returns():
    there, back = _constant(20, 30, (4, 0)), _constant(20, 30, (-4, 0))
    back[:, :15] = (3, 3)
    passed = forward_backward_check(there, back)
    # Pixels whose flow ends at x >= 15 and inside the image.
    expected = np.zeros((20, 30), bool)
    expected[:, 11:26] = True
    np.testing.assert_array_equal(passed, expected)


def test_the_check_has_the_papers_threshold():
    there = _constant(9, 9, (0, 0))
    squared = 0.5 / (1 - 0.01)
    for factor, passes in ((0.99, True), (1.01, False)):
        back = _constant(9, 9, (np.sqrt(squared * factor), 0))
        assert forward_backward_check(there, back).all() == passes


def test_confidence_is_one_for_a_perfect_return_and_falls_with_the_error():
    there = _constant(20, 20, (2, 0))
    values = [
        forward_backward_confidence(there, _constant(20, 20, (-2 + error, 0)))[10, 10]
        for error in (0, 0.5, 1, 3)
    ]
    assert values[0] == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert values[2] == pytest.approx(np.exp(-1 / (0.02 * 5 + 1)), rel=1e-4)


def test_confidence_is_zero_outside():
    there = _constant(10, 10, (5, 0))
    confidence = forward_backward_confidence(there, -there)
    assert (confidence[:, 5:] == 0).all()
    assert (confidence[:, :5] > 0.99).all()


def test_checks_refuse_two_sizes():
    with pytest.raises(ValueError, match="of one size"):
        forward_backward_check(_constant(4, 4, (0, 0)), _constant(4, 5, (0, 0)))


def test_several_threads_ask_one_estimator():
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(6)]
    flow = DISFlow("fast")
    pairs = list(itertools.permutations(frames, 2))
    expected = [DISFlow("fast").flow(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: flow.flow(*pair), pairs))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
