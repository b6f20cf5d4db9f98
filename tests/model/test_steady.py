"""Each frame's labels averaged with those of the frames beside it, along the flow."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace

import numpy as np
import pytest

from model.blend import FrameResult
from model.flowstore import FlowStore
from model.networks.compact import Compact
from model.pipeline import ClipAnnotator
from model.presets import FinetuneSettings
from model.settings import PropagationSettings
from model.steady import steadied
from tests.model.moving import CLASS_NAMES, MovingClip

HEIGHT, WIDTH = 40, 48
SETTINGS = PropagationSettings(steady=1.0)


class Shifting:
    """A clip of noise that moves `step` pixels to the right per frame, and its flow."""

    name = "shifting"

    def __init__(self, step: int = 0, length: int = 3) -> None:
        self.step = step
        self._noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, 200, 3), np.uint8)
        self._length = length
        self.frames = [self.read(index) for index in range(length)]

    def __len__(self) -> int:
        return self._length

    def start(self, index: int) -> int:
        return 100 - self.step * index

    def read(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(self._noise[:, self.start(index) : self.start(index) + WIDTH])

    def flow(self, source, target, initial=None):
        frames = [frame.tobytes() for frame in self.frames]
        apart = frames.index(target.tobytes()) - frames.index(source.tobytes()) if self.step else 0
        out = np.zeros((HEIGHT, WIDTH, 2), np.float32)
        out[..., 0] = apart * self.step
        return out


def _result(index: int, left: float | np.ndarray, clip: Shifting | None = None) -> FrameResult:
    """A frame where class 1 has the probability `left` (a number, or (H, W))."""
    one = np.broadcast_to(np.float32(left), (HEIGHT, WIDTH))
    both = np.stack([1 - one, one]).astype(np.float32)
    image = None if clip is None else clip.read(index)
    return FrameResult(index, both, np.ones((HEIGHT, WIDTH), np.float32), False, image)


def _stream(results: Iterable[FrameResult]) -> Generator[FrameResult, None, None]:
    yield from results


def _steadied(results, clip, given=(), settings=SETTINGS) -> list[FrameResult]:
    flows = FlowStore(clip, limit=0)
    return list(steadied(_stream(results), given, flows, clip, settings))


def test_a_frame_that_differs_from_both_neighbours_is_drawn_to_them():
    shares = [0.9, 0.3, 0.9]
    out = _steadied([_result(i, share) for i, share in enumerate(shares)], Shifting())
    assert [one.index for one in out] == [0, 1, 2]
    # The weights are 1 where flow is the same there and back, and colours are.
    means = [float(one.probabilities[1].mean()) for one in out]
    np.testing.assert_allclose(means, [0.6, 0.7, 0.6], atol=1e-5)
    assert out[1].mask.all()


def test_what_a_person_labelled_is_not_changed_and_steadies_the_others():
    frames = [_result(0, 1.0), _result(1, 0.4), _result(2, 1.0)]
    out = _steadied(frames, Shifting(), given={0: None, 2: None})
    assert out[0] is frames[0]
    assert out[2] is frames[2]
    np.testing.assert_allclose(out[1].probabilities[1], 0.8, atol=1e-5)


def test_neighbours_are_carried_along_the_flow():
    clip = Shifting(step=5)
    x = np.arange(WIDTH)
    frames = []
    for index in range(3):  # An outline that moves as the picture does, in vague masks.
        inside = np.broadcast_to(x < 10 + 5 * index, (HEIGHT, WIDTH))
        frames.append(_result(index, np.where(inside, 0.9, 0.2), clip))
    out = _steadied(frames, clip)[1].probabilities[1]
    np.testing.assert_allclose(out, frames[1].probabilities[1], atol=1e-3)


def test_where_colours_differ_neighbours_do_not_count():
    clip = Shifting(step=5)
    still = Shifting()
    still.read = clip.read  # Colours move, but flow says that nothing does.
    out = _steadied([_result(i, share) for i, share in enumerate((0.9, 0.3, 0.9))], still)
    assert abs(float(out[1].probabilities[1].mean()) - 0.3) < 0.02


def test_where_flow_does_not_return_neighbours_do_not_count():
    class Lost(Shifting):
        def flow(self, source, target, initial=None):
            return np.full((HEIGHT, WIDTH, 2), 9, np.float32)

    out = _steadied([_result(i, share) for i, share in enumerate((0.9, 0.3, 0.9))], Lost())
    np.testing.assert_allclose(out[1].probabilities[1], 0.3, atol=1e-3)


def test_probabilities_sum_to_one_with_many_classes():
    rng = np.random.default_rng(1)
    frames = []
    for index in range(4):
        votes = rng.random((7, HEIGHT, WIDTH)).astype(np.float32) ** 4
        frames.append(replace(_result(index, 0.5), probabilities=votes / votes.sum(axis=0)))
    before = [frame.probabilities.copy() for frame in frames]
    out = _steadied(frames, Shifting(length=4))
    expected = (before[1] + before[2] + before[3]) / 3
    np.testing.assert_allclose(out[2].probabilities, expected, atol=1e-4)
    for frame, old in zip(frames, before, strict=True):
        np.testing.assert_array_equal(frame.probabilities, old)


def test_what_was_propagated_is_remembered_for_what_is_expected_of_it():
    first = _result(1, 0.4)
    mixed = replace(_result(1, 0.3), propagated=first.probabilities)
    for middle in (first, mixed):
        out = _steadied([_result(0, 0.9), middle, _result(2, 0.9)], Shifting())
        assert out[1].propagated is first.probabilities


def test_sure_frames_that_agree_are_handed_on():
    frames = [_result(index, 1.0) for index in range(3)]
    out = _steadied(frames, Shifting())
    assert all(new is old for new, old in zip(out, frames, strict=True))


@pytest.mark.parametrize("indices", [[], [1], [0, 2]])
def test_frames_without_a_neighbour_are_as_they_were(indices):
    frames = [_result(index, 0.4) for index in indices]
    out = _steadied(frames, Shifting())
    assert [one.index for one in out] == indices
    for one in out:
        np.testing.assert_allclose(one.probabilities[1], 0.4, atol=1e-6)


def test_without_weight_nothing_is_done():
    results = _stream([_result(0, 0.4)])
    clip = Shifting()
    flows = FlowStore(clip, limit=0)
    assert steadied(results, (), flows, clip, PropagationSettings()) is results


def test_closing_closes_what_it_reads_from():
    closed = []

    def results() -> Generator[FrameResult, None, None]:
        try:
            yield from (_result(index, 0.4) for index in range(3))
        finally:
            closed.append(True)

    clip = Shifting()
    steady = steadied(results(), (), FlowStore(clip, limit=0), clip, SETTINGS)
    next(steady)
    steady.close()
    assert closed == [True]


def test_a_clips_masks_are_steadied_and_its_network_sees_each_frame_once(monkeypatch):
    clip = MovingClip()
    labels = {0: clip.mask(0), 11: clip.mask(11)}
    annotator = ClipAnnotator(
        clip,
        CLASS_NAMES,
        finetune=FinetuneSettings(epochs=1, steps_per_epoch=1, seconds=60),
        propagation=PropagationSettings.best(),
    )
    annotator.finetune(labels)
    annotator.evidence_weight = 0.5
    alone = replace(annotator.propagation, steady=0.0)
    annotator.propagation, steady = alone, annotator.propagation
    before = list(annotator.propagate(labels))
    annotator.propagation = steady
    monkeypatch.setattr(Compact, "features", None)  # It would be asked for a frame a second time.
    after = []
    for result in annotator.propagate(labels):
        after.append(result)
        if not result.is_key:
            annotator.feature_map(result.image)
    assert [result.index for result in after] == list(range(12))
    for old, new in zip(before, after, strict=True):
        same = np.array_equal(old.probabilities, new.probabilities)
        assert same == (old.index in labels)
        np.testing.assert_allclose(new.probabilities.sum(axis=0), 1, atol=1e-5)
