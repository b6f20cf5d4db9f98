"""Pictures that were replaced under their old addresses: fetched anew when a person says so.

Asking Label Studio whether any picture has changed would cost a request a frame and a round, for
what hardly ever happens.
"""

from __future__ import annotations

from backend.jobqueue import Queue
from backend.store import Store
from backend.versions import known_project

__all__ = ["refresh"]


def refresh(store: Store, queue: Queue, project_id: int) -> None:
    """Have a project's pictures and videos fetched anew, and a round made of them.

    Raises:
        VersionError: When the project is not known.
    """
    project = known_project(store, project_id)
    store.set_project(project_id, refreshes=project.refreshes + 1)
    if store.ring(project_id, train_now=True):
        queue.put(project_id)
