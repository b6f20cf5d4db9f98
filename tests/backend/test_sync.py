from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backend.labelconfig import make_label_config
from backend.store import Store
from backend.sync import look, remember


class Tasks:
    """What Label Studio would answer about one project."""

    def __init__(self, rows: list[dict[str, Any]], config: str) -> None:
        self.rows = rows
        self.config = config

    def project(self, project_id: int) -> dict[str, Any]:
        return {"title": "Street", "label_config": self.config}

    def tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        yield from self.rows


def row(task_id: int, **data: Any) -> dict[str, Any]:
    return {"id": task_id, "data": data, "annotations": []}


CONFIG = make_label_config(["car"])


def test_tasks_become_frames_in_the_clips_order() -> None:
    rows = [
        row(1, image="/data/upload/1/a.png", clip="b", frame=9),
        row(2, image="/data/upload/1/a.png", clip="b", frame=3),
        row(3, image="/data/local-files/?d=street/street_000012.jpg"),
    ]
    view = look(Tasks(rows, CONFIG), 1)
    assert [(f.task_id, f.clip, f.position) for f in view.frames][:2] == [(2, "b", 3), (1, "b", 9)]
    assert view.frames[2].position == 12
    assert view.problems == []


def test_what_cannot_be_told_is_said_once_with_a_count() -> None:
    rows = [row(1, image="/data/upload/1/x.png"), row(2, image="/data/upload/1/y.png"), row(3)]
    view = look(Tasks(rows, CONFIG), 1)
    assert view.frames == []
    (problem,) = view.problems
    assert problem.startswith("Task 1 (and 2 more tasks): ")


def test_two_tasks_on_one_place_are_named() -> None:
    rows = [row(i, image=f"/data/upload/1/{i}.png", clip="a", frame=4) for i in (7, 8)]
    (problem,) = look(Tasks(rows, CONFIG), 1).problems
    assert "Tasks 7 and 8 are both frame 4 of clip 'a'" in problem


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/maskloop.db")
    store.ring(1)
    yield store
    store.close()


def test_a_broken_configuration_is_told_and_costs_no_frame(store: Store) -> None:
    rows = [row(1, image="/data/upload/1/a.png", clip="b", frame=9)]
    assert remember(store, 1, look(Tasks(rows, CONFIG), 1))
    assert not remember(store, 1, look(Tasks(rows, "<View>"), 1))
    assert len(store.frames(1)) == 1
    project = store.project(1)
    assert project is not None
    assert project.problems


def drawn(label: str, name: str = "brush") -> dict[str, Any]:
    value = {"brushlabels": [label], "rle": [1]}
    region = {"from_name": name, "to_name": "image", "type": "brushlabels", "value": value}
    return {"id": 1, "result": [region]}


def test_what_was_drawn_under_a_label_s_old_name_is_told_with_the_remedy() -> None:
    rows = [row(i, image=f"/data/upload/1/{i}.png", clip="a", frame=i) for i in range(1, 9)]
    for each in rows[:7]:
        each["annotations"] = [drawn("car")]
    assert look(Tasks(rows, CONFIG), 1).problems == []
    (problem,) = look(Tasks(rows, make_label_config(["vehicle"])), 1).problems
    assert "tasks 1, 2, 3, 4, 5 and 2 more are labelled 'car'" in problem
    remedy = '<Label value="vehicle" alias="car"/>'
    assert remedy.replace("vehicle", "new name") in problem
    renamed = CONFIG.replace('<Label value="car"', '<Label value="vehicle" alias="car"')
    assert look(Tasks(rows, renamed), 1).problems == []


def test_labels_of_tags_that_maskloop_does_not_serve_are_passed_over() -> None:
    rows = [row(1, image="/data/upload/1/a.png", clip="a", frame=1)]
    rows[0]["annotations"] = [drawn("weather", name="elsewhere")]
    assert look(Tasks(rows, CONFIG), 1).problems == []
