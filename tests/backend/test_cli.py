from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.settings import load_settings
from backend.store import Store


def maskloop(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LABEL_STUDIO", "MASKLOOP"))}
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *words],
        capture_output=True, text=True, check=False, cwd=cwd, timeout=120,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("serve",), {}, "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY must be set"),
        (("worker",), {"LABEL_STUDIO_URL": "http://x"}, "LABEL_STUDIO_API_KEY must be set"),
        (("web",), {"MASKLOOP_BUDGET": "none"}, "MASKLOOP_BUDGET is 'none'"),
        (("init", "clip.mp4"), {}, "LABEL_STUDIO_URL"),
        (("status",), {"PORT": "-1"}, "PORT is '-1'"),
    ],
)
def test_an_expected_error_is_one_sentence_and_exit_code_1(tmp_path, words, environment, said):
    done = maskloop(*words, cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_pictures_are_fetched_anew_of_known_projects_only(tmp_path) -> None:
    settings = load_settings(model_dir=tmp_path / "state")
    store = Store(settings.resolved_database_url)
    store.ring(3)
    done = maskloop("refresh", "4", cwd=tmp_path, MODEL_DIR=str(tmp_path / "state"))
    assert done.returncode == 1
    assert "There is no project 4 here; known are: 3." in done.stderr
    done = maskloop("refresh", "3", cwd=tmp_path, MODEL_DIR=str(tmp_path / "state"))
    assert done.returncode == 0
    project = store.project(3)
    assert project is not None
    assert project.refreshes == 1
    store.close()


def test_a_silent_label_studio_is_named(tmp_path) -> None:
    frames = tmp_path / "clip"
    frames.mkdir()
    environment = {"LABEL_STUDIO_URL": "http://127.0.0.1:9", "LABEL_STUDIO_API_KEY": "k" * 40}
    done = maskloop("init", str(frames), "--labels", "a", cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: ")


def test_a_wrong_option_is_exit_code_2(tmp_path) -> None:
    assert maskloop("serve", "--nonsense", cwd=tmp_path).returncode == 2


def test_status_for_people_and_for_machines(tmp_path) -> None:
    settings = load_settings(model_dir=tmp_path / "state")
    store = Store(settings.resolved_database_url)
    store.ring(3, title="A [bold] street", problems=["Task 9: where does it belong?"])
    store.sync_frames(3, [{"task_id": 1, "clip": "dawn", "position": 0, "url": "/", "label": "x"}])
    store.fail_project(3, "Label Studio does not answer")
    store.close()
    shown = maskloop("status", cwd=tmp_path, MODEL_DIR=str(tmp_path / "state"))
    assert shown.returncode == 0
    for part in ("Project 3: A [bold] street", "dawn", "Task 9", "Label Studio does not answer"):
        assert part in shown.stdout
    told = maskloop("status", "--json", cwd=tmp_path, MODEL_DIR=str(tmp_path / "state"))
    assert json.loads(told.stdout)["projects"][0]["labelled"] == 1


def test_names_are_shown_also_where_the_locale_knows_few_letters(tmp_path) -> None:
    state = tmp_path / "my stäte"
    settings = load_settings(model_dir=state)
    store = Store(settings.resolved_database_url)
    store.ring(3, title="Straße 街")
    store.close()
    few = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "HOME": "/nonexistent"}
    shown = maskloop("status", cwd=tmp_path, MODEL_DIR=str(state), **few)
    assert shown.returncode == 0
    assert "Stra\\xdfe" in shown.stdout


def test_status_before_anything(tmp_path) -> None:
    shown = maskloop("status", cwd=tmp_path)
    assert shown.returncode == 0
    assert "maskloop init" in shown.stdout
    # Run in another folder than the service, it says so, and leaves nothing there.
    assert f"{tmp_path / 'maskloop-data'} (MODEL_DIR)" in shown.stderr
    refused = maskloop("refresh", "3", cwd=tmp_path)
    assert (refused.returncode, "MODEL_DIR" in refused.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
