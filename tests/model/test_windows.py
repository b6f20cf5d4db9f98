"""The windows that the refining network sees."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from model.blend import FrameResult
from model.flow import DISFlow
from model.settings import PropagationSettings
from model.synthetic import render_clip
from model.walk import Walk
from model.windows import CLASS_CHANNELS, SHARED_CHANNELS, Shared, windows


def _frame(size: tuple[int, int]) -> FrameResult:
    """A frame of a rendered clip, propagated."""
    clip = render_clip(5, size, 5, "wild")
    masks = {key: clip.mask(key) for key in (0, 4)}
    settings = PropagationSettings.best(refine=1.0)
    (result,) = Walk(clip, masks, len(clip.class_names), DISFlow(), settings).frames({2})
    return result


@pytest.fixture(scope="module", params=[(240, 180), (40, 32)], ids=["large", "below-a-window"])
def result(request: pytest.FixtureRequest) -> FrameResult:
    return _frame(request.param)


def test_they_cover_each_contested_pixel(result: FrameResult) -> None:
    covered = np.zeros(result.mask.shape, bool)
    for window in windows(result.clues, result.probabilities):
        covered[window.place] = True
        shape = window.contested.shape
        assert shape == result.mask[window.place].shape
        assert window.by_class.shape == (len(window.classes), CLASS_CHANNELS, *shape)
        assert window.shared.shape == (SHARED_CHANNELS, *shape)
        assert torch.isfinite(window.by_class).all()
        assert torch.isfinite(window.shared).all()
    assert covered.ravel()[result.clues.votes.places].all()


def test_only_classes_that_are_there_are_looked_at(result: FrameResult) -> None:
    seen = list(windows(result.clues, result.probabilities))
    assert seen
    for window in seen:
        there = result.probabilities[:, window.place[0], window.place[1]]
        np.testing.assert_array_equal(window.classes, np.flatnonzero(there.max((1, 2)) > 0.02))


def test_colours_are_told_against_all_that_surrounds_them(result: FrameResult) -> None:
    """Worked out about the contested pixels only, they are what the whole frame would give."""
    clues = result.clues
    scaled = clues.lab.astype(np.float32) * np.array([100 / 255 / 20, 1 / 20, 1 / 20], np.float32)
    expected = scaled - cv2.GaussianBlur(scaled, (0, 0), 6.0)
    place = clues.votes.places[:1]
    alone = replace(clues, votes=replace(clues.votes, places=place, counts=np.zeros((2, 1, 5))))
    for one in (clues, alone):
        y, x = np.divmod(place[0], result.mask.shape[1])
        about = (slice(max(0, y - 40), y + 41), slice(max(0, x - 40), x + 41))
        places = np.arange(result.mask.size).reshape(result.mask.shape)[about]
        np.testing.assert_array_equal(Shared(one, 0.0).at(places)[..., 8:11], expected[about])


def test_a_class_that_only_a_network_names_is_looked_at(result: FrameResult) -> None:
    evidence = np.zeros_like(result.probabilities)
    evidence[-1] = 1
    for window in windows(result.clues, result.probabilities, evidence, 1.0):
        assert window.classes[-1] == len(evidence) - 1
