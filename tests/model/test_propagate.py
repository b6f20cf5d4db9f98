import os
import tempfile
import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from model import chain
from model.clip import ClipError, FolderClip
from model.flow import DISFlow
from model.propagate import FrameResult, PropagationSettings, mix, nearest, propagate

HEIGHT, WIDTH, FRAMES = 96, 128, 13
DATA = Path(os.environ.get("MASKLOOP_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def _texture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, 3 * WIDTH, 3), dtype=np.uint8)
    low, high = ((0, 120), (120, 255))[seed]
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, low, high, cv2.NORM_MINMAX)


class MovingSquare:
    """A textured square that crosses a textured background; class 1 on class 0."""

    def __init__(self, frames: int = FRAMES, step: int = 2) -> None:
        self.frames = frames
        self.step = step
        self.reads: Counter[int] = Counter()
        self._far, self._near = _texture(0), _texture(1)

    def __len__(self) -> int:
        return self.frames

    def _box(self, index: int) -> tuple[slice, slice]:
        left = 12 + (self.step * index) % (WIDTH - 64)
        return slice(28, 68), slice(left, left + 40)

    def read(self, index: int) -> np.ndarray:
        self.reads[index] += 1
        image = self._far[:, index : index + WIDTH].copy()
        image[self._box(index)] = self._near[:40, :40]
        return image

    def mask(self, index: int) -> np.ndarray:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[self._box(index)] = 1
        return mask

    def keys(self, *indices: int) -> dict[int, np.ndarray]:
        return {index: self.mask(index) for index in indices}


@pytest.fixture
def clip() -> MovingSquare:
    return MovingSquare()


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    both = (first == 1) & (second == 1)
    either = (first == 1) | (second == 1)
    return both.sum() / either.sum()


def _run(clip, keys, classes=2, **options) -> list[FrameResult]:
    return list(propagate(clip, keys, classes, flow=DISFlow(), **options))


BEST = PropagationSettings.best()
METHODS = pytest.mark.parametrize("settings", [PropagationSettings(), BEST], ids=["flow", "best"])


@METHODS
@pytest.mark.parametrize("keys", [(0,), (6,), (12,), (0, 12), (3, 4, 9), (0, 1, 2), range(13)])
def test_every_frame_in_order_with_probabilities(clip, keys, settings):
    results = _run(clip, clip.keys(*keys), 3, settings=settings)
    assert [result.index for result in results] == list(range(FRAMES))
    for result in results:
        assert result.probabilities.shape == (3, HEIGHT, WIDTH)
        assert result.probabilities.dtype == np.float32
        np.testing.assert_allclose(result.probabilities.sum(axis=0), 1, atol=1e-4)
        assert result.probabilities.min() >= 0
        assert result.confidence.shape == (HEIGHT, WIDTH)
        assert result.confidence.dtype == np.float32
        assert 0 <= result.confidence.min() <= result.confidence.max() <= 1
        assert result.mask.dtype == np.uint8
        assert result.is_key == (result.index in keys)


@METHODS
def test_key_frames_come_out_as_labelled(clip, settings):
    for result in _run(clip, clip.keys(0, 5, 12), settings=settings):
        if result.is_key:
            np.testing.assert_array_equal(result.mask, clip.mask(result.index))
            assert (result.confidence == 1).all()


@METHODS
@pytest.mark.parametrize(("keys", "least"), [((0,), 0.7), ((12,), 0.7), ((0, 12), 0.85)])
def test_the_label_follows_the_motion(clip, keys, least, settings):
    results = _run(clip, clip.keys(*keys), settings=settings)
    copies = nearest(clip, clip.keys(*keys), 2)
    for result, copy in zip(results, copies, strict=True):
        truth = clip.mask(result.index)
        assert _iou(result.mask, truth) > least
        if not result.is_key:
            assert _iou(result.mask, truth) > _iou(copy.mask, truth)


def test_the_best_method_beats_flow_at_outlines_and_far_from_the_key_frame():
    def score(settings, *keys):
        clip = MovingSquare(step=4)
        results = _run(clip, clip.keys(*keys), settings=settings)
        return np.mean([_iou(r.mask, clip.mask(r.index)) for r in results])

    for keys in ((0,), (12,), (0, 12)):
        assert score(BEST, *keys) > score(PropagationSettings(), *keys) + 0.01


def test_before_and_after_a_key_frame_are_alike(clip):
    class Reversed(MovingSquare):
        def read(self, index):
            return super().read(FRAMES - 1 - index)

    there = _run(clip, clip.keys(0), settings=BEST)
    back = _run(Reversed(), {12: clip.mask(0)}, settings=BEST)
    for result, other in zip(there, reversed(back), strict=True):
        np.testing.assert_allclose(result.probabilities, other.probabilities, atol=2e-3)


def test_two_sides_beat_one(clip):
    def score(keys):
        return np.mean([_iou(r.mask, clip.mask(r.index)) for r in _run(clip, clip.keys(*keys))])

    assert score((0, 12)) > score((0,))


def test_confidence_falls_where_things_are_uncovered(clip):
    result = _run(clip, clip.keys(0))[8]
    uncovered = (clip.mask(0) == 1) & (clip.mask(8) == 0)
    assert result.confidence[uncovered].mean() < 0.5 * result.confidence[clip.mask(8) == 1].mean()


@METHODS
@pytest.mark.parametrize("keys", [(0,), (12,), (2, 10), (0, 6, 12)])
def test_frames_are_read_at_most_a_few_times_and_never_held(clip, keys, settings):
    for _ in propagate(clip, clip.keys(*keys), 2, flow=DISFlow(), settings=settings):
        pass
    between = [count for index, count in clip.reads.items() if index not in keys]
    assert max(between) <= 2
    assert max(clip.reads.values()) <= 4


def test_results_are_streamed(clip):
    with closing(propagate(clip, clip.keys(0), 2, flow=DISFlow())) as results:
        next(results)
        next(results)
        # One frame is at work and three wait.
        assert max(clip.reads) <= 1 + 1 + 3 < FRAMES - 1


def _files(monkeypatch) -> list:
    """The temporary files that chains will be put into, as they are made."""
    files = []

    def made(**how):
        files.append(tempfile.TemporaryFile(**how))  # noqa: SIM115
        return files[-1]

    monkeypatch.setattr(chain, "TemporaryFile", made)
    return files


def test_chains_beyond_the_memory_go_to_a_file_that_is_closed(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    keys = clip.keys(1, 12)
    expected = _run(clip, keys)
    files = _files(monkeypatch)
    spilled = propagate(clip, keys, 2, flow=DISFlow(), settings=PropagationSettings(memory=0))
    written = []
    for result, other in zip(spilled, expected, strict=True):
        np.testing.assert_array_equal(result.probabilities, other.probabilities)
        written += [os.fstat(file.fileno()).st_size for file in files if not file.closed]
    assert max(written) > FRAMES * expected[0].confidence.nbytes
    assert all(file.closed for file in files)
    assert list(tmp_path.iterdir()) == []


def test_an_abandoned_run_leaves_nothing_behind(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = _files(monkeypatch)
    settings = PropagationSettings(memory=0)
    results = propagate(clip, clip.keys(1, 12), 2, flow=DISFlow(), settings=settings)
    for _, result in zip(range(4), results, strict=False):
        assert result is not None
    assert any(not file.closed for file in files)
    results.close()
    assert all(file.closed for file in files)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_failed_leaves_nothing_behind_while_its_error_is_kept(
    clip, tmp_path, monkeypatch
):
    def stop(done, of):
        raise ValueError("stopped")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="stopped") as kept:
        _run(clip, clip.keys(1, 12), settings=PropagationSettings(memory=0), progress=stop)
    assert kept.tb is not None
    assert list(tmp_path.iterdir()) == []
    assert set(threading.enumerate()) <= before


@METHODS
def test_ignored_pixels_of_a_key_frame_are_filled_from_the_others(clip, settings):
    keys = clip.keys(0, 6, 12)
    keys[6] = np.full_like(keys[6], 255)
    keys[6][:10] = 0
    results = _run(clip, keys, settings=settings)
    assert not results[6].is_key  # labelled in part only: the rest is a prediction
    assert _iou(results[6].mask, clip.mask(6)) > 0.85
    assert (results[6].confidence[:10] == 1).all()
    assert _iou(results[5].mask, clip.mask(5)) > 0.8


def test_ignored_pixels_of_the_only_key_frame_take_the_nearest_label(clip):
    keys = clip.keys(0)
    keys[0][27:69] = np.where(keys[0][27:69] == 0, 255, 1)
    result = _run(clip, keys)[0]
    np.testing.assert_array_equal(result.mask == 1, result.probabilities[1] > 0.5)
    np.testing.assert_array_equal(result.mask[keys[0] != 255], keys[0][keys[0] != 255])
    assert (result.confidence[keys[0] == 255] == 0).all()


def test_a_key_frame_without_any_label_is_as_none(clip):
    keys = clip.keys(0, 12)
    expected = _run(clip, keys)
    keys[6] = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for result, other in zip(_run(clip, keys), expected, strict=True):
        np.testing.assert_array_equal(result.probabilities, other.probabilities)


def _bad(keys):
    return {0: np.zeros((HEIGHT, WIDTH), np.uint8), **keys}


@pytest.mark.parametrize("method", [partial(propagate, flow=DISFlow()), nearest])
@pytest.mark.parametrize(
    ("keys", "classes", "message"),
    [
        ({}, 2, "at least one labelled frame, and there is none"),
        ({0: np.full((HEIGHT, WIDTH), 255, np.uint8)}, 2, "is all 'ignore'"),
        (_bad({13: np.zeros((HEIGHT, WIDTH), np.uint8)}), 2, "frame 13 is labelled.*0 to 12"),
        (_bad({-1: np.zeros((HEIGHT, WIDTH), np.uint8)}), 2, "frame -1 is labelled"),
        (_bad({4: np.full((HEIGHT, WIDTH), 2, np.uint8)}), 2, "frame 4 names class 2.*0 to 1"),
        (_bad({4: np.zeros((9, 8), np.uint8)}), 2, "frame 4 is 8×9.*frame 0 is 128×96"),
        (_bad({4: np.zeros((HEIGHT, WIDTH))}), 2, "frame 4 must be .* uint8"),
        (_bad({4: np.zeros((HEIGHT, WIDTH, 1), np.uint8)}), 2, "frame 4 must be"),
        (_bad({}), 0, "num_classes must be 1 to 254, not 0"),
        (_bad({}), 255, "num_classes must be 1 to 254, not 255"),
    ],
)
def test_refuses_wrong_keys_at_once(clip, method, keys, classes, message):
    with pytest.raises(ValueError, match=message):
        method(clip, keys, classes)


def test_a_frame_of_another_size_is_named(clip, monkeypatch):
    read = clip.read
    monkeypatch.setattr(clip, "read", lambda i: read(i)[:-2] if i == 7 else read(i))
    with pytest.raises(ClipError, match=r"frame 7 is 128×94.*masks are 128×96"):
        _run(clip, clip.keys(0))


def test_progress_counts_to_the_end(clip):
    seen = []
    _run(clip, clip.keys(0, 9), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(index + 1, FRAMES) for index in range(FRAMES)]


def test_the_nearest_key_frame_is_copied_the_earlier_on_a_tie(clip):
    keys = clip.keys(2, 6)
    for result in nearest(clip, keys, 2):
        key = 2 if result.index <= 4 else 6
        np.testing.assert_array_equal(result.mask, keys[key])
        assert result.is_key == (result.index in keys)


class Oracle:
    """Evidence that knows the truth, or its contrary."""

    def __init__(self, clip: MovingSquare, right: bool = True) -> None:
        self.clip, self.right = clip, right
        self.asked: list[int] = []

    def __call__(self, index: int, image: np.ndarray) -> np.ndarray:
        assert image.shape == (HEIGHT, WIDTH, 3)
        self.asked.append(index)
        truth = self.clip.mask(index) == (1 if self.right else 0)
        return np.stack([~truth, truth]).astype(np.float32)


def test_evidence_is_not_asked_for_at_weight_zero_nor_on_key_frames(clip):
    oracle = Oracle(clip)
    _run(clip, clip.keys(0, 5), evidence=oracle, evidence_weight=0.0)
    assert oracle.asked == []
    _run(clip, clip.keys(0, 5), evidence=oracle, evidence_weight=0.5)
    assert oracle.asked == [i for i in range(FRAMES) if i not in (0, 5)]


def test_good_evidence_helps(clip):
    def score(**options):
        results = _run(clip, clip.keys(0), **options)
        return np.mean([_iou(r.mask, clip.mask(r.index)) for r in results])

    assert score(evidence=Oracle(clip), evidence_weight=1.0) > score()


def test_evidence_is_mixed_in_where_propagation_is_unsure():
    confidence = np.float32([[1.0, 0.5, 0.0]])
    result = FrameResult(3, np.float32([[[1, 1, 1]], [[0, 0, 0]]]), confidence, False)
    evidence = np.float32([[[0, 0, 0]], [[1, 1, 1]]])
    np.testing.assert_allclose(mix(result, evidence, 1.0).probabilities[1], [[0.1, 0.5, 0.6]])
    np.testing.assert_allclose(mix(result, evidence, 0.5).probabilities[1], [[0.05, 0.25, 0.3]])
    np.testing.assert_allclose(mix(result, evidence, 0.5).probabilities.sum(axis=0), 1)


def test_evidence_of_another_shape_is_refused(clip):
    with pytest.raises(ValueError, match=r"evidence for frame 1 .*\(2, 96, 128\); got \(3, 4, 4\)"):
        _run(
            clip,
            clip.keys(0),
            evidence=lambda index, image: np.zeros((3, 4, 4), np.float32),
            evidence_weight=1.0,
        )


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_an_evidence_weight_out_of_range_is_refused(clip, weight):
    with pytest.raises(ValueError, match="evidence_weight must be 0 to 1"):
        propagate(clip, clip.keys(0), 2, flow=DISFlow(), evidence_weight=weight)


@pytest.mark.skipif(not DATA.is_dir(), reason="the real clips (MASKLOOP_DATA) are not here")
def test_a_real_clip_reaches_the_baseline():
    folder = DATA / "davis" / "camel"
    clip = FolderClip(folder / "frames")
    clip.paths = clip.paths[:16]
    paths = sorted((folder / "masks").iterdir())[:16]
    masks = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    results = list(propagate(clip, {0: masks[0], 15: masks[15]}, 2, flow=DISFlow()))
    scores = [_iou(r.mask, masks[r.index]) for r in results if not r.is_key]
    assert np.mean(scores) > 0.94
    changes = [np.mean(a.mask != b.mask) for a, b in pairwise(results)]
    assert max(changes) < 0.05


@pytest.mark.parametrize("keys", [(0,), (12,)])
def test_outwards_of_a_key_frame_what_evidence_corrected_is_recalled(clip, keys):
    """Evidence on one frame alone shows in the frames that follow it, and in none before."""
    at = abs(keys[0] - 3)
    everywhere = np.zeros((2, HEIGHT, WIDTH), np.float32)
    everywhere[1] = 1

    def run(word):
        def evidence(index, image):
            return word if index == at else np.full_like(everywhere, 0.5)

        settings = replace(BEST, recall=1.0, evidence_range=(0.6, 0.9))
        return _run(
            clip, clip.keys(*keys), settings=settings, evidence=evidence, evidence_weight=1.0
        )

    with_it, without = run(everywhere), run(np.full_like(everywhere, 0.5))
    changed = [
        not np.array_equal(one.probabilities, other.probabilities)
        for one, other in zip(with_it, without, strict=True)
    ]
    before = [abs(index - keys[0]) < 3 for index in range(FRAMES)]
    assert not any(change for change, early in zip(changed, before, strict=True) if early)
    assert changed[at]
    assert changed[abs(keys[0] - 4)]


def test_between_key_frames_evidence_is_mixed_in(clip):
    flat = np.full((2, HEIGHT, WIDTH), 0.5, np.float32)
    asked = []

    def evidence(index, image):
        asked.append(index)
        return flat

    keys = clip.keys(2, 9)
    mixed = _run(clip, keys, evidence=evidence, evidence_weight=1.0)
    plain = _run(clip, keys)
    assert sorted(asked) == [index for index in range(FRAMES) if index not in keys]
    for one, other in zip(mixed, plain, strict=True):
        same = np.array_equal(one.probabilities, other.probabilities)
        assert same == (one.index in keys)
