"""Key frames labelled in part: what they let through, and what nobody knows."""

from __future__ import annotations

import numpy as np
import pytest

from model.blend import Blender, FrameResult
from model.chain import Chain
from model.flow import get_flow
from model.keyframes import KeyFrame
from model.propagate import PropagationSettings, propagate
from model.sparse import complete, fade, merge
from model.synthetic import render_clip

SIZE = (96, 72)


@pytest.fixture(scope="module")
def clip():
    return render_clip(13, SIZE, seed=3)


def partly(mask: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """The mask as it is labelled inside of a rectangle only."""
    out = np.full_like(mask, 255)
    out[rows, columns] = mask[rows, columns]
    return out


def results(clip, keys, **options):
    classes = len(clip.class_names)
    return list(propagate(clip, keys, classes, flow=get_flow("dis"), **options))


def right(found, clip) -> float:
    return float(np.mean([(r.mask == clip.mask(r.index)).mean() for r in found]))


METHODS = pytest.mark.parametrize(
    "settings", [PropagationSettings(), PropagationSettings.best()], ids=["flow", "best"]
)


@METHODS
@pytest.mark.parametrize("whole", [0, 12])
def test_a_rectangle_hides_nothing_of_the_frame_behind_it(clip, settings, whole):
    # A whole label at one end; in between, rectangles.
    alone = results(clip, {whole: clip.mask(whole)}, settings=settings)
    corner = (slice(0, 20), slice(0, 20))
    keys = {index: partly(clip.mask(index), *corner) for index in (3, 6, 9)}
    keys[whole] = clip.mask(whole)
    found = results(clip, keys, settings=settings)
    assert right(found, clip) > right(alone, clip) - 0.02
    assert right(found, clip) > 0.85


@METHODS
def test_rectangles_of_several_frames_add_up(clip, settings):
    # Each quarter of the picture is labelled on another frame.
    height, width = SIZE[1] // 2, SIZE[0] // 2
    keys = {
        3 * place: partly(
            clip.mask(3 * place),
            slice((place // 2) * height, (place // 2 + 1) * height),
            slice((place % 2) * width, (place % 2 + 1) * width),
        )
        for place in range(4)
    }
    found = results(clip, keys, settings=settings)
    # Every frame but the first ones and the last is between frames that know a quarter each.
    assert right(found, clip) > 0.75
    for index, mask in keys.items():
        known = mask != 255
        np.testing.assert_array_equal(found[index].mask[known], mask[known])
        assert (found[index].confidence[known] == 1).all()
        assert not found[index].is_key


def test_what_one_frame_shows_is_the_same_in_any_walk(clip):
    # Judging and expecting quality walk a part of the clip only.
    from model.walk import Walk

    keys = {i: partly(clip.mask(i), slice(0, 40), slice(8 * i, 8 * i + 30)) for i in (0, 4, 8)}
    keys[12] = clip.mask(12)
    walk = Walk(clip, keys, len(clip.class_names), get_flow("dis"), PropagationSettings())
    everything = {result.index: result for result in walk.frames(range(13))}
    for wanted in (2, 6, 10):
        (only,) = walk.frames([wanted])
        assert (only.mask == everything[wanted].mask).mean() > 0.99


def test_where_no_label_reaches_the_evidence_decides(clip):
    keys = {6: partly(clip.mask(6), slice(0, 10), slice(0, 10))}
    classes = len(clip.class_names)

    def knows(index: int, image: np.ndarray) -> np.ndarray:
        true = clip.mask(index) == np.arange(classes)[:, None, None]
        return np.where(true, 0.6, 0.4 / (classes - 1)).astype(np.float32)

    found = results(clip, keys, evidence=knows, evidence_weight=1.0)
    assert right(found, clip) > 0.95
    label = keys[6]
    np.testing.assert_array_equal(found[6].mask[label != 255], label[label != 255])
    for result in found:
        np.testing.assert_allclose(result.probabilities.sum(axis=0), 1, atol=1e-4)


def prepared(mask: np.ndarray, index: int = 0) -> KeyFrame:
    image = np.full((*mask.shape, 3), 90, np.uint8)
    return KeyFrame.prepare(index, mask, image, 3)


def blender() -> Blender:
    return Blender(PropagationSettings(), get_flow("dis"))


def test_completing_takes_what_labels_are_nearer():
    part = np.full((40, 40), 255, np.uint8)
    part[:, :4] = 1
    key, other = prepared(part, 5), prepared(np.full((40, 40), 2, np.uint8), 3)
    here = Chain.start(3, (40, 40))
    done = complete(key, other, here, blender())
    assert (done.mask[:, :4] == 1).all()  # a person's label stays
    assert (done.mask[:, 12:] == 2).all()
    assert (done.trust[:, 12:] > 0.9).all()
    np.testing.assert_array_equal(done.labelled, key.labelled)
    # Another frame that knows nothing there either leaves the nearest label.
    assert (complete(key, prepared(part, 3), here, blender()).mask == 1).all()
    # A whole label needs no other.
    assert complete(other, key, here, blender()) is other


def test_merging_takes_what_is_trusted_more():
    part = np.full((40, 40), 255, np.uint8)
    part[:, :4] = 1
    key, here = prepared(part, 5), Chain.start(3, (40, 40))
    left = np.full((40, 40), 255, np.uint8)
    left[:20] = 2
    one = complete(key, prepared(left, 3), here, blender())
    two = complete(key, prepared(left[::-1].copy(), 7), here, blender())
    both = merge(one, two)
    assert (both.mask[:, 12:] == 2).all()
    assert (both.trust[:, 12:] > 0.9).all()
    assert (both.mask[:, :4] == 1).all()


def test_fading_leaves_what_a_label_reaches():
    part = np.full((40, 40), 255, np.uint8)
    part[:, :10] = 1
    probabilities = np.zeros((3, 40, 40), np.float32)
    probabilities[1] = 1
    result = FrameResult(1, probabilities, np.ones((40, 40), np.float32), False)
    chain = Chain.start(0, (40, 40))
    found = fade(result, [(prepared(part), chain)]).probabilities
    assert (found[1, :, :10] == 1).all()
    assert np.abs(found[:, :, 39] - 1 / 3).max() < 0.5
    assert found[1, :, 39].max() < found[1, :, 30].max() < 1
    assert (found.argmax(axis=0) == 1).all()  # the nearest label still decides among equals
    whole = prepared(np.ones((40, 40), np.uint8))
    assert fade(result, [(prepared(part), chain), (whole, chain)]) is result
