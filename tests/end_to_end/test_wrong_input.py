"""What Label Studio lets people do that a round can't work with: told, and nothing else stops."""

from __future__ import annotations

import base64

import pytest
import requests

from backend.labelconfig import make_label_config
from backend.local_service import LocalService
from backend.studio import Studio
from backend.studio_server import StudioServer
from model.synthetic import render_clip
from tests.end_to_end.loop import Loop

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def loop(studio: Studio, server: StudioServer, tmp_path_factory: pytest.TempPathFactory):
    """A clip whose first frames were chosen, beside one whose pictures nobody can have."""
    settings = {
        "MASKLOOP_BUDGET": "2",
        "MASKLOOP_QUIET_SECONDS": "1",
        "MASKLOOP_CHECK_SECONDS": "2",
        "MASKLOOP_METHOD": "flow",
        "BASIC_AUTH_USER": "me",
        "BASIC_AUTH_PASS": "pass word",
    }
    service = LocalService(
        tmp_path_factory.mktemp("wrong input"),
        studio_url=server.url,
        api_key=server.login.api_key,
        settings=settings,
    )
    with service:
        loop = Loop(
            studio, service, render_clip(8, (64, 48), seed=5), server.document_root, "wrong"
        )
        loop.wait_for_round(0)
        yield loop


def test_a_clip_that_cannot_be_had_does_not_hold_up_the_others(loop: Loop) -> None:
    task = {"image": "http://127.0.0.1:9/x.png", "clip": "elsewhere", "frame": 0}
    loop.studio.import_tasks(loop.project, [task])
    for task_id in list(loop.frame_of)[:2]:
        loop.label(task_id)
    loop.wait(lambda: any(row.labels == 2 for row in loop.rounds()), "a round of two labels")
    loop.wait(lambda: bool(loop.service.status(loop.project)["error"]), "the error")
    status = loop.service.status(loop.project)
    assert "'elsewhere'" in status["error"]
    assert "MASKLOOP_MEDIA_HOSTS" in status["error"]
    assert {clip["clip"]: clip["masks"] for clip in status["clips"]}["wrong"] == 8


def test_a_label_that_was_renamed_is_told_and_leads_to_a_round(loop: Loop) -> None:
    before = len(loop.rounds())
    old = loop.clip.class_names[int(loop.clip.mask(0).max())]
    labels = ["renamed" if label == old else label for label in loop.config.labels]
    path = f"/api/projects/{loop.project}"
    loop.studio.request("PATCH", path, json={"label_config": make_label_config(labels)})
    loop.wait(
        lambda: [row.state for row in loop.rounds()][before:] == ["done"], "a round of new labels"
    )
    (problem,) = loop.service.status(loop.project)["problems"]
    assert f'alias="{old}"' in problem


def test_the_webhook_that_we_make_is_heard_and_others_only_of_known_projects(loop: Loop) -> None:
    (hook,) = loop.studio.request("GET", "/api/webhooks/", params={"project": loop.project})
    secret = base64.b64encode(b"me:pass word").decode()
    assert hook["headers"] == {"Authorization": f"Basic {secret}"}
    body = {"action": "START_TRAINING", "project": {"id": 424242}}
    url = f"{loop.service.url}/webhook"
    answer = requests.post(url, json=body, timeout=10)
    assert answer.json()["queued"] is False
    assert loop.service.status(424242) == {}


def test_a_project_that_is_deleted_is_kept_for_a_while(loop: Loop) -> None:
    loop.studio.request("DELETE", f"/api/projects/{loop.project}")
    loop.wait(
        lambda: "has no project" in (loop.service.status(loop.project)["error"] or ""), "the error"
    )
    assert loop.service.status(loop.project)["model_version"]
