"""The queue between the web process and the worker.

A job is only "look at project P"; whether a round is due is told from the store and from Label
Studio, never from the job. So jobs may be lost, doubled or late without harm.
"""

from __future__ import annotations

from collections.abc import Callable

import huey as huey_module

from backend.settings import Settings

__all__ = ["Queue"]


class Queue:
    """Jobs between the web process and the worker: a SQLite file, or Redis by URL.

    Args:
        settings: The service's settings.
        handler: What the worker does with a project's id; the web process has none.
    """

    def __init__(self, settings: Settings, handler: Callable[[int], None] | None = None) -> None:
        if settings.queue_url:
            self.huey = huey_module.RedisHuey("maskloop", url=settings.queue_url)
        else:
            settings.model_dir.mkdir(parents=True, exist_ok=True)
            path = settings.model_dir.resolve() / "queue.db"
            self.huey = huey_module.SqliteHuey("maskloop", filename=str(path), timeout=30)

        def consider(project_id: int) -> None:
            if handler is not None:
                handler(project_id)

        self._task = self.huey.task(name="consider")(consider)

    def put(self, project_id: int, delay: float = 0.0) -> None:
        """Ask the worker to look at a project, ``delay`` seconds from now."""
        if delay > 0:
            self._task.schedule((project_id,), delay=delay)
        else:
            self._task(project_id)

    @property
    def is_empty(self) -> bool:
        """Whether no job waits to be done at once."""
        return int(self.huey.pending_count()) == 0

    def consume(self) -> None:
        """Do jobs until the process is told to end. Runs in the main thread."""
        consumer = self.huey.create_consumer(
            workers=1, worker_type="thread", initial_delay=0.1, max_delay=0.5,
            scheduler_interval=1, periodic=False, check_worker_health=True,
        )  # fmt: skip
        consumer.run()
