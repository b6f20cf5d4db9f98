"""Columns of the Data Manager: fields of the tasks' data, written for many tasks at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backend.studio.connection import Connection

__all__ = ["COLUMNS", "QUALITY", "RANK", "RANKED", "ROUND", "Columns"]

RANK = "maskloop_rank"
QUALITY = "maskloop_quality"
ROUND = "maskloop_round"
COLUMNS = (RANK, QUALITY, ROUND)

RANKED = "tasks:predictions_score"
"""The Data Manager's order by the score of the version that is shown."""

_TASKS = 5000
"""Task ids in one request."""


class Columns(Connection):
    """The part of the client that fills columns."""

    def write_field(self, project_id: int, field: str, texts: Mapping[int, str]) -> None:
        """Write a field of tasks' data: a column that can be sorted and filtered by.

        Label Studio has no request that gives each of many tasks a value of its own. Its bulk
        action "Add Or Modify Data Field" sets the same text for many, or replaces a part of it. So
        where there are many different texts, each task gets a text of placeholders first, and then
        these are replaced place by place, by one request for each character that occurs there: 41
        for the ranks of 10,000 tasks. Neither webhooks nor the time at which a task was updated
        tell of it.

        Args:
            project_id: Label Studio's id.
            field: Name of the field.
            texts: For each task, by id, digits and points, all of one length: so they are sorted
                right as texts too.

        Raises:
            ValueError: The texts are not of one length.
            StudioError: When Label Studio can't be asked or says no; some are written then.
        """
        lengths = {len(text) for text in texts.values()}
        if len(lengths) > 1:
            raise ValueError(f"{field}: texts must be of one length; got lengths {sorted(lengths)}")
        by_text = _grouped(texts)
        places = [
            _grouped({task: text[place] for task, text in texts.items()})
            for place in range(max(lengths, default=0))
        ]
        several = {place: groups for place, groups in enumerate(places) if len(groups) > 1}
        if len(by_text) <= 1 + sum(map(len, several.values())):
            for text, tasks in by_text.items():
                self._modify(project_id, field, "String", text, tasks)
            return
        blank = "".join(
            _letter(place) if place in several else next(iter(groups))
            for place, groups in enumerate(places)
        )
        self._modify(project_id, field, "String", blank, list(texts))
        for place, groups in several.items():
            for character, tasks in groups.items():
                replaced = f'replace("{_letter(place)}", "{character}")'
                self._modify(project_id, field, "Expression", replaced, tasks)

    def _modify(
        self, project_id: int, field: str, kind: str, value: str, tasks: Sequence[int]
    ) -> None:
        for start in range(0, len(tasks), _TASKS):
            chosen = {"all": False, "included": list(tasks[start : start + _TASKS])}
            self.request(
                "POST",
                "/api/dm/actions/",
                params={"id": "add_data_field", "project": project_id},
                json={
                    "project": project_id,
                    "filters": {"conjunction": "and", "items": []},
                    "selectedItems": chosen,
                    "value_name": field,
                    "value_type": kind,
                    "value": value,
                },
                timeout=300,
                repeat=True,  # the same text, or characters that are replaced by then
            )


def _letter(place: int) -> str:
    return chr(ord("A") + place)


def _grouped(texts: Mapping[int, str]) -> dict[str, list[int]]:
    """The tasks that have the same text."""
    groups: dict[str, list[int]] = {}
    for task, text in texts.items():
        groups.setdefault(text, []).append(task)
    return groups
