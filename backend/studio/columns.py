"""Columns of the Data Manager: fields of the tasks' data, written for many tasks at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from backend.studio.connection import Connection

__all__ = ["COLUMNS", "QUALITY", "RANK", "RANKED", "ROUND", "Columns"]

RANK = "maskloop_rank"
QUALITY = "maskloop_quality"
ROUND = "maskloop_round"
COLUMNS = (RANK, QUALITY, ROUND)

RANKED = "tasks:predictions_score"
"""The Data Manager's order by the score of the version that is shown."""

_TASKS = 1000


class Columns(Connection):
    """The part of the client that fills columns."""

    def number_by_score(self, project_id: int, field: str) -> int | None:
        """Number all tasks in a field of their data: 1 for the lowest prediction score.

        Like `set_field` this touches neither the time at which a task was updated nor webhooks.

        Returns:
            The id of the task that is number 1; None where there is no task.
        """
        body = {"selectedItems": {"all": True, "excluded": []}, "ordering": [RANKED]}
        self._modify(project_id, field, "Expression", "range(1)", body)
        number = f"tasks:data.{field}"
        query = {"ordering": [number], "columnsDisplayType": {number: "Number"}}
        params = {
            "project": project_id,
            "page_size": 1,
            "fields": "task_only",
            "query": json.dumps(query),
        }
        tasks = self.request("GET", "/api/tasks", params=params)["tasks"]
        return int(tasks[0]["id"]) if tasks else None

    def set_field(
        self, project_id: int, field: str, value: float | None, tasks: Sequence[int] | None = None
    ) -> None:
        """Set a field of tasks' data to a number, or empty it (None).

        Args:
            project_id: Label Studio's id.
            field: Name of the field; becomes a column of the Data Manager.
            value: The number, the same for all.
            tasks: The tasks' ids; all where it is None.
        """
        kind, text = ("String", "") if value is None else ("Number", f"{value:g}")
        if tasks is None:
            selected: dict[str, Any] = {"all": True, "excluded": []}
            self._modify(project_id, field, kind, text, {"selectedItems": selected})
            return
        for start in range(0, len(tasks), _TASKS):
            selected = {"all": False, "included": list(tasks[start : start + _TASKS])}
            self._modify(project_id, field, kind, text, {"selectedItems": selected})

    def _modify(
        self, project_id: int, field: str, kind: str, value: str, query: Mapping[str, Any]
    ) -> None:
        """The Data Manager's bulk action "Add Or Modify Data Field"."""
        self.request(
            "POST",
            "/api/dm/actions/",
            params={"id": "add_data_field", "project": project_id},
            json={
                "project": project_id,
                "filters": {"conjunction": "and", "items": []},
                "value_name": field,
                "value_type": kind,
                "value": value,
                **query,
            },
            timeout=300,
        )
