import numpy as np
import pytest

from model import reach
from model.flow import DISFlow
from model.reach import ReachSettings, matches


class Clip:
    def __init__(self, frames):
        self.frames = frames
        self.reads = []

    def __len__(self):
        return len(self.frames)

    def read(self, index):
        self.reads.append(index)
        return self.frames[index]


def texture(seed, height=72, width=128):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    return np.kron(coarse, np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)


def rows(clip, **settings):
    return np.stack(list(matches(clip, DISFlow(), ReachSettings(**settings))))


def test_a_still_clip_is_found_everywhere_and_nothing_outside_it():
    found = rows(Clip([texture(0)] * 5), points=8)
    assert found.shape == (5, 9, 8 * 4)
    for t in range(5):
        inside = [0 <= t + j < 5 for j in range(-4, 5)]
        assert (found[t, inside] > 240).all()
        assert (found[t, np.logical_not(inside)] == 0).all()


def test_points_are_followed_along_motion():
    wide = texture(1, width=160)
    moving = [np.ascontiguousarray(wide[:, 2 * t : 2 * t + 128]) for t in range(8)]
    found = rows(Clip(moving), side=128)
    ahead = found[0, found.shape[1] // 2 + 7].mean()
    assert np.abs(moving[0].astype(float) - moving[7]).mean() > 20  # in place, nothing is alike
    assert ahead > 150


def test_nothing_is_found_beyond_a_cut():
    found = rows(Clip([texture(0)] * 4 + [255 - texture(5)] * 4))
    span = found.shape[1] // 2
    assert found[2, span + 1].mean() > 240
    assert found[2, span + 3].mean() < 100


def test_rows_are_the_same_whatever_the_block_and_frames_are_read_once(monkeypatch):
    frames = [np.roll(texture(2), t, axis=1) for t in range(11)]
    whole = rows(Clip(frames), span=3)
    monkeypatch.setattr(reach, "_BLOCK", 2)
    clip = Clip(frames)
    assert np.array_equal(rows(clip, span=3), whole)
    assert clip.reads == list(range(11))
    assert whole.shape[1] == 7


def test_frames_kept_are_bounded_by_the_span(monkeypatch):
    monkeypatch.setattr(reach, "_BLOCK", 4)
    kept = []
    move = reach._Window.move

    def watched(self, start, stop):
        move(self, start, stop)
        kept.append(len(self.images))

    monkeypatch.setattr(reach._Window, "move", watched)
    rows(Clip([texture(3)] * 40), span=2)
    assert max(kept) <= 4 + 2 * 2 + 1


def test_one_frame_and_progress():
    told = []
    found = list(matches(Clip([texture(0)]), DISFlow(), progress=lambda *p: told.append(p)))
    assert found[0].shape[0] == 3
    assert found[0][1].min() == 255
    assert told == [(1, 1)]


@pytest.mark.parametrize("name", ["side", "points", "sigma", "span"])
def test_settings_name_what_is_wrong(name):
    with pytest.raises(ValueError, match=f"{name} must be more than 0"):
        ReachSettings(**{name: 0})
