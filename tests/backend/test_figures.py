"""The report's curves."""

from backend.figures import along_the_clip, memory_curve, quality_against_clicks
from backend.queries import parse_budget
from backend.scoring import FrameScore
from backend.settings import load_settings
from backend.simulation import simulate_clip
from model.benchmark import LabelledClip
from model.synthetic import render_clip


def test_a_line_for_each_strategy():
    drawn = render_clip(8, (64, 48), 0)
    clip = LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)
    runs = [
        simulate_clip(clip, load_settings(method="nearest", strategy=name), parse_budget("2"), 2)
        for name in ("uniform", "random")
    ]
    both, one = quality_against_clicks(runs), quality_against_clicks(runs[:1])
    assert both.startswith("<svg")
    assert both.count("clip-path") > one.count("clip-path")


def test_key_frames_are_marked_along_the_clip():
    frames = [FrameScore(i, i in (0, 5), None if i == 2 else 0.9 - i / 100) for i in range(8)]
    none = [FrameScore(f.index, False, f.miou) for f in frames]
    assert along_the_clip(frames).startswith("<svg")
    assert along_the_clip(frames) != along_the_clip(none)


def test_figures_are_the_same_each_time():
    assert memory_curve([100.0, 101.0]) == memory_curve([100.0, 101.0])
    assert memory_curve([100.0, 101.0]) != memory_curve([100.0, 201.0])
