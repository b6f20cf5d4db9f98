"""The JSON document on disk, and the table on the screen."""

import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from backend.evaluation import evaluate_clip
from backend.keyframes import parse_keys
from backend.measurement import document, show_evaluation, show_simulation, write_json
from backend.queries import parse_budget
from backend.settings import load_settings
from backend.simulation import simulate_clip
from model.benchmark import LabelledClip
from model.synthetic import render_clip


@pytest.fixture(scope="module")
def clip():
    drawn = render_clip(6, (64, 48), 0)
    return LabelledClip(drawn, drawn.masks, drawn.class_names, "toys/one")


def test_the_head_of_the_document():
    settings = load_settings(method="flow", seed=3)
    data = document("evaluate", {"keys": "first"}, settings)
    assert list(data) == ["command", "version", "settings", "machine"]
    assert data["settings"]["method"] == "flow"
    assert (data["settings"]["keys"], data["settings"]["seed"]) == ("first", 3)
    assert "label_studio_api_key" not in data["settings"]


def test_written_whole(tmp_path):
    path = tmp_path / "new" / "figures.json"
    write_json(path, {"a": 1}, last=False)
    assert json.loads(path.read_text()) == {"a": 1}
    write_json(path, {"a": 2}, last=True)
    assert json.loads(path.read_text()) == {"a": 2}
    assert [p.name for p in path.parent.iterdir()] == ["figures.json"]


def test_a_figure_that_is_no_number_is_never_written(tmp_path):
    path = tmp_path / "figures.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": math.nan}, last=True)
    assert not path.exists()


def test_the_screen_gets_the_complete_document_only(capsys):
    write_json(Path("-"), {"a": 1}, last=False)
    write_json(Path("-"), {"a": 2}, last=True)
    write_json(None, {"a": 3}, last=True)
    assert json.loads(capsys.readouterr().out) == {"a": 2}


def test_tables(clip):
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115
    result = evaluate_clip(clip, parse_keys("first"), load_settings(method="nearest"))
    show_evaluation([result, result], console)
    run = simulate_clip(clip, load_settings(method="nearest"), parse_budget("2"), 2)
    show_simulation([run], console)
    console.file.close()
    text = console.export_text()
    assert text.count(f"{result.unlabelled['miou']:.4f}") == 3
    assert f"{run.rounds[1].all['miou']:.4f}" in text
