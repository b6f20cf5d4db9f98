"""predict and fit: what Label Studio asks, answered from what is stored, whoever hosts us."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from backend.answers import Answers
from backend.artifacts import Artifacts
from backend.formats import EncodeOptions
from backend.jobqueue import Queue
from backend.labelconfig import LabelConfigError, parse_label_config
from backend.settings import Settings
from backend.store import Store

__all__ = ["UNPUBLISHED", "Hooks", "RequestError", "project_id_of"]

log = logging.getLogger(__name__)

# The model version before the first round is published.
UNPUBLISHED = "maskloop"

# Events after which there may be something to do. PROJECT_UPDATED is looked at apart: our own
# change of the model version fires it too.
_BELLS = frozenset(
    {
        "ANNOTATION_CREATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATION_DELETED",
        "ANNOTATIONS_DELETED",
        "TASKS_CREATED",
        "TASKS_DELETED",
        "START_TRAINING",
    }
)


class RequestError(ValueError):
    """A request that can't be answered; the sentence says what was wrong with it."""


class Hooks:
    """The two hooks, and the small questions around them.

    Nothing here is slow: masks are read, never made.

    Args:
        store: Durable state.
        artifacts: Stored masks.
        queue: Where the worker listens.
        options: How masks are written.
    """

    def __init__(
        self,
        store: Store,
        artifacts: Artifacts,
        queue: Queue,
        options: EncodeOptions | None = None,
    ) -> None:
        self.store = store
        self._answers = Answers(store, artifacts, options)
        self._queue = queue

    @classmethod
    def from_settings(cls, settings: Settings) -> Hooks:
        """Hooks on the store, artifacts and queue that the settings name."""
        return cls(
            Store(settings.resolved_database_url),
            Artifacts(settings.model_dir / "projects"),
            Queue(settings),
            settings.encode_options,
        )

    def setup(self, project_id: int, label_config: str) -> dict[str, Any]:
        """Get to know a project.

        Args:
            project_id: Label Studio's id.
            label_config: Its labelling configuration.

        Returns:
            ``{"model_version": …, "problems": […]}``.

        Raises:
            LabelConfigError: When the configuration can't be served: Label Studio shows the
                sentence beside the connection.
        """
        known = self.store.project(project_id)
        if known is None or (label_config and known.label_config != label_config):
            self._ring(project_id, label_config=label_config)
        notes = parse_label_config(label_config).notes
        project = self.store.project(project_id)
        version = project.version if project else None
        problems = list(dict.fromkeys((*notes, *(project.problems if project else ()))))
        return {"model_version": version or UNPUBLISHED, "problems": problems}

    def predict(
        self,
        tasks: Sequence[Mapping[str, Any]],
        context: Mapping[str, Any] | None = None,
        *,
        project_id: int,
        label_config: str | None = None,
    ) -> list[dict[str, Any]]:
        """The stored masks of tasks.

        Args:
            tasks: Tasks of Label Studio.
            context: What is being drawn, in interactive mode; stored masks don't depend on it.
            project_id: The project they belong to.
            label_config: Its configuration, where the request gives it.

        Returns:
            One answer a task, in order: ``{"result", "score", "model_version"}``; an empty result
            for a task that no round has seen.
        """
        del context
        project = self.store.project(project_id)
        if project is None:
            self._ring(project_id, **({"label_config": label_config} if label_config else {}))
        row = self.store.published_round(project_id)
        ids = [_task_id(task) for task in tasks]
        found: dict[int, dict[str, Any]] = {}
        if row is not None and project is not None:
            text = label_config or project.label_config
            try:
                for answer in self._answers.of_round(row, text, ids):
                    found[answer.pop("task")] = answer
            except LabelConfigError as error:
                log.warning("project %d: %s", project_id, error)
        version = row.version if row else UNPUBLISHED
        empty = {"result": [], "score": 1.0, "model_version": version}
        return [found.get(task_id, empty) for task_id in ids]

    def fit(self, event: str, data: Mapping[str, Any], *, trusted: bool = True) -> dict[str, Any]:
        """Take note of an event; the work is done elsewhere.

        Args:
            event: Label Studio's name of the event.
            data: Its body, with the project.
            trusted: Whether whoever says so has shown the service's credentials. Others can make
                the worker look at a project that is known, and nothing else: what they say of it
                is not believed.

        Returns:
            ``{"queued": whether the worker will look}``, with the reason where it won't.

        Raises:
            RequestError: When the body names no project.
        """
        project = data.get("project")
        project_id = project_id_of(project.get("id") if isinstance(project, Mapping) else project)
        text = project.get("label_config") if isinstance(project, Mapping) else None
        text = text if isinstance(text, str) else None
        known = self.store.project(project_id)
        if event == "PROJECT_UPDATED":
            if not text or (known is not None and known.label_config == text):
                return {"queued": False, "reason": "nothing that Maskloop depends on has changed"}
        elif event not in _BELLS:
            return {"queued": False, "reason": f"{event} changes neither tasks nor labels"}
        if known is None and not trusted:
            reason = "nobody with the service's user and password has named this project"
            return {"queued": False, "reason": reason}
        values = {"label_config": text} if text and trusted else {}
        self._ring(project_id, train_now=event == "START_TRAINING", **values)
        return {"queued": True}

    def versions(self, project_id: int | None = None) -> list[str]:
        """Model versions that were published, newest first; of one project or of all."""
        ids = [p.id for p in self.store.projects()] if project_id is None else [project_id]
        rounds = [row for i in ids for row in self.store.rounds(i) if row.state == "done"]
        return [row.version for row in sorted(rounds, key=lambda row: -row.id)]

    def _ring(self, project_id: int, **values: Any) -> None:
        if self.store.ring(project_id, **values):
            self._queue.put(project_id)


def project_id_of(value: Any) -> int:
    """Label Studio's project id, also from the form ``"2.1795238333"``.

    Raises:
        RequestError: When there is none.
    """
    text = str(value if value is not None else "").split(".", 1)[0]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise RequestError(
            f"The request names no project: expected Label Studio's id, got {value!r}."
        )
    return int(text)


def _task_id(task: Mapping[str, Any]) -> int:
    text = str(task.get("id"))
    # Label Studio sends tasks without an id when it only tests the connection.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1
