"""Temporal reach of a clip: measured when asked for, kept beside the rounds."""

import numpy as np
import pytest

from backend import reaches
from backend.artifacts import Artifacts
from backend.order import ClipState, order_frames
from backend.reaches import kept_reach, measure_reach, wants_reach
from model.synthetic import render_clip
from selection.reach import Reach


@pytest.fixture(scope="module")
def clip():
    return render_clip(8, (96, 72), 0)


@pytest.fixture
def measured(monkeypatch):
    """Which clips were measured anew."""
    times = []

    def measure(source, flow, progress=None):
        times.append(source)
        return Reach.from_time(len(source))

    monkeypatch.setattr(reaches, "measure_reach", measure)
    return times


def test_only_strategies_that_use_it_want_it():
    assert wants_reach("reach")
    assert not wants_reach("hvsa")


def test_measured_reach_falls_with_distance(clip):
    told = []
    reach = measure_reach(clip, "dis-ultrafast", lambda done, total: told.append((done, total)))
    assert len(reach) == 8
    assert reach.loss([0]) > reach.loss([4]) > reach.loss([2, 5]) > 0
    assert told[-1] == (8, 8)


def test_it_is_kept_until_the_frames_change(tmp_path, clip, measured):
    artifacts = Artifacts(tmp_path)
    urls = [f"/data/{n}.png" for n in range(8)]

    def ask(urls, flow="dis"):
        return kept_reach(artifacts, 3, "a clip", urls, clip, flow)

    first = ask(urls)
    again = ask(urls)
    assert len(measured) == 1
    assert np.array_equal(again.between, first.between)
    ask(urls[::-1])
    assert len(measured) == 2
    ask(urls[::-1], "dis-fast")
    assert len(measured) == 3


def test_a_damaged_file_is_measured_again(tmp_path, clip, measured):
    artifacts = Artifacts(tmp_path)
    kept_reach(artifacts, 3, "c", ["x"], clip, "dis")
    (damaged,) = tmp_path.rglob("*.npz")
    damaged.write_bytes(b"not arrays")
    kept_reach(artifacts, 3, "c", ["x"], clip, "dis")
    kept_reach(artifacts, 3, "c", ["x"], clip, "dis")
    assert len(measured) == 2


def test_frames_are_ordered_by_reach_whatever_their_numbers():
    confidence = np.r_[np.full(20, 0.999), np.full(20, 0.6)]
    state = ClipState(
        positions=1000 + 25 * np.arange(41),
        labelled=np.arange(41) == 0,
        uncertainty=np.ones(41),
        features=np.zeros((41, 2), np.float32),
        reach=Reach.from_confidence(confidence, 40),
    )
    chosen = [place.frame for place in order_frames([state], "reach", 4, 0) if place.chosen]
    assert len(chosen) == 4
    assert sum(frame > 20 for frame in chosen) >= 3


def test_what_labels_cost_steers_reach_to_cheaper_frames():
    def chosen(clicks):
        state = ClipState(
            positions=np.arange(41),
            labelled=np.isin(np.arange(41), [0, 40]),
            uncertainty=np.ones(41),
            features=np.zeros((41, 2), np.float32),
            reach=Reach.from_time(41),
            clicks=clicks,
        )
        return [place.frame for place in order_frames([state], "reach", 1, 0) if place.chosen]

    cost = np.full(41, np.nan)
    cost[[0, 40]] = 50, 800
    assert chosen(None)[0] in (19, 20, 21)
    assert chosen(cost)[0] < 18
