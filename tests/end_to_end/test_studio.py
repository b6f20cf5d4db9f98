"""The client against a real Label Studio."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from backend.studio import Studio, StudioError
from backend.studio_server import StudioServer
from tests.end_to_end.conftest import CONFIG

pytestmark = pytest.mark.end_to_end

REGION = {
    "id": "r1",
    "from_name": "brush",
    "to_name": "image",
    "type": "brushlabels",
    "original_width": 8,
    "original_height": 8,
    "image_rotation": 0,
    "value": {"format": "rle", "rle": [0, 0, 1, 0], "brushlabels": ["disc"]},
}


def prediction(task: int, score: Any, version: str = "v1", **other: Any) -> dict[str, Any]:
    return {"task": task, "result": [], "score": score, "model_version": version, **other}


@pytest.fixture
def project(studio: Studio) -> Iterator[int]:
    project_id = studio.create_project("Client tests", CONFIG)
    yield project_id
    studio.delete_project(project_id)


@pytest.fixture
def tasks(studio: Studio, project: int) -> list[int]:
    return studio.import_tasks(
        project, [{"image": f"/data/none/{i}.png", "clip": "c", "frame": i} for i in range(6)]
    )


@pytest.fixture(scope="module")
def backend_url() -> Iterator[str]:
    """A backend that says yes to everything."""

    class Yes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b'{"status": "UP", "model_version": "m"}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Yes)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


class TestTokens:
    def test_legacy_token(self, studio: Studio, server: StudioServer) -> None:
        assert studio.whoami()["email"] == server.login.email
        assert studio.media_token() == server.login.api_key

    def test_personal_access_token(self, server: StudioServer, personal_token: str) -> None:
        personal = Studio(server.url, personal_token)
        assert personal.whoami()["email"] == server.login.email
        header = {"Authorization": f"Bearer {personal.media_token()}"}
        answer = requests.get(f"{server.url}/api/current-user/whoami", headers=header, timeout=10)
        assert answer.status_code == 200

    def test_personal_access_token_is_renewed_when_refused(
        self, server: StudioServer, personal_token: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        personal = Studio(server.url, personal_token)
        fresh = personal.media_token()
        assert personal._access is not None
        monkeypatch.setattr(personal, "_access", (fresh[:-4] + "AAAA", personal._access[1]))
        assert personal.whoami()["email"] == server.login.email

    @pytest.mark.parametrize("key", ["0" * 40, "aaaa.bbbb.cccc"])
    def test_wrong_token_names_the_setting(self, server: StudioServer, key: str) -> None:
        with pytest.raises(StudioError, match="LABEL_STUDIO_API_KEY") as caught:
            Studio(server.url, key).whoami()
        assert caught.value.status == 401
        assert key not in str(caught.value)


class TestLabels:
    def test_tasks_come_with_their_annotations(
        self, studio: Studio, project: int, tasks: list[int]
    ) -> None:
        label = studio.create_annotation(tasks[2], [REGION])
        skipped = studio.create_annotation(tasks[4], [], was_cancelled=True)
        studio.import_predictions(project, [prediction(tasks[2], 0.5, result=[REGION])])
        found = {task["id"]: task for task in studio.tasks(project)}
        assert list(found) == tasks
        assert [found[task]["data"]["frame"] for task in tasks] == list(range(6))
        (annotation,) = found[tasks[2]]["annotations"]
        assert annotation["id"] == label
        assert annotation["result"] == [REGION]
        assert annotation["updated_at"] >= annotation["created_at"]
        assert isinstance(annotation["completed_by"], int)
        assert not annotation["was_cancelled"]
        assert not annotation["ground_truth"]
        assert not found[tasks[2]].get("predictions")
        assert [a["id"] for a in found[tasks[4]]["annotations"] if a["was_cancelled"]] == [skipped]
        assert found[tasks[0]]["annotations"] == []

    def test_tasks_are_read_page_by_page(
        self, studio: Studio, project: int, tasks: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backend.studio.client._TASK_PAGE", 4)
        monkeypatch.setattr("backend.studio.client._LABEL_PAGE", 1)
        studio.create_annotation(tasks[0], [REGION])
        studio.create_annotation(tasks[1], [])
        seen = [(task["id"], len(task["annotations"])) for task in studio.tasks(project)]
        assert seen == list(zip(tasks, [1, 1, 0, 0, 0, 0], strict=True))
        studio.import_tasks(project, [{"image": "x"}, {"image": "y"}])  # now two full pages
        assert len(list(studio.tasks(project))) == 8

    def test_an_empty_project_has_no_task(self, studio: Studio, project: int) -> None:
        assert list(studio.tasks(project)) == []
        assert studio.next_task(project) is None
        assert studio.fingerprint(project)

    def test_unknown_project(self, studio: Studio) -> None:
        with pytest.raises(StudioError, match="987654") as caught:
            studio.project(987654)
        assert caught.value.status == 404
        with pytest.raises(StudioError):
            list(studio.tasks(987654))


class TestFingerprint:
    def test_differs_after_every_change_that_matters(
        self, studio: Studio, project: int, tasks: list[int]
    ) -> None:
        seen = [studio.fingerprint(project)]

        def changed(what: str) -> None:
            now = studio.fingerprint(project)
            assert now not in seen, what
            assert studio.fingerprint(project) == now
            seen.append(now)

        label = studio.create_annotation(tasks[0], [REGION])
        changed("annotation created")
        studio.request("PATCH", f"/api/annotations/{label}/", json={"result": []})
        changed("annotation changed")
        studio.request("PATCH", f"/api/annotations/{label}/", json={"ground_truth": True})
        changed("marked as ground truth")
        studio.create_annotation(tasks[1], [], was_cancelled=True)
        changed("skipped")
        studio.request("DELETE", f"/api/annotations/{label}/")
        changed("annotation deleted")
        studio.request("PATCH", f"/api/tasks/{tasks[2]}/", json={"data": {"image": "other"}})
        changed("task changed")
        studio.request("DELETE", f"/api/tasks/{tasks[5]}/")
        changed("task deleted")
        studio.import_tasks(project, [{"image": "new"}])
        changed("task added")
        wider = CONFIG.replace("</BrushLabels>", '<Label value="ring"/></BrushLabels>')
        studio.request("PATCH", f"/api/projects/{project}", json={"label_config": wider})
        changed("configuration changed")

    def test_our_own_publishing_does_not_change_it(
        self, studio: Studio, project: int, tasks: list[int]
    ) -> None:
        before = studio.fingerprint(project)
        studio.import_predictions(project, [prediction(task, 0.5) for task in tasks])
        studio.set_model_version(project, "v1")
        studio.set_sampling(project)
        studio.ensure_ranked_tab(project)
        studio.next_task(project)
        studio.import_predictions(project, [prediction(task, 0.5, "v2") for task in tasks])
        studio.set_model_version(project, "v2")
        studio.delete_model_version(project, "v1")
        assert studio.fingerprint(project) == before


class TestPredictions:
    def test_the_stream_follows_the_scores_of_the_current_version(
        self, studio: Studio, project: int, tasks: list[int]
    ) -> None:
        studio.set_sampling(project)
        for version, order in (("v1", tasks[::-1]), ("v2", tasks[3:] + tasks[:3])):
            items = [
                prediction(task, rank / len(order), version) for rank, task in enumerate(order)
            ]
            assert studio.import_predictions(project, items, batch=4) == len(items)
        assert studio.model_versions(project) == {"v1": 6, "v2": 6}

        studio.set_model_version(project, "v1")
        served = self.serve(studio, project, 2)
        studio.set_model_version(project, "v2")
        served += self.serve(studio, project, 4)
        assert served == [tasks[5], tasks[4], tasks[3], tasks[0], tasks[1], tasks[2]]
        assert studio.next_task(project) is None

    @staticmethod
    def serve(studio: Studio, project: int, count: int) -> list[int]:
        served = []
        for _ in range(count):
            task = studio.next_task(project)
            assert task is not None
            studio.create_annotation(task["id"], [])
            served.append(task["id"])
        return served

    def test_a_version_is_deleted(self, studio: Studio, project: int, tasks: list[int]) -> None:
        studio.import_predictions(project, [prediction(task, 0.5) for task in tasks])
        assert studio.delete_model_version(project, "v1") == 6
        assert studio.delete_model_version(project, "v1") == 0
        assert studio.model_versions(project) == {}

    def test_a_version_without_predictions_is_refused(self, studio: Studio, project: int) -> None:
        with pytest.raises(StudioError, match="version") as caught:
            studio.set_model_version(project, "never published")
        assert caught.value.status == 400

    @pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), None, "0.5", True])
    def test_a_score_out_of_range_is_not_sent(
        self, studio: Studio, project: int, tasks: list[int], score: Any
    ) -> None:
        items = [prediction(tasks[0], 0.5), prediction(tasks[1], score)]
        with pytest.raises(StudioError, match=r"outside 0\.\.1") as caught:
            studio.import_predictions(project, items)
        assert caught.value.tasks == (tasks[1],)
        assert studio.model_versions(project) == {}

    def test_missing_tasks_are_named(self, studio: Studio, project: int, tasks: list[int]) -> None:
        studio.request("DELETE", f"/api/tasks/{tasks[3]}/")
        with pytest.raises(StudioError, match=str(tasks[3])) as caught:
            studio.import_predictions(project, [prediction(task, 0.5) for task in tasks])
        assert caught.value.tasks == (tasks[3],)

    def test_a_dropped_prediction_is_noticed(
        self, studio: Studio, project: int, tasks: list[int]
    ) -> None:
        alien = {**REGION, "from_name": "no such tag"}
        items = [prediction(tasks[0], 0.5), prediction(tasks[1], 0.5, result=[alien])]
        with pytest.raises(StudioError, match="1 of 2"):
            studio.import_predictions(project, items)


class TestSetup:
    def test_ranked_tab_is_made_once_and_first(self, studio: Studio, project: int) -> None:
        studio.request(
            "POST", "/api/dm/views/", json={"project": project, "data": {"title": "Default"}}
        )
        tab = studio.ensure_ranked_tab(project)
        assert studio.ensure_ranked_tab(project) == tab
        tabs = studio.request("GET", "/api/dm/views/", params={"project": project})
        assert [entry["id"] for entry in tabs].index(tab) == 0
        assert len(tabs) == 2
        assert tabs[0]["data"]["ordering"] == ["tasks:predictions_score"]

    def test_uploads_keep_their_order(
        self, studio: Studio, project: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backend.studio.projects._UPLOADS", 3)
        paths = []
        for index in range(7):
            path = tmp_path / f"{index % 2}" / f"frame {index // 2}.png"  # names come twice
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), np.full((4, 5, 3), 30 * index, np.uint8))
            paths.append(path)
        done: list[int] = []
        urls = studio.upload_images(project, paths, progress=done.append)
        assert done == [3, 3, 1]
        assert list(studio.tasks(project)) == []
        header = {"Authorization": studio.authorization()}
        for index, url in enumerate(urls):
            data = requests.get(studio.url + url, headers=header, timeout=10).content
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            assert (image == 30 * index).all()

    def test_local_files(self, studio: Studio, project: int, server: StudioServer) -> None:
        folder = server.document_root / "walk"
        folder.mkdir(exist_ok=True)
        (folder / "0.png").write_bytes(b"picture")
        storage = studio.add_local_files(project, str(folder), "walk")
        assert studio.add_local_files(project, str(folder), "walk") == storage
        header = {"Authorization": studio.authorization()}
        url = f"{server.url}/data/local-files/?d=walk/0.png"
        assert requests.get(url, headers=header, timeout=10).content == b"picture"
        with pytest.raises(StudioError, match="does not exist"):
            studio.add_local_files(project, str(server.document_root / "nothing"), "none")

    def test_backend_is_connected_once(
        self, studio: Studio, project: int, backend_url: str
    ) -> None:
        first = studio.connect_backend(project, backend_url, title="One")
        again = studio.connect_backend(
            project, backend_url + "/", title="Two", username="me", password="secret"
        )
        assert again == first
        (row,) = studio.request("GET", "/api/ml", params={"project": project})
        assert (row["title"], row["auth_method"], row["basic_auth_user"]) == (
            "Two",
            "BASIC_AUTH",
            "me",
        )

    def test_backend_that_has_moved_keeps_one_webhook(
        self, studio: Studio, project: int, backend_url: str
    ) -> None:
        other = backend_url.replace("127.0.0.1", "localhost")
        first = studio.connect_backend(project, other)
        assert self.webhooks(studio, project) == [(f"{other}/webhook", {})]
        assert studio.connect_backend(project, backend_url) == first
        assert self.webhooks(studio, project) == [(f"{backend_url}/webhook", {})]
        studio.connect_backend(project, backend_url, username="me", password="secret")
        header = {"Authorization": "Basic bWU6c2VjcmV0"}
        assert self.webhooks(studio, project) == [(f"{backend_url}/webhook", header)]

    @staticmethod
    def webhooks(studio: Studio, project: int) -> list[tuple[str, dict[str, str]]]:
        hooks = studio.request("GET", "/api/webhooks/", params={"project": project})
        return [(hook["url"], hook["headers"]) for hook in hooks if hook["is_active"]]

    def test_backend_that_is_not_there(self, studio: Studio, project: int) -> None:
        with pytest.raises(StudioError, match="maskloop serve"):
            studio.connect_backend(project, "http://127.0.0.1:9")
        assert studio.request("GET", "/api/ml", params={"project": project}) == []

    def test_a_title_that_is_too_short(self, studio: Studio) -> None:
        with pytest.raises(StudioError, match="title"):
            studio.create_project("x", CONFIG)
