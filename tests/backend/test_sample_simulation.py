"""The simulated annotator who is asked for rectangles and super-pixels."""

from __future__ import annotations

import numpy as np
import pytest

from backend.queries import parse_budget
from backend.sample_simulation import SampleDesk
from backend.settings import load_settings
from backend.simulation import prepare, simulate_clip
from model.benchmark import LabelledClip
from model.blend import FrameResult
from model.pipeline import ClipAnnotator
from model.synthetic import render_clip
from selection.clicks import VOID
from selection.granularity import parse_granularity

FRAMES = 8


@pytest.fixture(scope="module")
def clip():
    drawn = render_clip(FRAMES, (96, 72), 0)
    return LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)


@pytest.fixture(scope="module")
def annotator(clip):
    return ClipAnnotator(clip.source, clip.class_names, method="flow")


def seen(clip, annotator, samples, masks=None, labels=None):
    """A desk that saw every frame, with masks that are all background unless given."""
    desk = SampleDesk(clip, parse_granularity(samples), {0})
    for index in range(FRAMES):
        mask = np.zeros((72, 96), np.uint8) if masks is None else masks(index)
        probabilities = np.zeros((len(clip.class_names), 72, 96), np.float32)
        np.put_along_axis(probabilities, mask[None].astype(np.int64), 1.0, axis=0)
        confidence = np.full((72, 96), 0.9, np.float32)
        confidence[:16, :16] = 0.1  # the first rectangle is least certain
        result = FrameResult(index, probabilities, confidence, is_key=False)
        desk.see(result, annotator, (labels or {}).get(index))
    return desk


def test_the_first_round_asks_for_as_many_pixels_as_later_ones(clip):
    desk = SampleDesk(clip, parse_granularity("rectangle:16"), {0})
    assert desk.samples(parse_budget("25%")) == round(0.25 * FRAMES * 30)
    assert desk.frames(parse_budget("25%")) == 2
    assert desk.frames(parse_budget("1")) == 1


def test_only_what_was_asked_for_is_labelled_with_the_truth(clip, annotator):
    desk = seen(clip, annotator, "rectangle:16")
    answer = desk.ask("uncertainty", FRAMES, 0, {})
    assert answer.samples == [(index, 0) for index in range(FRAMES)]
    for index, label in answer.labels.items():
        np.testing.assert_array_equal(label[:16, :16], clip.masks.read(index)[:16, :16])
        assert (label != VOID).sum() == 256
    assert answer.clicks >= FRAMES


def test_what_was_labelled_stays_and_is_not_asked_for_again(clip, annotator):
    first = clip.masks.read(0).copy()
    first[32:] = VOID
    desk = seen(clip, annotator, "rectangle:16", labels={0: first})
    answer = desk.ask("uncertainty", FRAMES * 30, 0, {0: first})
    assert (0, 0) not in answer.samples
    assert (1, 0) in answer.samples
    np.testing.assert_array_equal(answer.labels[0], clip.masks.read(0))


def test_a_super_pixel_is_a_click_and_none_where_its_class_was_right(clip, annotator):
    wrong = seen(clip, annotator, "superpixel:16").ask("uncertainty", 40, 0, {})
    right = seen(clip, annotator, "superpixel:16", masks=clip.masks.read)
    answer = right.ask("uncertainty", 40, 0, {})
    assert answer.clicks == wrong.clicks == 40
    assert answer.corrections == 0
    assert 0 < wrong.corrections < 40


def test_right_rectangles_need_no_correction(clip, annotator):
    answer = seen(clip, annotator, "rectangle:16", masks=clip.masks.read).ask(
        "uncertainty", 40, 0, {}
    )
    assert answer.corrections == 0
    assert answer.clicks >= 40


@pytest.mark.parametrize("samples", ["rectangle:16", "superpixel:16"])
def test_rounds_add_clicks_and_quality(clip, samples):
    settings = load_settings(method="flow", strategy="hvsa", seed=0)
    ground = prepare(clip, settings)
    run = simulate_clip(
        clip,
        settings,
        parse_budget("12%"),
        3,
        samples=parse_granularity(samples),
        ground=ground,
        follow=False,
    )
    assert run.samples == samples
    clicks = [row.clicks for row in run.rounds]
    assert clicks == sorted(set(clicks))
    assert all(isinstance(each, int) for each in run.rounds[0].samples)
    assert all(len(each) == 2 for each in run.rounds[1].samples)
    assert run.rounds[-1].all["miou"] > 0.5
    assert run.record()["samples"] == samples
