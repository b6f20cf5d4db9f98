"""The page on what selection saves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.selection_report import area_table, main, reach_table, shrunk
from model.benchmark import open_labelled
from model.synthetic import render_clip, write_clip


def run(strategy, points, seed=0, clip="c", samples="frame", reached=None):
    """A run as `maskloop simulate --json` writes it."""
    return {
        "clip": clip,
        "strategy": strategy,
        "samples": samples,
        "seed": seed,
        "clicks_percent_to_reach": {str(level): reached for level in (80, 85, 90, 95)},
        "clicks_by_hand": 200,
        "miou_by_hand": 1.0,
        "rounds": [
            {"clicks_percent": clicks, "correction_clicks": clicks, "all": {"miou": miou}}
            for clicks, miou in points
        ],
    }


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_area_is_taken_where_all_runs_have_clicks():
    runs = [run("reach", [(0, 0.0), (10, 1.0)]), run("uniform", [(5, 0.5), (20, 0.5)])]
    table = area_table(runs)
    assert cells(table[0]) == ["clip", "reach", "uniform"]
    assert cells(table[2]) == ["c", "0.7500", "0.5000"]
    assert cells(table[3]) == ["**mean**", "**0.7500**", "**0.5000**"]


def test_the_spread_over_seeds_is_told_where_there_is_chance():
    runs = [
        run("reach", [(0, 0.9), (10, 0.9)]),
        run("random", [(0, 0.4), (10, 0.4)], seed=0),
        run("random", [(0, 0.6), (10, 0.6)], seed=1),
    ]
    spread = cells(area_table(runs)[-1])
    assert spread == ["spread over seeds", "no chance", f"± {np.std([0.4, 0.6], ddof=1):.4f}"]


@pytest.mark.parametrize(
    ("reached", "text"), [(7.0, "7.0"), (2.0, "≤ 2.0"), (None, "> 10")], ids=str
)
def test_clicks_to_reach_say_what_they_are(reached, text):
    runs = [run("reach", [(2, 0.5), (10, 0.9)], reached=reached)]
    assert cells(reach_table({"reach": runs}, 95)[2]) == ["c", text]


def test_every_level_of_every_kind_of_samples():
    kinds = {
        name: [run("reach", [(2, 0.5), (10, 0.9)], samples=name, reached=5.0)]
        for name in ("frame", "rectangle:16")
    }
    lines = reach_table(kinds)
    assert cells(lines[4]) == ["c", "rectangle:16", "5.0", "5.0", "5.0", "5.0"]
    # Half as many clicks: 80 % at three quarters of the way from 1 to 5, 85 % at seven eighths.
    assert cells(lines[5]) == ["c", "rectangle:16, corrected", "4.0", "4.5", "5.0", "> 5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips") / "toys"
    write_clip(render_clip(8, (64, 48), 0), folder, False)
    return folder


def test_one_command_writes_the_page_and_its_curves(folder, tmp_path):
    small = ["--method", "nearest", "--rounds", "2", "--budget", "25%", "--seeds", "2"]
    kept = tmp_path / "figures.json"
    samples = ["--samples", "frame,superpixel:16"]
    main([str(folder), *small, *samples, "--json", str(kept), "--out", str(tmp_path)])
    text = (tmp_path / "selection-report.md").read_text()
    for name in ("selection-strategies.svg", "selection-samples.svg"):
        assert f"images/{name}" in text
        assert "<svg" in (tmp_path / "images" / name).read_text()
    runs = json.loads(kept.read_text())["clips"]
    # Two without chance, two with two seeds, one with super-pixels.
    assert len(runs) == 7
    main(["--from", str(kept), "--out", str(tmp_path / "again")])
    again = (tmp_path / "again" / "selection-report.md").read_text()
    assert again.splitlines()[4:] == text.splitlines()[4:]


def test_real_clips_are_made_smaller(folder):
    clip = shrunk(open_labelled(folder), 2)
    assert clip.source.read(3).shape == (24, 32, 3)
    assert clip.masks.read(3).shape == (24, 32)
    assert set(np.unique(clip.masks.read(3))) <= set(range(len(clip.class_names)))
