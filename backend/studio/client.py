"""What the loop asks of Label Studio: labels and tasks in, predictions and their order out."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backend.studio.connection import StudioError
from backend.studio.projects import Projects

__all__ = ["Studio"]

_TASK_PAGE = 500
_LABEL_PAGE = 50

# By task id: when the task was changed and how many annotations it had, and these, compressed.
_Read = dict[int, tuple[tuple[Any, ...], bytes]]


class Studio(Projects):
    """A Label Studio server, as one user's token sees it.

    Every method raises `StudioError` when the server can't be asked or says no.

    Example:
        >>> studio = Studio("http://localhost:8080", "…")  # doctest: +SKIP
        >>> sum(1 for task in studio.tasks(3) if task["annotations"])  # doctest: +SKIP
        12
    """

    def __init__(self, url: str, api_key: str, **options: Any) -> None:
        super().__init__(url, api_key, **options)
        self._read: dict[int, _Read] = {}

    def whoami(self) -> dict[str, Any]:
        """The token's user: ``id``, ``email`` and more."""
        return dict(self.request("GET", "/api/current-user/whoami"))

    def media_token(self) -> str:
        """The bare token that is good for fetching files now.

        For a personal access token this is the access token of the moment, which lives for a few
        minutes: ask again for each fetch. `authorization` gives the whole header.
        """
        return self.authorization().partition(" ")[2]

    # Labels in -----------------------------------------------------------------------------------

    def project(self, project_id: int) -> dict[str, Any]:
        """The project: ``title``, ``label_config``, ``model_version``, ``sampling`` and more."""
        return dict(self.request("GET", f"/api/projects/{project_id}"))

    def fingerprint(self, project_id: int) -> str:
        """A text that differs when tasks, annotations or the configuration differ.

        Two small requests. Adding, changing, skipping, marking or deleting an annotation touches
        the time at which its task was updated; adding or changing a task does too, and deleting
        one changes the count. Drafts and predictions touch neither, so publishing a round does
        not ring its own bell.
        """
        newest = self._tasks(project_id, page_size=1, query={"ordering": ["-tasks:updated_at"]})
        settings = self.request(
            "GET", f"/api/projects/{project_id}", params={"include": "label_config"}
        )
        said = [newest.get("total"), newest.get("total_annotations"), settings.get("label_config")]
        said += [(task["id"], task["updated_at"]) for task in newest["tasks"]]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:20]

    def tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        """The project's tasks by id, each with its ``annotations``; predictions are left out.

        Read page by page after the last id, so that tasks which come and go meanwhile neither
        hide nor repeat others. Annotations have ``id``, ``result``, ``created_at``,
        ``updated_at``, ``was_cancelled``, ``ground_truth`` and ``completed_by`` (a user's id).

        Annotations of tasks that have not changed since they were last read are not asked for
        again: masks are large, and each label that comes makes the worker look.
        """
        known, read = self._read.get(project_id, {}), _Read()
        last = 0
        while True:
            after = _filter("id", "greater", last)
            query = {"filters": after, "ordering": ["tasks:id"]}
            page = self._tasks(project_id, page_size=_TASK_PAGE, query=query)["tasks"]
            annotations = self._annotations(project_id, page, known, read)
            for task in page:
                yield {**task, "annotations": annotations.get(task["id"], [])}
            if len(page) < _TASK_PAGE:
                self._read[project_id] = read
                return
            last = page[-1]["id"]

    def next_task(self, project_id: int) -> dict[str, Any] | None:
        """The task that the label stream serves next to the token's user; None when all are done.

        Asking takes the task: it is served again until it is submitted or skipped.
        """
        try:
            return dict(self.request("GET", f"/api/projects/{project_id}/next/"))
        except StudioError as error:
            if error.status == 404 and "no tasks" in str(error):
                return None
            raise

    def create_annotation(
        self, task_id: int, result: Sequence[Mapping[str, Any]], **fields: Any
    ) -> int:
        """Submit a label for a task, as a person would; returns the annotation's id."""
        body = {"result": list(result), **fields}
        return int(self.request("POST", f"/api/tasks/{task_id}/annotations/", json=body)["id"])

    # Predictions out -----------------------------------------------------------------------------

    def import_predictions(
        self, project_id: int, items: Sequence[Mapping[str, Any]], *, batch: int = 200
    ) -> int:
        """Store predictions.

        Args:
            project_id: Label Studio's id.
            items: Each with ``task``, ``result`` (may be empty), ``score`` in 0..1 and
                ``model_version``.
            batch: Predictions in one request.

        Returns:
            How many were stored, which is all of them.

        Raises:
            StudioError: When a score is out of range (nothing is sent), when tasks are gone (their
                ids are in ``tasks``), or when Label Studio kept fewer than were sent. Batches
                before the failing one are stored: delete the version before trying again.
        """
        wrong = [int(item["task"]) for item in items if not _is_score(item.get("score"))]
        if wrong:
            raise StudioError(
                f"{len(wrong)} predictions have a score outside 0..1, which Label Studio would "
                f"drop without a word (tasks {_some(wrong)}).",
                tasks=wrong,
            )
        created = 0
        for start in range(0, len(items), batch):
            part = [dict(item) for item in items[start : start + batch]]
            created += self._import_batch(project_id, part)
        return created

    def model_versions(self, project_id: int) -> dict[str, int]:
        """How many predictions the project holds of each model version."""
        answer = self.request("GET", f"/api/projects/{project_id}/model-versions/")
        return {str(version): int(count) for version, count in (answer or {}).items()}

    def set_model_version(self, project_id: int, version: str) -> None:
        """Make a version's predictions the ones that are shown and that order the stream.

        Raises:
            StudioError: Also when the project holds no prediction of this version.
        """
        self._patch(project_id, model_version=version)

    def delete_model_version(self, project_id: int, version: str) -> int:
        """Delete the predictions of a version; returns how many there were."""
        path = f"/api/projects/{project_id}/model-versions/"
        answer = self.request("DELETE", path, json={"model_version": version}, timeout=300)
        return int((answer or {}).get("deleted_predictions", 0))

    def _import_batch(self, project_id: int, items: list[dict[str, Any]]) -> int:
        path = f"/api/projects/{project_id}/import/predictions"
        try:
            answer = self.request("POST", path, json=items, timeout=300)
        except StudioError as error:
            if error.status != 400:
                raise
            missing = self._missing_tasks(project_id, [int(item["task"]) for item in items])
            if not missing:
                raise
            raise StudioError(
                f"Label Studio's project {project_id} no longer has tasks {_some(missing)}.",
                status=400,
                tasks=missing,
            ) from error
        created = int(answer.get("created", 0))
        if created != len(items):
            raise StudioError(
                f"Label Studio kept {created} of {len(items)} predictions; it drops those that "
                "don't fit the labelling configuration. Has the configuration been changed?",
                tasks=[int(item["task"]) for item in items],
            )
        return created

    def _missing_tasks(self, project_id: int, task_ids: list[int]) -> list[int]:
        there: set[int] = set()
        for start in range(0, len(task_ids), _LABEL_PAGE):
            some = task_ids[start : start + _LABEL_PAGE]
            query = {"selectedItems": {"all": False, "included": some}}
            page = self._tasks(project_id, page_size=_LABEL_PAGE, query=query)
            there |= {task["id"] for task in page["tasks"]}
        return [task_id for task_id in task_ids if task_id not in there]

    def _annotations(
        self, project_id: int, page: list[dict[str, Any]], known: _Read, read: _Read
    ) -> dict[int, list[dict[str, Any]]]:
        """The annotations of a page's tasks, by task id; fills `read` with what `known` was."""
        found: dict[int, list[dict[str, Any]]] = {}
        stamps = {}
        for task in page:
            counts = task.get("total_annotations"), task.get("cancelled_annotations")
            stamp = task.get("updated_at"), *counts
            kept = known.get(task["id"])
            if kept is not None and kept[0] == stamp and stamp[0]:
                read[task["id"]] = kept
                found[task["id"]] = json.loads(zlib.decompress(kept[1]))
            elif any(counts):
                stamps[task["id"]] = stamp
        wanted = list(stamps)
        for start in range(0, len(wanted), _LABEL_PAGE):
            some = wanted[start : start + _LABEL_PAGE]
            query = {"selectedItems": {"all": False, "included": some}}
            answer = self._tasks(project_id, page_size=_LABEL_PAGE, query=query, fields="all")
            for task in answer["tasks"]:
                annotations = found[task["id"]] = task.get("annotations") or []
                # By the stamp from before: what changed in between is read again.
                text = json.dumps(annotations).encode()
                read[task["id"]] = stamps[task["id"]], zlib.compress(text, 1)
        return found

    def _tasks(
        self,
        project_id: int,
        *,
        page_size: int,
        query: Mapping[str, Any],
        fields: str = "task_only",
    ) -> dict[str, Any]:
        params = {
            "project": project_id,
            "page_size": page_size,
            "fields": fields,
            "resolve_uri": "false",
            "query": json.dumps(query),
        }
        return dict(self.request("GET", "/api/tasks", params=params))


def _filter(column: str, operator: str, value: int) -> dict[str, Any]:
    item = {
        "filter": f"filter:tasks:{column}",
        "operator": operator,
        "type": "Number",
        "value": value,
    }
    return {"conjunction": "and", "items": [item]}


def _is_score(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value <= 1
    )


def _some(ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:10]))
    return shown if len(ids) <= 10 else f"{shown} and {len(ids) - 10} more"
