"""evaluate, simulate and render, as a person types them."""

import json

import pytest

from backend import cli
from model.benchmark import open_labelled
from model.synthetic import render_clip, write_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("set")
    for seed in (0, 1):
        write_clip(render_clip(6, (64, 48), seed), place / f"toys{seed}", flow=False)
    return place


def run(monkeypatch, *arguments):
    """The exit code of `maskloop ARGUMENTS`."""
    monkeypatch.setattr("sys.argv", ["maskloop", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as exit_:
        return exit_.code
    return 0


def test_evaluate(folder, tmp_path, monkeypatch, capsys):
    figures, report = tmp_path / "figures.json", tmp_path / "report"
    arguments = ["evaluate", folder, "--keys", "every:4", "--method", "nearest"]
    code = run(monkeypatch, *arguments, "--json", figures, "--report", report)
    assert code == 0
    data = json.loads(figures.read_text())
    assert list(data) == ["command", "version", "settings", "machine", "clips", "mean"]
    assert [clip["clip"].split("/")[1] for clip in data["clips"]] == ["toys0", "toys1"]
    assert data["clips"][0]["key_frames"] == [0, 4]
    own = [clip["unlabelled"]["miou"] for clip in data["clips"]]
    assert data["mean"]["unlabelled"]["miou"] == pytest.approx(sum(own) / 2)
    assert (report / "index.html").is_file()
    shown = capsys.readouterr()
    assert f"{own[0]:.4f}" in shown.out
    assert "The report is in" in shown.err


def test_json_on_the_screen_is_only_json(folder, monkeypatch, capsys):
    assert run(monkeypatch, "evaluate", folder / "toys0", "--method", "nearest", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["settings"]["keys"] == "every:15"


def test_simulate(folder, tmp_path, monkeypatch):
    figures = tmp_path / "figures.json"
    arguments = ["simulate", folder / "toys0", "--method", "nearest", "--rounds", "2"]
    arguments += ["--budget", "20%", "--strategy", "hvsa,random", "--seed", "0", "--seed", "1"]
    assert run(monkeypatch, *arguments, "--json", figures, "--report", tmp_path / "report") == 0
    data = json.loads(figures.read_text())
    assert [(clip["strategy"], clip["seed"]) for clip in data["clips"]] == [
        ("hvsa", 0),
        ("hvsa", 1),
        ("random", 0),
        ("random", 1),
    ]
    assert [len(clip["rounds"]) for clip in data["clips"]] == [2] * 4
    assert [entry["strategy"] for entry in data["mean"]] == ["hvsa", "random"]
    assert data["settings"]["strategy"] == ["hvsa", "random"]
    assert (tmp_path / "report" / "index.html").is_file()


def test_render(tmp_path, monkeypatch):
    place = tmp_path / "clip"
    options = ["--frames", "3", "--size", "48x40", "--seed", "5", "--difficulty", "hard"]
    assert run(monkeypatch, "render", place, *options) == 0
    clip = open_labelled(place)
    assert (len(clip), clip.source.read(0).shape) == (3, (40, 48, 3))
    assert len(list((place / "flow").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["evaluate", "{0}", "--keys", "sometimes"], "keys 'sometimes': expected every:15"),
        (["evaluate", "{0}", "--keys", "0,99"], "key frame 99 is outside the clip"),
        (["evaluate", "{0}", "--method", "magic"], "MASKLOOP_METHOD is 'magic'"),
        (["evaluate", "{0}/nowhere"], "there is no such folder"),
        (["evaluate", "{0}/toys0/masks"], "is no labelled clip"),
        (
            ["simulate", "{0}", "--samples", "pixel"],
            "samples 'pixel': expected frame, rectangle:16",
        ),
        (["simulate", "{0}", "--budget", "lots"], "budget 'lots': expected"),
        (["simulate", "{0}", "--strategy", "luck"], "there is no strategy named 'luck'"),
        (["render", "{0}"], "is there already"),
        (["render", "{0}/x", "--size", "large"], "size 'large': expected width x height"),
        (["render", "{0}/x", "--difficulty", "brutal"], "no difficulty 'brutal'"),
    ],
)
def test_refused_in_one_sentence(arguments, sentence, folder, monkeypatch, capsys):
    assert run(monkeypatch, *(part.format(folder) for part in arguments)) == 1
    said = capsys.readouterr()
    assert sentence in said.err.replace("\n", " ")
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_bad_clip_is_refused_before_any_is_evaluated(folder, tmp_path, monkeypatch, capsys):
    write_clip(render_clip(3, (64, 48), 0), tmp_path / "bad", flow=False)
    (tmp_path / "bad" / "masks" / "00001.png").unlink()
    figures = tmp_path / "figures.json"
    assert run(monkeypatch, "evaluate", folder, tmp_path / "bad", "--json", figures) == 1
    assert "00001.png: there is no mask for frame" in capsys.readouterr().err.replace("\n", " ")
    assert not figures.exists()
