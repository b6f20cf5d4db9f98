"""Scores of a clip, as its frames come."""

import numpy as np
import pytest

from backend.scoring import ClipScorer
from model.benchmark import LabelledClip
from model.propagate import FrameResult
from model.synthetic import render_clip

FRAMES = 20


@pytest.fixture(scope="module")
def clip():
    drawn = render_clip(FRAMES, (64, 48), 0)
    return LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)


def result(clip, mask, index, is_key=False):
    onehot = mask == np.arange(len(clip.class_names))[:, None, None]
    return FrameResult(index, onehot.astype(np.float32), np.ones(mask.shape, np.float32), is_key)


def scored(clip, masks, keys, pictures=False):
    scorer = ClipScorer(clip, keys, pictures)
    for index, mask in enumerate(masks):
        scorer.add(result(clip, mask, index, index in keys), clip.masks.read(index))
    return scorer


def test_the_truth_scores_one_on_everything(clip):
    truth = [clip.masks.read(index) for index in range(FRAMES)]
    scorer = scored(clip, truth, {0, 10})
    assert set(scorer.unlabelled().values()) == {1.0}
    whole = scorer.all()
    # Along estimated flow even the truth is not quite consistent.
    assert 0.9 < whole.pop("tc") <= 1.0
    assert set(whole.values()) == {1.0}
    assert {"miou", "j", "f", "boundary_iou", "vc8", "vc16"} <= whole.keys()


def test_labelled_frames_count_in_all_only(clip):
    frozen = [clip.masks.read(0)] * FRAMES
    scorer = scored(clip, frozen, {0})
    assert scorer.unlabelled()["miou"] < scorer.all()["miou"] < 1
    assert [frame.is_key for frame in scorer.frames] == [True] + [False] * (FRAMES - 1)
    assert scorer.frames[0].miou == 1.0
    assert scorer.frames[1].miou > scorer.frames[-1].miou


@pytest.mark.parametrize(("unsure", "is_key"), [((0, 5), True), ((0, 6), False)])
def test_a_labelled_frame_may_have_void_but_no_gap(clip, unsure, is_key):
    scorer = ClipScorer(clip, {0}, follow=False)
    truth = clip.masks.read(0).copy()
    truth[:5] = 255
    labelled = result(clip, truth, 0)
    labelled.confidence[slice(*unsure)] = 0.5
    scorer.add(labelled, truth)
    assert scorer.frames[0].is_key is is_key
    assert (scorer.unlabelled() is None) is is_key


def test_nothing_unlabelled_has_no_score(clip):
    truth = [clip.masks.read(index) for index in range(FRAMES)]
    assert scored(clip, truth, set(range(FRAMES))).unlabelled() is None


def test_a_short_clip_has_no_long_windows(clip):
    scorer = scored(clip, [clip.masks.read(index) for index in range(9)], {0})
    assert (scorer.all()["vc8"], scorer.all()["vc16"]) == (1.0, None)


def test_temporal_consistency_can_be_left_out(clip):
    scorer = ClipScorer(clip, {0}, follow=False)
    for index in range(3):
        truth = clip.masks.read(index)
        scorer.add(result(clip, truth, index), truth)
    assert scorer.all()["tc"] is None
    assert scorer.all()["miou"] == 1.0


def test_pictures_are_few_small_and_include_the_worst(clip):
    masks = [clip.masks.read(index) for index in range(FRAMES)]
    masks[13] = np.zeros_like(masks[13])
    pictures = scored(clip, masks, {0, 10}, pictures=True).shown()
    assert 4 <= len(pictures) <= 6
    assert [p.index for p in pictures] == sorted(p.index for p in pictures)
    worst = next(p for p in pictures if p.index == 13)
    assert worst.miou == min(p.miou for p in pictures)
    assert worst.why
    assert not {0, 10} & {p.index for p in pictures}
    for picture in pictures:
        assert picture.image.shape == (48, 64, 3)
        assert picture.truth.shape == picture.predicted.shape == (48, 64)
