"""Setting a Label Studio project up: tasks, their files, and the order of serving."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.studio.backends import Backends
from backend.studio.columns import COLUMNS, RANKED, Columns
from backend.studio.connection import StudioError

__all__ = ["Projects"]

_SHOWN = ("id", "data", "total_annotations", "predictions_score")
_UPLOADS = 50
_UPLOAD_BYTES = 64 * 2**20
_TASKS = 1000


class Projects(Backends, Columns):
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
        ranked = next(
            (tab for tab in tabs if (tab["data"] or {}).get("ordering") == [RANKED]), None
        )
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
        for part in _loads(paths):
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


def _loads(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Files by the request: not too many, not too large (Label Studio's limit is 250 MB)."""
    load: list[Path] = []
    size = 0
    for path in paths:
        more = path.stat().st_size
        if load and (len(load) == _UPLOADS or size + more > _UPLOAD_BYTES):
            yield load
            load, size = [], 0
        load.append(path)
        size += more
    if load:
        yield load


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
            "ordering": [RANKED],
            "filters": {"conjunction": "and", "items": []},
            "hiddenColumns": {"explore": hidden, "labeling": hidden},
            # Fields of the data are texts to the Data Manager unless it is told otherwise.
            "columnsDisplayType": {f"tasks:data.{name}": "Number" for name in COLUMNS},
        },
    }
