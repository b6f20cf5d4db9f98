"""The page on what selection saves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.selection_report import area_table, main, page, reach_table
from benchmarks.selection_runs import Asked, asked_for, made_ready
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
    spread = cells(area_table(runs)[-2])
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


SMALL = ["--method", "nearest", "--plans", "25%x2,10%x2", "--seeds", "2", "--shrink", "2"]
CHOSEN = ["--strategies", "reach,uniform,random", "--samples", "superpixel:16"]


def test_one_command_writes_the_page_and_its_curves(folder, tmp_path):
    runs = tmp_path / "runs"
    main([str(folder), *SMALL, *CHOSEN, "--runs", str(runs), "--out", str(tmp_path)])
    text = (tmp_path / "selection-report.md").read_text()
    assert "## Strategies, whole frames: 2 rounds of 25%" in text
    for name in ("selection-strategies-2.svg", "selection-samples.svg"):
        assert f"images/{name}" in text
        assert "<svg" in (tmp_path / "images" / name).read_text()
    # Both plans: two strategies without chance, one with two seeds; and super-pixels.
    made = {path: path.read_text() for path in runs.glob("*.json")}
    assert len(made) == 2 * 4 + 1
    main(["--page", "--runs", str(runs), "--out", str(tmp_path / "again"), *CHOSEN])
    again = (tmp_path / "again" / "selection-report.md").read_text()
    assert again.splitlines()[4:] == text.splitlines()[4:]


def test_what_was_stopped_goes_on_and_makes_nothing_twice(folder, tmp_path):
    runs = tmp_path / "runs"
    command = [str(folder), *SMALL, *CHOSEN, "--runs", str(runs), "--out", str(tmp_path)]
    main(command)
    made = {path: path.read_bytes() for path in runs.glob("*.json")}
    lost = next(path for path in sorted(made) if "random" in path.name)
    lost.unlink()
    main(command)
    for path, content in made.items():
        if path != lost:
            assert path.read_bytes() == content
    (was,) = json.loads(made[lost])["clips"]
    (now,) = json.loads(lost.read_text())["clips"]
    for before, after in zip(was["rounds"], now["rounds"], strict=True):
        assert {**before, "seconds": 0} == {**after, "seconds": 0}


def test_refuses_a_folder_of_other_runs(folder, tmp_path):
    command = [str(folder), *SMALL, *CHOSEN, "--runs", str(tmp_path), "--out", str(tmp_path)]
    main(command)
    with pytest.raises(ValueError, match="was made with shrink 2, and now 1 is asked for"):
        main([*command, "--shrink", "1"])


def test_a_page_needs_runs(tmp_path):
    with pytest.raises(ValueError, match="holds no runs"):
        main(["--page", "--runs", str(tmp_path)])


@pytest.mark.parametrize("plan", ["10%", "10%x", "10%x0", "x"])
def test_refuses_a_plan_that_is_none(plan, tmp_path):
    with pytest.raises(ValueError, match="expected samples a round x rounds"):
        main(["--plans", plan, "--runs", str(tmp_path)])


def test_each_run_has_a_file_of_its_own():
    asked = asked_for(
        ["reach", "random"], ["superpixel:16"], [("10%", 3), ("5%", 6)], 3, chance=False
    )
    assert len({run.file("davis/cows") for run in asked}) == len(asked) == 2 * (1 + 3) + 1
    assert asked[-1] == Asked("reach", "superpixel:16", 0, "5%", 6)
    trained = asked_for(["reach"], [], [("10%", 3)], 3, chance=True)
    assert [run.seed for run in trained] == [0, 1, 2]


def test_by_how_much_the_first_strategy_leads():
    runs = [
        *(run("reach", [(0, q), (10, q)], clip=clip) for clip, q in (("a", 0.9), ("b", 0.7))),
        *(run("uniform", [(0, q), (10, q)], clip=clip) for clip, q in (("a", 0.6), ("b", 0.8))),
    ]
    # +0.3 and -0.1: the mean is 0.1, the standard error 0.2.
    assert cells(area_table(runs)[-1]) == ["reach leads by", "", "+0.1000 ± 0.2000 (1 of 2)"]


def test_real_clips_are_made_smaller(folder):
    clip = made_ready(open_labelled(folder), 2)
    assert clip.source.read(3).shape == (24, 32, 3)
    assert clip.masks.read(3).shape == (24, 32)
    assert set(np.unique(clip.masks.read(3))) <= set(range(len(clip.class_names)))


def test_a_strategy_that_was_not_run_on_all_clips_is_left_out_and_named():
    curves = [(0, 0.5), (10, 0.9)]
    runs = [
        {**run(name, curves, clip=clip, reached=5.0), "plan": ("5%", 2)}
        for name, clip in (("reach", "a"), ("reach", "b"), ("hvsa", "a"))
    ]
    head = {"settings": {"method": "flow"}, "machine": {"cpu": "x"}, "version": "1"}
    text, _ = page(runs, head, "command")
    assert "left out: `hvsa` (1 of 2)." in text
    assert "| clip | reach |" in text
