"""The Label Studio client against a scripted server; tests/end_to_end has the real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backend.studio import Studio, StudioError
from backend.studio.backends import PRIVATE_ADDRESS_REMEDY
from backend.studio.projects import _loads

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "head.refresh.sign"


class Script:
    """What the server answers, in order, and what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        self.asked: list[tuple[str, str, Any, str | None]] = []
        self.url = ""

    def then(self, status: int, body: Any = None, **headers: str) -> Script:
        self.answers.append((status, body, headers))
        return self


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(data) if data else None
            script.asked.append((self.command, self.path, body, self.headers["Authorization"]))
            status, answer, headers = script.answers.pop(0)
            payload = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            payload = b"" if answer is None else payload
            self.send_response(status)
            kind = "text/html" if isinstance(answer, str) else "application/json"
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield script
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def studio(script: Script, waits: list[float]) -> Iterator[Studio]:
    studio = Studio(script.url + "/", LEGACY, sleep=waits.append)
    yield studio
    studio.close()


class TestRequests:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_a_passing_failure_is_tried_again(
        self, script: Script, studio: Studio, waits: list[float], status: int
    ) -> None:
        script.then(status, "<html>").then(status, "<html>").then(200, {"id": 3})
        assert studio.project(3) == {"id": 3}
        assert len(script.asked) == 3
        assert waits == sorted(waits)
        assert len(waits) == 2

    def test_it_gives_up_in_the_end(self, script: Script, studio: Studio) -> None:
        for _ in range(4):
            script.then(503, "<html>")
        with pytest.raises(StudioError, match="503") as caught:
            studio.project(3)
        assert caught.value.status == 503
        assert not script.answers

    def test_what_may_not_be_repeated_is_sent_once(self, script: Script, studio: Studio) -> None:
        script.then(500, {"detail": "database is locked"})
        with pytest.raises(StudioError, match="database is locked"):
            studio.create_annotation(1, [])
        assert len(script.asked) == 1

    def test_what_was_turned_away_is_sent_again_when_the_server_says(
        self, script: Script, studio: Studio, waits: list[float]
    ) -> None:
        script.then(429, None, **{"Retry-After": "7"}).then(201, {"id": 5})
        assert studio.create_annotation(1, []) == 5
        assert waits == [7.0]

    def test_columns_are_written_though_the_server_is_busy(
        self, script: Script, studio: Studio
    ) -> None:
        script.then(500, {"detail": "database is locked"}).then(200, {"processed_items": 1})
        studio.write_field(1, "maskloop_rank", {7: "1"})
        assert len(script.asked) == 2

    def test_a_server_that_is_not_there(self, waits: list[float]) -> None:
        studio = Studio("http://localhost:9", LEGACY, sleep=waits.append)
        with pytest.raises(StudioError, match="connection refused") as caught:
            studio.whoami()
        assert caught.value.status is None
        assert "LABEL_STUDIO_URL" in str(caught.value)
        assert "host.docker.internal" in str(caught.value)
        assert len(waits) == 3

    def test_a_page_that_is_no_label_studio(self, script: Script, studio: Studio) -> None:
        script.then(200, "<html>Welcome to nginx</html>")
        with pytest.raises(StudioError, match="LABEL_STUDIO_URL"):
            studio.whoami()

    def test_a_redirected_post_names_the_address(self, script: Script, studio: Studio) -> None:
        script.then(301, None, Location="https://labels.example.com/api/projects")
        with pytest.raises(StudioError, match=r"https://labels\.example\.com"):
            studio.create_project("A project", "<View/>")

    @pytest.mark.parametrize(
        ("status", "body", "says"),
        [
            (401, {"detail": "Invalid token."}, "LABEL_STUDIO_API_KEY"),
            (403, {"detail": "You do not have permission"}, "may not do this"),
            (404, {"detail": "No Project matches the given query."}, "/api/projects/3"),
            (400, {"detail": "x", "validation_errors": {"title": ["too short"]}}, "title: too sh"),
            (400, {"validation_errors": {"non_field_errors": ["odd"]}}, "GET /api/projects/3: odd"),
            (400, ["a list"], "a list"),
            (418, "<html>", "text/html"),
        ],
    )
    def test_errors_say_what_is_wrong(
        self, script: Script, studio: Studio, status: int, body: Any, says: str
    ) -> None:
        script.then(status, body)
        with pytest.raises(StudioError) as caught:
            studio.project(3)
        assert says in str(caught.value)
        assert caught.value.status == status
        assert LEGACY not in str(caught.value)


class TestTokens:
    def test_a_legacy_token_is_sent_as_it_is(self, script: Script, studio: Studio) -> None:
        script.then(200, {"id": 1})
        studio.whoami()
        assert script.asked[0][3] == f"Token {LEGACY}"
        assert studio.media_token() == LEGACY

    def test_a_personal_token_is_exchanged_once(self, script: Script) -> None:
        script.then(200, {"access": "one"}).then(200, {"id": 1}).then(200, {"id": 1})
        studio = Studio(script.url, PERSONAL)
        studio.whoami()
        studio.whoami()
        assert studio.media_token() == "one"
        assert script.asked[0] == ("POST", "/api/token/refresh", {"refresh": PERSONAL}, None)
        assert [asked[3] for asked in script.asked[1:]] == ["Bearer one", "Bearer one"]
        studio.close()

    def test_the_exchange_may_be_repeated(self, script: Script, waits: list[float]) -> None:
        script.then(503, "<html>").then(200, {"access": "one"})
        assert Studio(script.url, PERSONAL, sleep=waits.append).media_token() == "one"
        assert len(waits) == 1

    def test_an_old_access_token_is_renewed(
        self, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script.then(200, {"access": "one"}).then(200, {"access": "two"})
        studio = Studio(script.url, PERSONAL)
        now = 1000.0
        monkeypatch.setattr("backend.studio.connection.time.monotonic", lambda: now)
        assert studio.media_token() == "one"
        now = 1200.0
        assert studio.media_token() == "one"
        now = 1260.0
        assert studio.media_token() == "two"

    def test_a_refused_access_token_is_renewed_once(self, script: Script) -> None:
        refused = {"detail": "Authentication credentials were not provided."}
        script.then(200, {"access": "one"}).then(401, refused)
        script.then(200, {"access": "two"}).then(200, {"id": 1})
        studio = Studio(script.url, PERSONAL)
        assert studio.whoami() == {"id": 1}
        assert script.asked[-1][3] == "Bearer two"
        script.then(401, refused).then(200, {"access": "three"}).then(401, refused)
        with pytest.raises(StudioError, match="LABEL_STUDIO_API_KEY"):
            studio.whoami()
        studio.close()

    def test_a_token_with_a_line_end_works(self, script: Script) -> None:
        script.then(200, {"id": 1})
        studio = Studio(script.url, LEGACY + "\n")
        studio.whoami()
        assert script.asked[0][3] == f"Token {LEGACY}"
        studio.close()


class TestBackend:
    def test_a_refused_address_is_explained_and_its_row_removed(
        self, script: Script, studio: Studio
    ) -> None:
        url = "http://127.0.0.1:9090"
        refused = {"detail": "URL resolves to a reserved network address (block: 127.0.0.0/8)"}
        script.then(200, [{"id": 4, "url": "http://other:9090"}]).then(403, refused)
        script.then(200, [{"id": 4, "url": "http://other:9090"}, {"id": 5, "url": url}]).then(204)
        with pytest.raises(StudioError) as caught:
            studio.connect_backend(7, url)
        assert str(caught.value) == PRIVATE_ADDRESS_REMEDY
        assert script.asked[-1][:2] == ("DELETE", "/api/ml/5")
        assert not script.answers

    def test_a_wrong_password_is_passed_on(self, script: Script, studio: Studio) -> None:
        said = "Able to connect to ML Server, but authentication parameters were incorrect."
        script.then(200, []).then(400, {"validation_errors": {"non_field_errors": [said]}})
        with pytest.raises(StudioError, match="BASIC_AUTH_USER"):
            studio.connect_backend(7, "http://127.0.0.1:9090")


class TestPredictions:
    def test_a_failure_that_is_not_about_tasks_is_passed_on(
        self, script: Script, studio: Studio
    ) -> None:
        script.then(400, {"detail": "something else"}).then(200, {"tasks": [{"id": 1}]})
        with pytest.raises(StudioError, match="something else") as caught:
            studio.import_predictions(
                7, [{"task": 1, "result": [], "score": 0.5, "model_version": "v"}]
            )
        assert caught.value.tasks == ()

    def test_nothing_to_import(self, script: Script, studio: Studio) -> None:
        assert studio.import_predictions(7, []) == 0
        assert script.asked == []


class TestTasks:
    @staticmethod
    def row(number: int, at: str, total: int, **more: Any) -> dict[str, Any]:
        counts = {"total_annotations": total, "cancelled_annotations": 0}
        return {"id": number, "data": {}, "updated_at": at, **counts, **more}

    def test_annotations_that_have_not_changed_are_read_once(
        self, script: Script, studio: Studio
    ) -> None:
        first = [{"id": 3, "result": [{"id": "ä"}]}]
        second = [{"id": 4, "result": []}]

        def look(*rows: dict[str, Any]) -> dict[int, Any]:
            script.then(200, {"tasks": list(rows)})
            return {task["id"]: task["annotations"] for task in studio.tasks(7)}

        script.then(200, {"tasks": [self.row(1, "10:00", 1), self.row(2, "10:01", 0)]})
        script.then(200, {"tasks": [self.row(1, "10:00", 1, annotations=first)]})
        assert {t["id"]: t["annotations"] for t in studio.tasks(7)} == {1: first, 2: []}
        assert len(script.asked) == 2
        # Nothing has changed: no masks are sent.
        assert look(self.row(1, "10:00", 1), self.row(2, "10:01", 0)) == {1: first, 2: []}
        assert len(script.asked) == 3
        # One is changed, another is new; then one is deleted.
        script.then(200, {"tasks": [self.row(1, "10:05", 1), self.row(2, "10:06", 1)]})
        changed = [self.row(1, "10:05", 1, annotations=second)]
        changed += [self.row(2, "10:06", 1, annotations=first)]
        script.then(200, {"tasks": changed})
        assert {t["id"]: t["annotations"] for t in studio.tasks(7)} == {1: second, 2: first}
        assert look(self.row(1, "10:05", 0), self.row(2, "10:06", 1)) == {1: [], 2: first}
        assert len(script.asked) == 6

    def test_what_changes_while_it_is_read_is_read_again(
        self, script: Script, studio: Studio
    ) -> None:
        for at, details in (("10:00", [{"id": 1}]), ("10:02", [{"id": 1, "new": True}])):
            script.then(200, {"tasks": [self.row(1, at, 1)]})
            # The details are of a moment later.
            script.then(200, {"tasks": [self.row(1, "10:02", 1, annotations=details)]})
            assert [task["annotations"] for task in studio.tasks(7)] == [details]
        assert len(script.asked) == 4


class TestTab:
    def test_a_tab_without_settings_does_no_harm(self, script: Script, studio: Studio) -> None:
        ranked = {"id": 5, "data": {"ordering": ["tasks:predictions_score"]}}
        script.then(200, [{"id": 4, "data": None}, ranked]).then(200, None)
        assert studio.ensure_ranked_tab(7) == 5
        assert script.asked[-1][2] == {"project": 7, "ids": [5, 4]}


class TestUploads:
    @pytest.mark.parametrize(
        ("sizes", "loads"),
        [
            ([], []),
            ([10, 10, 10, 10, 10], [[10, 10, 10], [10, 10]]),
            ([60, 60, 10], [[60], [60, 10]]),
            ([500, 1], [[500], [1]]),
        ],
    )
    def test_requests_are_neither_long_nor_large(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        sizes: list[int],
        loads: list[list[int]],
    ) -> None:
        monkeypatch.setattr("backend.studio.projects._UPLOADS", 3)
        monkeypatch.setattr("backend.studio.projects._UPLOAD_BYTES", 100)
        paths = [tmp_path / f"{index}.png" for index in range(len(sizes))]
        for path, size in zip(paths, sizes, strict=True):
            path.write_bytes(bytes(size))
        sent = [list(load) for load in _loads(paths)]
        assert [path for load in sent for path in load] == paths
        assert [[path.stat().st_size for path in load] for load in sent] == loads
