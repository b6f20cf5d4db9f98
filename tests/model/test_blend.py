import numpy as np
import pytest

from model.blend import Blender, weigh
from model.chain import Chain, Link
from model.flow import DISFlow
from model.keyframes import KeyFrame, lab
from model.settings import PropagationSettings
from model.side import colour_similarity

HEIGHT, WIDTH = 24, 32
GREY = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
FLOW = PropagationSettings()


def _key(index: int, label: int, image=GREY) -> KeyFrame:
    return KeyFrame.prepare(index, np.full((HEIGHT, WIDTH), label, np.uint8), image, 3)


def _chain(index: int, confidence: float = 1.0) -> Chain:
    start = Chain.start(index, (HEIGHT, WIDTH))
    return Chain(index, start.positions, start.confidence * np.float32(confidence))


def _weigh(index, *sources):
    probabilities, confidence = weigh(index, lab(GREY), sources, FLOW)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    return probabilities[:, 12, 16], confidence[12, 16]


def test_the_same_colour_is_alike_and_another_is_not():
    other = np.full_like(GREY, (200, 60, 60))
    assert (colour_similarity(lab(GREY), lab(GREY), 6) == 1).all()
    assert (colour_similarity(lab(GREY), lab(other), 6) < 0.01).all()


def test_weights_follow_the_formula():
    settings = FLOW
    probabilities, confidence = _weigh(3, (_key(0, 1), _chain(0, 0.5)), (_key(10, 2), _chain(10)))
    first = np.exp(-3 / settings.decay) * (0.5 + settings.floor)
    second = np.exp(-7 / settings.decay) * (1 + settings.floor)
    assert probabilities[1] == pytest.approx(first / (first + second), rel=1e-4)
    assert confidence == pytest.approx(1)


def test_a_source_of_another_colour_loses():
    other = np.full_like(GREY, (200, 60, 60))
    probabilities, _ = _weigh(5, (_key(0, 1, other), _chain(0)), (_key(10, 2), _chain(10)))
    assert probabilities[2] > 0.9


def test_confidence_is_that_of_the_best_source():
    _, confidence = _weigh(5, (_key(0, 1), _chain(0, 0.3)), (_key(10, 1), _chain(10, 0.7)))
    assert confidence == pytest.approx(0.7, abs=1e-3)


def test_blending_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one source"):
        weigh(0, lab(GREY), [], FLOW)


class _Counting:
    name = "theirs"

    def __init__(self) -> None:
        self.calls = 0

    def flow(self, source, target, initial=None):
        self.calls += 1
        return np.zeros((HEIGHT, WIDTH, 2), np.float32)


@pytest.mark.parametrize(("confidence", "calls"), [(0.9, 0), (0.2, 2)])
def test_direct_flow_is_asked_for_where_the_chain_is_unsure(confidence, calls):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[8:16, 8:16] = 1
    key = KeyFrame.prepare(0, mask, GREY, 3)
    estimator = _Counting()
    Blender(PropagationSettings.best(), estimator).blend(4, GREY, [(key, _chain(0, confidence))])
    assert estimator.calls == calls


def test_the_frame_before_has_a_say_only_through_a_link():
    settings = PropagationSettings.best()
    link = Link(np.zeros((HEIGHT, WIDTH, 2), np.float32), np.ones((HEIGHT, WIDTH), np.float32))
    blender = Blender(settings, DISFlow())
    assert blender.recalls
    assert not Blender(FLOW, DISFlow()).recalls
    blender.blend(1, GREY, [(_key(0, 1), _chain(0))], link)
    linked = blender.blend(2, GREY, [(_key(0, 2), _chain(0))], link).probabilities[:, 12, 16]
    alone = blender.blend(3, GREY, [(_key(0, 2), _chain(0))]).probabilities[:, 12, 16]
    assert linked[1] > 0.05
    assert alone[1] == 0
