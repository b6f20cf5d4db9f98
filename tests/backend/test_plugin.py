"""The plugin under label-studio-ml's own server, which answers as ours does.

label-studio-ml 2.x is in no package index: the test runs where it is installed.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from backend.artifacts import Artifacts
from backend.children import Program, free_port
from backend.labelconfig import make_label_config
from backend.roundfiles import RoundFiles
from backend.settings import load_settings
from backend.store import Store

ROOT = Path(__file__).parents[2]
CONFIG = make_label_config(["car", "road"])

installed = pytest.mark.skipif(
    importlib.util.find_spec("label_studio_ml") is None,
    reason="label-studio-ml 2.x is not installed (it is on GitHub only)",
)


def published_state(folder: Path) -> Store:
    """A store in which project 1 has a published mask of task 5."""
    settings = load_settings(model_dir=folder)
    store = Store(settings.resolved_database_url)
    store.ring(1, label_config=CONFIG)
    store.set_project(1, queued=False)
    row = store.start_round(1, lambda number: f"maskloop-r{number}-abc", "me")
    files = RoundFiles(Artifacts(folder / "projects"), 1, row.version)
    mask = np.zeros((12, 16), np.uint8)
    mask[2:6, 3:9] = 1
    files.artifacts.write_mask(files.mask_key(5), mask)
    rows = [
        {
            "task_id": 5, "rank": 0, "score": 0.25, "uncertainty": 0.1,
            "mask": files.mask_key(5), "confidences": {"1": 0.75},
        }
    ]  # fmt: skip
    store.save_predictions(row.id, rows)
    store.set_round(row.id, figures={"class_names": ["background", "car", "road"]})
    store.finish_round(row.id, {5: (True, None)})
    return store


@pytest.fixture(params=["ours", "theirs"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same state behind our server and behind label-studio-ml's."""
    published_state(tmp_path / "state").close()
    port = free_port()
    environment = {
        **os.environ,
        "MODEL_DIR": str(tmp_path / "state"),
        "PORT": str(port),
        "MASKLOOP_HOST": "127.0.0.1",
        "BASIC_AUTH_USER": "",
        "BASIC_AUTH_PASS": "",
    }
    if request.param == "ours":
        command = [sys.executable, "-m", "backend.cli", "web"]
    else:
        # What `label-studio-ml start backend` runs.
        script = str(ROOT / "backend" / "_wsgi.py")
        command = [sys.executable, script, "-p", str(port), "--host", "127.0.0.1"]
    program = Program("server", command, log=tmp_path / "log", env=environment)
    try:
        program.wait_for_http(f"http://127.0.0.1:{port}/health", timeout=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        program.stop()


def post(address: str, path: str, body: dict[str, Any]) -> requests.Response:
    with requests.Session() as http:
        http.trust_env = False
        return http.post(address + path, json=body, timeout=30)


@installed
def test_both_servers_answer_alike(address: str, tmp_path: Path) -> None:
    with requests.Session() as http:
        http.trust_env = False
        assert http.get(f"{address}/health", timeout=30).json()["status"] == "UP"

    body: dict[str, Any] = {"project": "1.1795238333", "schema": CONFIG, "extra_params": None}
    assert post(address, "/setup", body).json()["model_version"] == "maskloop-r0-abc"

    tasks = [{"id": 404, "data": {}}, {"id": 5, "data": {}}]
    body = {"project": "1.17", "tasks": tasks, "label_config": CONFIG, "params": {"context": None}}
    empty, answer = post(address, "/predict", body).json()["results"]
    assert empty["result"] == []
    assert answer["score"] == 0.25
    assert answer["model_version"] == "maskloop-r0-abc"
    assert answer["result"][0]["value"]["brushlabels"] == ["car"]

    project = {"id": 1, "label_config": CONFIG}
    body = {"action": "ANNOTATION_CREATED", "project": project, "annotation": {"id": 1}}
    assert post(address, "/webhook", body).ok
    store = Store(load_settings(model_dir=tmp_path / "state").resolved_database_url)
    known = store.project(1)
    store.close()
    assert known is not None
    assert known.queued


def test_without_the_package_the_error_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['label_studio_ml'] = None; import backend.plugin"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "pip install" in done.stderr
    assert "maskloop serve" in done.stderr
