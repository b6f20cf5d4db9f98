"""The table of expected and true quality."""

import numpy as np
import pytest

from backend.annotator import annotator_for
from backend.settings import load_settings
from benchmarks.expected_quality import (
    KEYS,
    Row,
    _regress,
    annotators,
    clips_of,
    fit,
    measure,
    rank_correlation,
    table,
)
from model.benchmark import LabelledClip
from model.synthetic import render_clip


def test_rank_correlation():
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # Ties share their mean rank: 1.5, 1.5, 3 against 1, 2, 3.
    assert rank_correlation([5, 5, 7], [1, 2, 3]) == pytest.approx(0.8660254)
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
    assert np.isnan(rank_correlation([1], [2]))


def test_regression_finds_the_law_it_was_made_with():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(200), rng.normal(size=(200, 2))])
    share = 1 / (1 + np.exp(-x @ [-2.0, 1.1, 0.5]))
    rows = [(tuple(row), float(value), 1.0) for row, value in zip(x, share, strict=True)]
    assert _regress(rows) == pytest.approx([-2.0, 1.1, 0.5], abs=0.01)


def test_a_row_compares_with_the_truth():
    drawn = render_clip(9, (96, 64), 0)
    clip = LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)
    annotator = annotator_for(clip.source, clip.class_names, load_settings(method="flow"))
    row = measure(annotator, clip, "every:4")
    assert (row.clip, row.keys) == (drawn.name, "every:4")
    assert row.expected == pytest.approx(row.true, abs=0.15)
    assert -1 <= row.rank <= 1


def test_the_table_has_the_means():
    rows = [Row("a", "first", 0.9, 0.8, 0.5), Row("b", "first", 0.6, 0.7, float("nan"))]
    text = table(rows)
    assert "| a | first | 0.900 | 0.800 | +0.100 | 0.50 |" in text
    assert "| mean of 2 (absolute error) | | | | 0.1000 | 0.50 |" in text


def test_real_clips_may_be_missing(tmp_path):
    assert list(clips_of("davis", tmp_path)) == []


def test_choices_of_key_frames_share_the_flow_and_no_network():
    drawn = render_clip(5, (96, 64), 0)
    clip = LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)
    settings = load_settings(method="maskloop", finetune_seconds=1)
    (one, first), (other, second) = annotators(clip, ("every:2", "first"), settings)
    assert (one, other) == ("every:2", "first")
    assert first.flow is second.flow
    first.finetune({0: drawn.masks.read(0)})
    with pytest.raises(ValueError, match="no fine-tuned network"):
        second.save("nowhere")


def test_the_laws_can_be_fitted(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.expected_quality.FITTED", (("easy", 5, 2),))
    monkeypatch.setattr("benchmarks.expected_quality.FRAMES", 9)
    laws = fit(load_settings(method="flow"))
    assert laws["between"].shape == laws["beyond"].shape == (4,)
    assert (laws["between"][2:] == 0).all()
    assert all(np.isfinite(law).all() for law in laws.values())
    assert "rendered-easy-5-step2" in capsys.readouterr().out
    assert "dissent" not in laws


def test_a_network_s_dissent_can_be_fitted(monkeypatch):
    monkeypatch.setattr("benchmarks.expected_quality.FITTED", (("easy", 5, 2),))
    monkeypatch.setattr("benchmarks.expected_quality.FRAMES", 5)
    monkeypatch.setitem(KEYS, "rendered", ("every:2", "first"))
    monkeypatch.setattr("model.pipeline.unjudged_weight", lambda agreed: 0.5)
    laws = fit(load_settings(method="maskloop", finetune_seconds=1))
    assert laws["dissent"].shape == (2,)
    assert np.isfinite(laws["dissent"]).all()
