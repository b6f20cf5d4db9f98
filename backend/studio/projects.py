"""Setting a Label Studio project up: tasks and their files, the backend, the order of serving."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.studio.connection import Connection, StudioError

__all__ = ["PRIVATE_ADDRESS_REMEDY", "Projects"]

PRIVATE_ADDRESS_REMEDY = (
    "Label Studio refuses backends on private addresses by default. Start Label Studio with "
    "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false (both are needed), or with "
    "USE_DEFAULT_BANNED_SUBNETS=false, and try again."
)

_RANKED = "tasks:predictions_score"
_SHOWN = ("id", "data", "total_annotations", "predictions_score")
_UPLOADS = 50
_TASKS = 1000


class Projects(Connection):
    """The part of the client that sets a project up."""

    def create_project(self, title: str, label_config: str, **fields: Any) -> int:
        """Create a project; returns its id.

        Raises:
            StudioError: Also when the title is shorter than 3 or longer than 50 characters, or
                when Label Studio does not accept the configuration.
        """
        body = {"title": title, "label_config": label_config, **fields}
        return int(self.request("POST", "/api/projects", json=body)["id"])

    def projects(self, title: str) -> list[dict[str, Any]]:
        """The projects whose title contains a text, whatever the case."""
        answer = self.request("GET", "/api/projects", params={"title": title, "page_size": 1000})
        return list(answer["results"])

    def delete_project(self, project_id: int) -> None:
        """Delete a project with its tasks, annotations and uploaded files."""
        self.request("DELETE", f"/api/projects/{project_id}")

    def set_sampling(self, project_id: int, sampling: str = "Uncertainty sampling") -> None:
        """Choose how the label stream orders tasks; the default follows prediction scores."""
        self._patch(project_id, sampling=sampling)

    def ensure_ranked_tab(self, project_id: int, title: str = "Ranked") -> int:
        """Have a Data Manager tab that is ordered by prediction score, before all others.

        A fresh browser lands on the first tab, and "Label Tasks As Displayed" follows its order.

        Returns:
            The tab's id; an existing tab in this order is kept as it is.
        """
        tabs = self.request("GET", "/api/dm/views/", params={"project": project_id})
        ids = [int(tab["id"]) for tab in tabs]
        ranked = next((tab for tab in tabs if tab["data"].get("ordering") == [_RANKED]), None)
        if ranked is None:
            columns = self.request("GET", "/api/dm/columns/", params={"project": project_id})
            body = _ranked_tab(project_id, title, columns["columns"])
            ranked = self.request("POST", "/api/dm/views/", json=body)
        tab_id = int(ranked["id"])
        order = [tab_id, *(other for other in ids if other != tab_id)]
        if len(order) > 1 and order != ids:
            body = {"project": project_id, "ids": order}
            self.request("POST", "/api/dm/views/order/", json=body)
        return tab_id

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks.

        Args:
            project_id: Label Studio's id.
            tasks: The tasks' data, such as ``{"image": url, "clip": "walk", "frame": 12}``.

        Returns:
            The new tasks' ids, in the order given.
        """
        path = f"/api/projects/{project_id}/import"
        ids: list[int] = []
        for start in range(0, len(tasks), _TASKS):
            part = [dict(task) for task in tasks[start : start + _TASKS]]
            answer = self.request(
                "POST", path, json=part, params={"return_task_ids": "true"}, timeout=300
            )
            created = [int(task_id) for task_id in answer.get("task_ids") or []]
            if len(created) != len(part):
                raise StudioError(f"Label Studio created {len(created)} of {len(part)} tasks.")
            ids += created
        return ids

    def upload_images(
        self,
        project_id: int,
        paths: Iterable[Path],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """Upload images without making tasks of them.

        Args:
            project_id: Label Studio's id.
            paths: The image files.
            progress: Called with how many more are there, after each request.

        Returns:
            The path of each file on the server (``/data/upload/…``), in the order given.
        """
        urls: list[str] = []
        waiting = list(paths)
        for start in range(0, len(waiting), _UPLOADS):
            part = waiting[start : start + _UPLOADS]
            urls += self._upload(project_id, part)
            if progress is not None:
                progress(len(part))
        return urls

    def add_local_files(self, project_id: int, folder: str, title: str) -> int:
        """Let the project's tasks use files of a folder on Label Studio's machine.

        Args:
            project_id: Label Studio's id.
            folder: The folder, as Label Studio's machine names it, below its document root.
            title: Name of the storage.

        Returns:
            The storage's id; one that already serves the folder is kept.
        """
        path = "/api/storages/localfiles"
        for storage in self.request("GET", path, params={"project": project_id}):
            if storage.get("path") == folder:
                return int(storage["id"])
        body = {"project": project_id, "path": folder, "title": title, "use_blob_urls": True}
        return int(self.request("POST", path, json=body)["id"])

    def connect_backend(
        self,
        project_id: int,
        url: str,
        *,
        title: str = "Maskloop",
        username: str = "",
        password: str = "",
    ) -> int:
        """Connect the service to a project, or bring an existing connection up to date.

        Args:
            project_id: Label Studio's id.
            url: Address of the service, as Label Studio reaches it. The service must be running.
            title: Name of the connection.
            username: Basic auth user; empty for none.
            password: Basic auth password.

        Returns:
            The connection's id.

        Raises:
            StudioError: When Label Studio can't reach the service, or may not.
        """
        url = url.rstrip("/")
        body: dict[str, Any] = {"project": project_id, "url": url, "title": title}
        body["auth_method"] = "BASIC_AUTH" if username else "NONE"
        if username:
            body |= {"basic_auth_user": username, "basic_auth_pass": password}
        rows = self._backends(project_id)
        known = [row for row in rows if row["url"].rstrip("/") == url]
        moved = [row for row in rows if row.get("title") == title]
        try:
            if known or moved:
                row = (known or moved)[0]
                self.request("PATCH", f"/api/ml/{row['id']}", json=body)
            else:
                row = self.request("POST", "/api/ml", json=body)
            if row["url"].rstrip("/") != url:
                self._drop_webhook(project_id, row["url"])
            self._ensure_webhook(project_id, url, username, password)
        except StudioError as error:
            if error.status == 403 or "reserved network" in str(error):
                self._drop_refused(project_id, url, rows)
            raise _explained(error, url) from error
        return int(row["id"])

    def _backends(self, project_id: int) -> list[dict[str, Any]]:
        return list(self.request("GET", "/api/ml", params={"project": project_id}))

    def _drop_refused(self, project_id: int, url: str, before: list[dict[str, Any]]) -> None:
        """Remove the row that Label Studio leaves, and shows as connected, when it refuses."""
        ids = {row["id"] for row in before}
        for row in self._backends(project_id):
            if row["url"].rstrip("/") == url and row["id"] not in ids:
                self.request("DELETE", f"/api/ml/{row['id']}")

    def _ensure_webhook(self, project_id: int, url: str, username: str, password: str) -> None:
        """Have one webhook to the service, which may enter.

        Label Studio makes one with a new connection, but without the connection's user and
        password, none when an address changes, and none, silently, where the address is refused.
        """
        headers = {}
        if username:
            secret = base64.b64encode(f"{username}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {secret}"
        body = {
            "project": project_id,
            "url": f"{url}/webhook",
            "headers": headers,
            "send_payload": True,
            "send_for_all_actions": True,
            "is_active": True,
        }
        hooks = self._webhooks(project_id, url)
        if not hooks:
            self.request("POST", "/api/webhooks/", json=body)
        elif any(hooks[0].get(key) != value for key, value in body.items()):
            self.request("PATCH", f"/api/webhooks/{hooks[0]['id']}/", json=body)

    def _drop_webhook(self, project_id: int, url: str) -> None:
        for hook in self._webhooks(project_id, url):
            self.request("DELETE", f"/api/webhooks/{hook['id']}/")

    def _webhooks(self, project_id: int, url: str) -> list[dict[str, Any]]:
        wanted = f"{url.rstrip('/')}/webhook"
        hooks = self.request("GET", "/api/webhooks/", params={"project": project_id})
        return [hook for hook in hooks if hook["url"] == wanted]

    def _upload(self, project_id: int, paths: list[Path]) -> list[str]:
        # A field of its own for each file: of several in one field only the last is kept.
        files = {f"file{index}": (path.name, path.read_bytes()) for index, path in enumerate(paths)}
        answer = self.request(
            "POST",
            f"/api/projects/{project_id}/import",
            params={"commit_to_project": "false"},
            files=files,
            timeout=300,
        )
        ids = [int(upload_id) for upload_id in answer.get("file_upload_ids") or []]
        rows = self.request(
            "GET", f"/api/projects/{project_id}/file-uploads", params={"ids": json.dumps(ids)}
        )
        places = {int(row["id"]): f"/data/{row['file']}" for row in rows}
        if len(ids) != len(paths) or any(upload_id not in places for upload_id in ids):
            raise StudioError(f"Label Studio kept {len(places)} of {len(paths)} uploaded files.")
        return [places[upload_id] for upload_id in ids]

    def _patch(self, project_id: int, **fields: Any) -> None:
        self.request("PATCH", f"/api/projects/{project_id}", json=fields)


def _ranked_tab(
    project_id: int, title: str, columns: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """A tab that shows what orders the tasks, and what they are; the rest is hidden."""
    hidden = [
        f"tasks:{column['id']}"
        for column in columns
        if column.get("parent") != "data" and column["id"] not in _SHOWN
    ]
    return {
        "project": project_id,
        "data": {
            "title": title,
            "type": "list",
            "target": "tasks",
            "ordering": [_RANKED],
            "filters": {"conjunction": "and", "items": []},
            "hiddenColumns": {"explore": hidden, "labeling": hidden},
        },
    }


def _explained(error: StudioError, url: str) -> StudioError:
    """Why a backend could not be connected, and what to do about it."""
    text = str(error)
    if error.status == 403 or "reserved network" in text:
        text = PRIVATE_ADDRESS_REMEDY
    elif "authentication parameters" in text:
        text = (
            f"The service at {url} wants a user and a password: the same BASIC_AUTH_USER and "
            "BASIC_AUTH_PASS that it was started with."
        )
    elif "connect to ML backend" in text:
        text = (
            f"Label Studio can't reach the service at {url}. Start it (maskloop serve), and give "
            "the address as Label Studio's machine sees it: inside a container, localhost is the "
            "container itself."
        )
    return StudioError(text, status=error.status)
