from __future__ import annotations

import base64
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from backend.app import create_app
from backend.artifacts import Artifacts
from backend.formats import decode
from backend.hooks import UNPUBLISHED, Hooks
from backend.jobqueue import Queue
from backend.labelconfig import make_label_config, parse_label_config
from backend.roundfiles import RoundFiles
from backend.settings import Settings, load_settings
from backend.status import status_of
from backend.store import Store

CONFIG = make_label_config(["car", "road"])


class Service:
    """The application on real state in a folder, without a worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.resolved_database_url)
        self.artifacts = Artifacts(settings.model_dir / "projects")
        self.queue = Queue(settings)
        self.app = create_app(settings, Hooks(self.store, self.artifacts, self.queue))
        self.client = self.app.test_client()

    def jobs(self) -> int:
        return int(self.queue.huey.pending_count())

    def publish(self, masks: dict[int, np.ndarray], names: list[str]) -> str:
        """What a round leaves behind, with rank by task id."""
        row = self.store.start_round(1, lambda number: f"v{number}", "me")
        files = RoundFiles(self.artifacts, 1, row.version)
        rows = []
        for rank, (task, mask) in enumerate(sorted(masks.items())):
            self.artifacts.write_mask(files.mask_key(task), mask)
            rows.append(
                {
                    "task_id": task, "rank": rank, "score": rank / 10, "uncertainty": 0.1,
                    "mask": files.mask_key(task), "confidences": {"1": 0.75},
                }
            )  # fmt: skip
        self.store.save_predictions(row.id, rows)
        self.store.set_round(row.id, figures={"class_names": names})
        self.store.finish_round(row.id, dict.fromkeys(masks, (True, None)))
        return row.version


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    service = Service(load_settings(model_dir=tmp_path / "state"))
    yield service
    service.store.close()
    service.queue.huey.storage.close()


def setup_body(config: str = CONFIG, project: str = "1.1795238333") -> dict[str, Any]:
    return {"project": project, "schema": config, "hostname": "http://ls", "access_token": "x"}


def test_health(service: Service) -> None:
    assert service.client.get("/health").json["status"] == "UP"


def test_an_empty_configuration_does_not_replace_the_known_one(service: Service) -> None:
    service.client.post("/setup", json=setup_body())
    assert service.client.post("/setup", json=setup_body("")).status_code == 400
    project = service.store.project(1)
    assert project is not None
    assert project.label_config == CONFIG


def test_setup_makes_the_project_known_once(service: Service) -> None:
    for _ in range(3):
        answer = service.client.post("/setup", json=setup_body())
        assert answer.json["model_version"] == UNPUBLISHED
    assert service.jobs() == 1
    assert [project.id for project in service.store.projects()] == [1]


def test_a_configuration_that_cannot_be_served_is_refused_with_the_remedy(service: Service) -> None:
    config = '<View><Image name="i" value="$image"/><Choices name="c" toName="i"><Choice value="a"/></Choices></View>'  # noqa: E501
    answer = service.client.post("/setup", json=setup_body(config))
    assert answer.status_code == 400
    assert "BrushLabels" in answer.json["error"]


def test_predict_answers_every_task_in_order(service: Service) -> None:
    service.client.post("/setup", json=setup_body())
    mask = np.zeros((12, 16), np.uint8)
    mask[2:6, 3:9] = 1
    mask[8:, :] = 2
    version = service.publish({5: mask, 6: np.zeros_like(mask)}, ["background", "car", "road"])
    tasks = [{"id": 6}, {"id": 404}, {"id": 5}, {}]
    body = {"tasks": tasks, "project": "1.17", "label_config": CONFIG, "params": {"context": None}}
    results = service.client.post("/predict", json=body).json["results"]
    assert [len(result["result"]) for result in results] == [0, 0, 0 + 2, 0]
    assert {result["model_version"] for result in results} == {version}
    assert all(0 <= result["score"] <= 1 for result in results)
    config = parse_label_config(CONFIG)
    np.testing.assert_array_equal(decode(results[2]["result"], config, mask.shape), mask)


def test_predict_follows_class_names_when_the_configuration_changed(service: Service) -> None:
    service.client.post("/setup", json=setup_body())
    mask = np.full((4, 4), 1, np.uint8)
    mask[0] = 2
    service.publish({5: mask}, ["background", "car", "road"])
    changed = make_label_config(["road", "tree", "car"])
    body = {"tasks": [{"id": 5}], "project": "1", "label_config": changed}
    result = service.client.post("/predict", json=body).json["results"][0]["result"]
    expected = np.where(mask == 1, 3, 1).astype(np.uint8)
    np.testing.assert_array_equal(decode(result, parse_label_config(changed), mask.shape), expected)


def test_predict_of_an_unknown_project_is_empty_and_makes_it_known(service: Service) -> None:
    body = {"tasks": [{"id": 5}], "project": "9", "label_config": CONFIG, "params": {}}
    results = service.client.post("/predict", json=body).json["results"]
    assert results == [{"result": [], "score": 1.0, "model_version": UNPUBLISHED}]
    assert service.jobs() == 1


def test_a_lost_mask_gives_no_region_instead_of_an_error(service: Service) -> None:
    service.client.post("/setup", json=setup_body())
    version = service.publish({5: np.ones((4, 4), np.uint8)}, ["background", "car", "road"])
    service.artifacts.path(RoundFiles(service.artifacts, 1, version).mask_key(5)).unlink()
    body = {"tasks": [{"id": 5}], "project": "1", "label_config": CONFIG}
    assert service.client.post("/predict", json=body).json["results"][0]["result"] == []


@pytest.mark.parametrize(
    ("event", "queued"),
    [
        ("ANNOTATION_CREATED", True),
        ("ANNOTATION_UPDATED", True),
        ("ANNOTATIONS_DELETED", True),
        ("TASKS_CREATED", True),
        ("START_TRAINING", True),
        ("LABEL_LINK_CREATED", False),
        ("PROJECT_UPDATED", False),
    ],
)
def test_which_events_ring_the_bell(service: Service, event: str, queued: bool) -> None:
    service.store.ring(1, label_config=CONFIG)
    service.store.set_project(1, queued=False)
    body = {"action": event, "project": {"id": 1, "label_config": CONFIG, "model_version": "v1"}}
    answer = service.client.post("/webhook", json=body)
    assert answer.status_code == 200
    assert answer.json["queued"] is queued
    assert service.jobs() == int(queued)
    project = service.store.project(1)
    assert project is not None
    assert project.train_now is (event == "START_TRAINING")


def test_a_changed_configuration_rings_but_our_own_patch_does_not(service: Service) -> None:
    service.store.ring(1, label_config=CONFIG)
    service.store.set_project(1, queued=False)
    changed = make_label_config(["car", "road", "tree"])
    body = {"action": "PROJECT_UPDATED", "project": {"id": 1, "label_config": changed}}
    assert service.client.post("/webhook", json=body).json["queued"] is True


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/predict", {"project": "1"}, "'tasks' must be a list"),
        ("/predict", {"project": "1", "tasks": ["x"]}, "'tasks' must be a list"),
        ("/predict", {"project": "../x", "tasks": []}, "names no project"),
        ("/predict", {"project": None, "tasks": []}, "names no project"),
        ("/setup", {"schema": CONFIG}, "names no project"),
        ("/setup", {"project": "1", "schema": 7}, "'schema' must be a labelling configuration"),
        ("/webhook", {"project": {"id": 1}}, "'action' must name an event"),
        ("/webhook", {"action": "START_TRAINING"}, "names no project"),
    ],
)
def test_bad_input_gets_a_sentence(service: Service, path: str, body: Any, said: str) -> None:
    answer = service.client.post(path, json=body)
    assert answer.status_code == 400
    assert said in answer.json["error"]


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_refused(service: Service, data: bytes) -> None:
    answer = service.client.post("/predict", data=data, content_type="application/json")
    assert answer.status_code == 400
    assert "JSON object" in answer.json["error"]


def test_unknown_paths_and_methods_answer_in_json(service: Service) -> None:
    assert "Not Found" in service.client.get("/nothing").json["error"]
    assert "Method Not Allowed" in service.client.get("/predict").json["error"]


def test_versions_newest_first(service: Service) -> None:
    service.store.ring(1)
    first = service.publish({5: np.zeros((2, 2), np.uint8)}, ["background"])
    second = service.publish({5: np.zeros((2, 2), np.uint8)}, ["background"])
    assert service.client.get("/versions").json == {"versions": [second, first]}
    assert service.client.get("/versions?project=77").json == {"versions": []}


def test_status_and_metrics_tell_the_state(service: Service) -> None:
    service.store.ring(1, title="Street")
    service.store.sync_frames(
        1,
        [
            {"task_id": i, "clip": "a", "position": i, "url": "/", "label": "x" if i < 2 else None}
            for i in range(5, 9)
        ]
        + [{"task_id": 1, "clip": "a", "position": 0, "url": "/", "label": "y"}],
    )
    service.store.start_round(1, lambda number: f"v{number}", "me")
    service.store.set_round(1, step="finetune", share=0.5, note="epoch 1")
    project = service.client.get("/status").json["projects"][0]
    assert project["title"] == "Street"
    assert project["clips"][0]["frames"] == 5
    assert project["clips"][0]["labelled"] == [0]
    assert project["round"]["step"] == "finetune"
    assert project["round"]["share"] == 0.5
    text = service.client.get("/metrics").text
    assert 'maskloop_frames{project="1"} 5.0' in text
    assert 'maskloop_round_share{project="1",step="finetune"} 0.5' in text


@pytest.mark.parametrize(
    "accept",
    [
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",  # Firefox
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,"
        "*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",  # Chromium
    ],
)
def test_a_browser_gets_the_status_as_a_page(service: Service, accept: str) -> None:
    problem = "Task 9: <script>alert(1)</script> [bold]"
    service.store.ring(1, title="A <b>street</b>", problems=[problem])
    answer = service.client.get("/status?project=1", headers={"Accept": accept})
    assert answer.mimetype == "text/html"
    assert "Project 1: A &lt;b&gt;street&lt;/b&gt;</span>, model version none yet" in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; [bold]" in answer.text
    assert "<script" not in answer.text
    for accept in ("*/*", "application/json"):
        answer = service.client.get("/status", headers={"Accept": accept})
        assert answer.json["projects"][0]["problems"] == [problem]


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    service = Service(
        load_settings(model_dir=tmp_path / "state", basic_auth_user="ann", basic_auth_pass="pw")
    )
    yield service
    service.store.close()
    service.queue.huey.storage.close()


def credentials(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()}


RIGHT, WRONG = credentials("pw"), credentials("no")


def test_basic_auth_guards_all_but_the_bell_and_health(guarded: Service) -> None:
    assert guarded.client.get("/health").status_code == 200
    assert guarded.client.get("/status").status_code == 401
    assert guarded.client.get("/status", headers=WRONG).status_code == 401
    assert guarded.client.get("/status", headers=RIGHT).status_code == 200
    assert guarded.client.post("/predict", json={}, headers=RIGHT).status_code == 400
    # Label Studio sends no credentials with the webhooks that it makes by itself.
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 1}}
    assert guarded.client.post("/webhook", json=body).status_code == 200
    assert guarded.client.post("/webhook", json=body, headers=WRONG).status_code == 401


def test_a_bell_without_credentials_makes_nothing_known_and_is_not_believed(
    guarded: Service,
) -> None:
    body = {"action": "START_TRAINING", "project": {"id": 7, "label_config": "<View/>"}}
    answer = guarded.client.post("/webhook", json=body)
    assert answer.json["queued"] is False
    assert "password" in answer.json["reason"]
    assert guarded.store.projects() == []
    guarded.client.post("/setup", json=setup_body(), headers=RIGHT)
    body["project"]["id"] = 1  # type: ignore[index]
    for headers, config in (({}, CONFIG), (RIGHT, "<View/>")):
        guarded.store.set_project(1, queued=False)
        answer = guarded.client.post("/webhook", json=body, headers=headers)
        assert answer.json["queued"] is True
        project = guarded.store.project(1)
        assert project is not None
        assert project.label_config == config


def test_a_huge_bell_is_refused_in_a_sentence(service: Service) -> None:
    answer = service.client.post(
        "/webhook",
        data=b"{}",
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": str(10**9)},
    )
    assert answer.status_code == 413
    assert "Too Large" in answer.json["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe garbage",
        b"[1, 2]",
        b'{"action": "START_TRAINING"}',
        b'{"action": ["START_TRAINING"], "project": {"id": 1}}',
        b'{"action": "START_TRAINING", "project": {"id": {"a": 1}}}',
        b'{"action": "START_TRAINING", "project": {"id": -1}}',
        b'{"action": "START_TRAINING", "project": {"id": 99999999999999999999}}',
    ],
)
def test_garbage_at_the_bell_is_told_what_was_expected(service: Service, body: bytes) -> None:
    answer = service.client.post("/webhook", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json["error"].endswith(".")
    assert service.store.projects() == []


def test_a_labelling_configuration_that_is_no_text_is_passed_over(service: Service) -> None:
    body = {"action": "START_TRAINING", "project": {"id": 1, "label_config": ["<View/>"]}}
    assert service.client.post("/webhook", json=body).json["queued"] is True


def test_a_full_disk_is_told_in_a_sentence(service: Service, monkeypatch, caplog) -> None:
    def full(*args: object, **values: object) -> None:
        raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    usage = type("Usage", (), {"free": 3 * 1024**2})
    monkeypatch.setattr("backend.status.shutil.disk_usage", lambda folder: usage)
    monkeypatch.setattr(service.store, "ring", full)
    body = {"action": "START_TRAINING", "project": {"id": 1}}
    answer = service.client.post("/webhook", json=body)
    assert answer.status_code == 503
    assert answer.json["error"] == "The store can't be used: database or disk is full."
    assert "Traceback" not in caplog.text
    settings = load_settings(
        model_dir=service.settings.model_dir, label_studio_url="http://ls", label_studio_api_key="k"
    )
    error = status_of(service.store, settings)["error"]
    assert "has 3 MB of free space left" in error


def test_the_web_process_never_loads_torch() -> None:
    code = "import backend.app, backend.processes, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
