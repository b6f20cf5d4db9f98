"""Evaluation of a clip, the way a round labels it."""

import json
import os
import tracemalloc
from pathlib import Path

import pytest

from backend.evaluation import Stopwatch, evaluate_clip, mean_of_clips, mean_values
from backend.keyframes import parse_keys
from backend.settings import load_settings
from model.benchmark import LabelledClip, open_labelled
from model.synthetic import render_clip

DATA = Path(os.environ.get("MASKLOOP_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


@pytest.fixture(scope="module")
def clip():
    drawn = render_clip(12, (96, 72), 0)
    return LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)


def evaluated(clip, method, keys="0,8", follow=True):
    return evaluate_clip(clip, parse_keys(keys), load_settings(method=method), follow=follow)


def test_the_record_is_as_documented(clip):
    record = evaluated(clip, "flow").record()
    assert json.loads(json.dumps(record)) == record
    assert list(record) == [
        "clip",
        "frames",
        "key_frames",
        "unlabelled",
        "expected_miou",
        "all",
        "seconds",
        "seconds_per_frame",
        "peak_memory_mb",
    ]
    assert (record["frames"], record["key_frames"]) == (12, [0, 8])
    plain = {"miou", "j", "f", "pixel_accuracy", "class_accuracy", "weighted_iou", "boundary_iou"}
    assert record["unlabelled"].keys() == plain
    assert record["all"].keys() == plain | {"tc", "vc8", "vc16"}
    assert record["seconds"].keys() == {"finetune", "propagate", "total"}
    assert record["seconds"]["total"] == pytest.approx(
        record["seconds"]["finetune"] + record["seconds"]["propagate"]
    )
    assert record["seconds_per_frame"] == pytest.approx(record["seconds"]["total"] / 12)


def test_what_a_round_would_expect_is_near_the_truth(clip):
    carried = evaluated(clip, "flow", keys="0,4,8")
    assert carried.expected_miou == pytest.approx(carried.unlabelled["miou"], abs=0.1)
    assert carried.expected_miou < 1
    assert evaluated(clip, "nearest").expected_miou is None


def test_flow_is_better_than_copying(clip):
    copied, carried = evaluated(clip, "nearest"), evaluated(clip, "flow")
    assert carried.unlabelled["miou"] > copied.unlabelled["miou"] + 0.05
    assert carried.all["miou"] > carried.unlabelled["miou"]


def test_a_network_is_trained_where_the_method_has_one(clip):
    told = []
    result = evaluate_clip(
        clip,
        parse_keys("0,6,11"),
        load_settings(method="maskloop", finetune_seconds=0.3),
        report=lambda step, done, total: told.append((step, done, total)),
    )
    assert result.seconds["finetune"] > 0.01
    assert {step for step, _, _ in told} == {"fine-tuning", "labelling and scoring"}
    assert told[-1] == ("labelling and scoring", 12, 12)
    assert len(result.memory) == len(result.frames) == 12


def test_every_frame_labelled(clip):
    result = evaluated(clip, "nearest", keys="every:1")
    assert result.unlabelled is None
    assert result.all["miou"] == 1.0
    means = mean_of_clips([result, evaluated(clip, "nearest")])
    assert means["unlabelled"]["miou"] < 1.0


def test_a_key_frame_outside_the_clip(clip):
    with pytest.raises(ValueError, match="key frame 40 is outside the clip"):
        evaluated(clip, "flow", keys="0,40")


def test_memory_does_not_grow_with_the_clip():
    def peak(frames):
        drawn = render_clip(frames, (96, 72), 0)
        clip = LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)
        tracemalloc.start()
        try:
            evaluated(clip, "flow", keys="every:10")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(12)
    # Four times the frames: the labels of its key frames, and a few numbers a frame.
    assert peak(80) < 1.25 * peak(40)


def test_means_are_over_the_clips_that_have_the_score():
    assert mean_values([{"miou": 0.5, "j": 1.0}, {"miou": 1.0, "vc8": None}]) == {
        "miou": 0.75,
        "j": 1.0,
        "vc8": None,
    }
    assert mean_values([{}]) == {}


def test_the_stopwatch_times_what_comes_not_what_is_done_with_it(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("backend.evaluation.time.perf_counter", lambda: float(next(clock)))
    watch = Stopwatch()
    for _ in watch.steps("walk", range(3)):
        next(clock)
        next(clock)
    # Four calls of a tick each (three items, and the end), whatever passed in between.
    assert watch.seconds == {"walk": 4.0}
    assert watch.call("rest", lambda: "done") == "done"
    assert watch.seconds["rest"] == 1.0


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no clips for measuring in {DATA}")
class TestOurBaselines:
    """The published figures of copying and of plain flow, within 0.01."""

    def test_copying_on_the_street(self):
        clip = open_labelled(DATA / "camvid-15hz" / "0016E5-a", check=False)
        scores = evaluated(clip, "nearest", keys="every:10", follow=False).unlabelled
        assert scores["miou"] == pytest.approx(0.6435, abs=0.001)
        assert scores["boundary_iou"] == pytest.approx(0.219, abs=0.001)
        assert "j" not in scores

    def test_flow_on_the_street(self):
        clip = open_labelled(DATA / "camvid-15hz" / "0016E5-a", check=False)
        scores = evaluated(clip, "flow", keys="every:10", follow=False).unlabelled
        assert scores["miou"] == pytest.approx(0.8459, abs=0.01)
        assert scores["boundary_iou"] == pytest.approx(0.443, abs=0.01)

    def test_copying_the_swan(self):
        clip = open_labelled(DATA / "davis" / "blackswan", check=False)
        scores = evaluated(clip, "nearest", keys="every:15", follow=False).unlabelled
        assert scores["j"] == pytest.approx(0.808, abs=0.001)
