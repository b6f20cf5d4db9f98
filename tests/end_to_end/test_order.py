"""The order in which a real Label Studio serves tasks, to one person and to three at a time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backend.formats import encode
from backend.local_service import LocalService
from backend.studio import Studio
from backend.studio.columns import QUALITY, RANK, ROUND
from backend.studio_server import StudioServer
from model.synthetic import render_clip
from tests.end_to_end.loop import Loop
from tests.end_to_end.people import join
from tests.end_to_end.screen import screen

pytestmark = pytest.mark.end_to_end

FRAMES = 18


@pytest.fixture(scope="module")
def people(studio: Studio) -> list[Studio]:
    """Three people beside the one who set the project up."""
    return [join(studio) for _ in range(3)]


@pytest.fixture(scope="module")
def service(
    server: StudioServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalService]:
    running = LocalService(
        tmp_path_factory.mktemp("order"),
        studio_url=server.url,
        api_key=server.login.api_key,
        settings={
            "MASKLOOP_BUDGET": "3",
            "MASKLOOP_METHOD": "flow",
            # Only enough labels start a round.
            "MASKLOOP_QUIET_SECONDS": "3600",
            "MASKLOOP_CHECK_SECONDS": "3600",
        },
    )
    with running:
        yield running


@pytest.fixture
def make(
    studio: Studio, server: StudioServer, service: LocalService
) -> Callable[..., tuple[Loop, list[int]]]:
    """Make a project of one clip whose first round is done; also its order."""

    def project(title: str, **fields: Any) -> tuple[Loop, list[int]]:
        clip = render_clip(FRAMES, (96, 72), seed=5)
        loop = Loop(studio, service, clip, server.document_root, title)
        if fields:
            studio._patch(loop.project, **fields)
        return loop, loop.ranking(loop.wait_for_round(0))

    return project


def label(person: Studio, loop: Loop, task: int) -> None:
    result = encode(loop.clip.mask(loop.frame_of[task]), loop.config)
    person.create_annotation(task, result)


def skip(person: Studio, task: int) -> None:
    person.create_annotation(task, [], was_cancelled=True)


def test_three_people_at_once_are_served_our_order_and_no_frame_twice(
    make: Callable[..., tuple[Loop, list[int]]], people: list[Studio]
) -> None:
    loop, order = make("three people")
    loop.service.stop()  # Nothing is ranked anew while they work.
    chance = random.Random(1)
    open_tasks: dict[int, int] = {}
    served: list[int] = []
    while len(served) < FRAMES or open_tasks:
        who = chance.randrange(3)
        if who in open_tasks:
            label(people[who], loop, open_tasks.pop(who))
        elif len(served) < FRAMES:
            task = people[who].next_task(loop.project)
            assert task is not None
            served.append(int(task["id"]))
            open_tasks[who] = served[-1]
    loop.service.start()
    assert served == order
    assert all(person.next_task(loop.project) is None for person in people)


def test_people_who_worked_together_get_no_twins_in_the_next_round(
    make: Callable[..., tuple[Loop, list[int]]], people: list[Studio]
) -> None:
    loop, order = make("no twins")
    for person, task in zip(people, order[:3], strict=True):
        label(person, loop, task)
    row = loop.wait_for_round(1)
    left = [task for task in loop.ranking(row) if task not in order[:3]]
    frames = [loop.frame_of[task] for task in left]
    # At the very end twins may be all that is left.
    assert all(abs(a - b) > 2 for a, b in pairwise(frames[: len(frames) // 2]))


def test_skipped_tasks_come_back_at_the_end(
    make: Callable[..., tuple[Loop, list[int]]], studio: Studio
) -> None:
    loop, order = make("skipping")
    first = studio.next_task(loop.project)
    assert first is not None
    assert first["id"] == order[0]
    skip(studio, order[0])
    for task in order[1:4]:
        label(studio, loop, task)
    row = loop.wait_for_round(1)
    ranking = loop.ranking(row)
    assert [task for task in ranking if task not in order[1:4]][-1] == order[0]
    served = []
    while (task_row := studio.next_task(loop.project)) is not None and len(served) < FRAMES:
        served.append(int(task_row["id"]))
        label(studio, loop, served[-1])
    assert served[-1] == order[0]
    assert len(served) == len(set(served))


def test_two_annotations_a_task_go_to_two_people_in_our_order(
    make: Callable[..., tuple[Loop, list[int]]], people: list[Studio]
) -> None:
    loop, order = make("twice", maximum_annotations=2)
    loop.service.stop()
    served: list[tuple[int, int]] = []
    for _ in range(FRAMES):
        for who, person in enumerate(people[:2]):
            task = person.next_task(loop.project)
            if task is not None:
                served.append((who, int(task["id"])))
                label(person, loop, served[-1][1])
    loop.service.start()
    assert Counter(task for _, task in served) == dict.fromkeys(order, 2)
    assert len(set(served)) == len(served)
    # What one has labelled is served to the other before anything new; new ones in our order.
    assert list(dict.fromkeys(task for _, task in served)) == order
    assert all(served[i][1] == served[i + 1][1] for i in range(0, len(served), 2))


def test_the_columns_are_sorted_and_filtered_by(
    make: Callable[..., tuple[Loop, list[int]]], studio: Studio
) -> None:
    loop, order = make("columns")
    for task in order[:3]:
        label(studio, loop, task)
    row = loop.wait_for_round(1)
    ranking = loop.ranking(row)

    def listed(column: str, **query: Any) -> list[dict[str, Any]]:
        number = f"tasks:data.{column.lstrip('-')}"
        sign = "-" if column.startswith("-") else ""
        found = studio._tasks(
            loop.project,
            page_size=100,
            query={"ordering": [sign + number], "columnsDisplayType": {number: "Number"}, **query},
        )
        return [task["data"] | {"id": task["id"]} for task in found["tasks"]]

    assert [task["id"] for task in listed(RANK)] == ranking
    qualities = [float(task[QUALITY]) for task in listed(f"-{QUALITY}")]
    assert qualities == sorted(qualities, reverse=True)
    assert {task["id"]: task[ROUND] for task in listed(RANK)} == {
        task: "000" if task in order[:3] else "001" for task in ranking
    }
    item = {
        "filter": f"filter:tasks:data.{QUALITY}",
        "operator": "less",
        "type": "Number",
        "value": 1,
    }
    few = listed(QUALITY, filters={"conjunction": "and", "items": [item]})
    assert {task["id"] for task in few} == set(ranking) - set(order[:3])


@pytest.mark.browser
def test_all_three_ways_into_the_stream_follow_our_order(
    make: Callable[..., tuple[Loop, list[int]]],
    studio: Studio,
    server: StudioServer,
    tmp_path: Path,
) -> None:
    loop, order = make("three ways")
    with screen(server, loop.project) as seen:
        # A fresh browser lands on the ranked tab.
        seen.page.get_by_text("Label All Tasks").wait_for()
        seen.page.wait_for_timeout(3000)
        seen.save(tmp_path / "columns.png")
        assert seen.label_all_tasks()["id"] == order[0]
        label(studio, loop, order[0])
        assert seen.label_as_displayed()["id"] == order[1]
    label(studio, loop, order[1])
    task = studio.next_task(loop.project)
    assert task is not None
    assert task["id"] == order[2]
