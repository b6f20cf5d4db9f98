"""The page of the standard table."""

import pytest

from backend.evaluation import evaluate_clip
from backend.keyframes import parse_keys
from backend.settings import load_settings
from benchmarks.run import Row, page, settings_of, standard
from model.benchmark import LabelledClip
from model.synthetic import render_clip


@pytest.fixture(scope="module")
def row():
    drawn = [render_clip(5, (64, 48), seed) for seed in (0, 1)]
    clips = [LabelledClip(clip, clip.masks, clip.class_names, clip.name) for clip in drawn]
    return Row("toys", clips, "first", ("j", "f"))


def test_says_what_is_measured_and_what_is_not_yet(row):
    settings = load_settings(method="nearest")
    results = [evaluate_clip(clip, parse_keys("first"), settings) for clip in row.clips]
    row.results["nearest"] = results
    text = page([row], ("nearest", "flow"), "python -m benchmarks.run")
    j = sum(result.unlabelled["j"] for result in results) / 2
    f = sum(result.unlabelled["f"] for result in results) / 2
    assert f"| `toys`, 2 clips, first | J / F | {j:.4f} / {f:.4f} | … |" in text
    assert f"| {row.clips[1].name} | {results[1].unlabelled['j']:.4f} / " in text
    assert "Written by `python -m benchmarks.run`" in text


def test_a_mean_waits_for_all_clips(row):
    settings = load_settings(method="nearest")
    row.results["flow"] = [evaluate_clip(row.clips[0], parse_keys("first"), settings)]
    assert "| `toys`, 2 clips, first | J / F | … |" in page([row], ("flow",), "command")


def test_rendered_clips_stand_in_for_missing_data(tmp_path):
    rows = standard(tmp_path / "nowhere")
    assert {row.title for row in rows} == {"rendered"}
    assert all(len(clip) == 60 for row in rows for clip in row.clips)


def test_expected_quality_stands_beside_the_true_one(row):
    result = evaluate_clip(row.clips[0], parse_keys("first"), load_settings(method="flow"))
    row.results = {"flow": [result]}
    text = page([row], ("flow",), "command")
    expected, true = result.expected_miou, result.unlabelled["miou"]
    assert f"| {result.clip}, first | flow | {expected:.3f} | {true:.3f} |" in text
    assert f"Mean absolute error: flow {abs(expected - true):.3f}." in text


def test_propagation_is_maskloop_without_a_network(row):
    settings = settings_of("propagation")
    result = evaluate_clip(row.clips[0], parse_keys("first"), settings)
    assert (settings.method, settings.finetune_seconds) == ("maskloop", 0)
    assert not [note for note in result.notes if "network" in note]
