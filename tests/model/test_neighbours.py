"""What changed and what did not: frames between the same key frames come out the same."""

import numpy as np
import pytest

from model.flow import DISFlow
from model.flowstore import FlowStore
from model.keyframes import IGNORE
from model.neighbours import neighbours
from model.propagate import propagate
from tests.model.moving import MovingClip


def masks(clip, *indices, void=()):
    out = {index: clip.mask(index) for index in indices}
    for index in void:
        out[index][:1, :20] = IGNORE
    return out


def labelled(clip, keys, flow, wanted=None):
    return {r.index: r for r in propagate(clip, keys, 3, flow=flow, wanted=wanted)}


def test_the_key_frames_beside_each_frame():
    clip = MovingClip(7)
    assert neighbours(masks(clip, 2, 5), 7) == [
        *((-1, 2), (-1, 2), (2,), (2, 5), (2, 5), (5,), (5, 7))
    ]


def test_a_key_frame_with_gaps_depends_on_those_beside_it():
    clip = MovingClip(7)
    found = neighbours(masks(clip, 1, 3, 5, void=[3]), 7)
    assert [found[index] for index in (1, 3, 5)] == [(1,), (1, 3, 5), (5,)]


def test_nothing_is_said_of_clips_labelled_in_part():
    clip = MovingClip(7)
    keys = masks(clip, 1, 5)
    keys[5][:20] = IGNORE
    assert neighbours(keys, 7) is None


@pytest.mark.parametrize("keys", [[], [7], [-1, 2]], ids=str)
def test_refuses_key_frames_outside_of_the_clip(keys):
    with pytest.raises(ValueError, match="key frames must be frames 0 to 6"):
        neighbours({index: np.zeros((4, 4), np.uint8) for index in keys}, 7)


@pytest.mark.parametrize("void", [(), (2, 6, 10)], ids=["whole", "with gaps"])
def test_frames_whose_neighbours_stayed_are_the_same_bit_by_bit(void):
    clip = MovingClip(14)
    flow = FlowStore(DISFlow())
    before, after = masks(clip, 2, 10, void=void[::2]), masks(clip, 2, 6, 10, void=void)
    old, new = labelled(clip, before, flow), labelled(clip, after, flow)
    places = list(zip(neighbours(before, 14), neighbours(after, 14), strict=True))
    changed = [index for index, (was, now) in enumerate(places) if was != now]
    # The stretches beside the new key frame; key frames with gaps are filled from those beside.
    assert changed == [*([2] if void else []), *range(3, 10), *([10] if void else [])]
    anew = labelled(clip, after, flow, wanted=set(changed))
    assert list(anew) == changed
    for index, result in new.items():
        other = anew.get(index, old[index])
        np.testing.assert_array_equal(other.probabilities, result.probabilities)
        np.testing.assert_array_equal(other.confidence, result.confidence)
        assert other.is_key == result.is_key
    assert (old[4].probabilities != new[4].probabilities).any()
