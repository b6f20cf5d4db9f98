"""A foreman whose Label Studio and rounds are played."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backend.artifacts import Artifacts
from backend.jobs import Foreman
from backend.labelconfig import asks_for, make_label_config, parse_label_config
from backend.settings import load_settings
from backend.store import Store
from backend.studio import StudioError
from backend.sync import look
from backend.tables import Round

CONFIG = make_label_config(["car"])


class PlayedStudio:
    """A project with tasks; counts how often all of them are read."""

    def __init__(self) -> None:
        self.labels: dict[int, list[dict[str, Any]]] = {i: [] for i in range(1, 11)}
        self.reads = 0
        self.down: StudioError | None = None
        self.gone = False
        self.config = CONFIG
        self.wishes: dict[str, Any] = {}

    def project(self, project_id: int) -> dict[str, Any]:
        if self.gone:
            raise StudioError("no such project", status=404)
        return {"title": "Street", "label_config": self.config}

    def fingerprint(self, project_id: int) -> str:
        if self.down is not None:
            raise self.down
        self.project(project_id)
        return repr((self.labels, self.config, self.wishes))

    def tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        self.reads += 1
        for task_id, labels in self.labels.items():
            data = {"image": f"/data/upload/1/a-{task_id}.png", "clip": "a", "frame": task_id}
            yield {"id": task_id, "data": {**data, **self.wishes}, "annotations": labels}

    def label(self, task_id: int, what: int = 1, **more: Any) -> None:
        result = [{"from_name": "brush", "type": "brushlabels", "value": {"rle": [what]}}]
        self.labels[task_id] = [{"id": task_id, "result": result, **more}]


class PlayedRunner:
    """Rounds that finish at once, or fail as told."""

    def __init__(self, store: Store, studio: PlayedStudio, artifacts: Artifacts) -> None:
        self.store = store
        self.artifacts = artifacts
        self.studio = studio
        self.ran: list[str] = []
        self.failure: Exception | None = None
        self.during: Any = None

    def run(self, row: Round) -> None:
        self.ran.append(row.version)
        if self.failure is not None:
            raise self.failure
        known = {f.task_id: (True, f.label) for f in self.store.frames(row.project_id)}
        if self.during is not None:
            self.during()
        asks = asks_for(parse_label_config(self.studio.config))
        figures: dict[str, Any] = {"asks": asks, "terms": look(self.studio, row.project_id).terms}
        project = self.store.project(row.project_id)
        figures["refreshes"] = project.refreshes if project else 0
        self.store.set_round(row.id, figures=figures)
        self.store.finish_round(row.id, known)


class Scene:
    def __init__(self, tmp_path: Any) -> None:
        self.settings = load_settings(
            model_dir=tmp_path / "state", budget=3, quiet_seconds=50, check_seconds=20
        )
        self.store = Store(self.settings.resolved_database_url)
        self.studio = PlayedStudio()
        artifacts = Artifacts(self.settings.model_dir / "projects")
        self.runner = PlayedRunner(self.store, self.studio, artifacts)
        self.foreman = Foreman(self.runner, self.settings)  # type: ignore[arg-type]
        self.store.ring(1)

    @property
    def rounds(self) -> int:
        return len(self.runner.ran)

    def consider(self, ring: bool = False, after: float = 0.0) -> None:
        """Look at the project, ``after`` seconds from its last change."""
        if ring:
            self.store.ring(1)
        if after:
            project = self.store.project(1)
            assert project is not None
            for name in ("rung_at", "changed_at", "error_at", "looked_at"):
                value = getattr(project, name)
                if value is not None:
                    self.store.set_project(1, **{name: value - after})
        self.foreman.consider(1)

    def jobs(self) -> int:
        """Jobs that wait in the queue, those for later too."""
        return int(self.foreman.queue.huey.pending_count())
