"""What dies is made good: lost webhooks, a killed worker, at whatever step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest

from backend.local_service import LocalService
from backend.studio import Studio
from backend.studio_server import StudioServer
from model.synthetic import render_clip
from tests.end_to_end.loop import Loop

pytestmark = pytest.mark.end_to_end

Start = Callable[..., LocalService]

SMALL = {"MASKLOOP_BUDGET": "2", "MASKLOOP_FINETUNE_SECONDS": "4", "MASKLOOP_QUIET_SECONDS": "3600"}


def begin(
    studio: Studio, server: StudioServer, start_service: Start, title: str, **settings: str
) -> Loop:
    """A small clip whose first frames to label are chosen."""
    service = start_service(**SMALL, **settings)
    clip = render_clip(16, (96, 72), seed=5)
    loop = Loop(studio, service, clip, server.document_root, title)
    loop.wait_for_round(0)
    return loop


def worker_of(service: LocalService) -> psutil.Process:
    for child in psutil.Process(service.program.pid).children():
        if child.cmdline()[-1] == "worker":
            return child
    raise AssertionError("the service has no worker")


def assert_published_once(loop: Loop) -> None:
    """Each version in Label Studio holds one prediction a task, and each is a round's."""
    versions = loop.studio.model_versions(loop.project)
    assert set(versions) == {row.version for row in loop.rounds() if row.state == "done"}
    for version, count in versions.items():
        found = loop.predictions(version)
        assert count == len(found)
        assert all(len(each) == 1 for each in found.values())


def test_labels_given_while_the_service_was_down(
    studio: Studio, server: StudioServer, start_service: Start
) -> None:
    loop = begin(studio, server, start_service, "down", MASKLOOP_CHECK_SECONDS="2")
    loop.service.stop()
    labelled = loop.label_next(2)
    loop.service.start()
    row = loop.wait_for_round(1)
    assert row.labels == 2
    assert set(labelled) == loop.labelled()
    assert_published_once(loop)


def test_labels_whose_webhook_got_lost(
    studio: Studio, server: StudioServer, start_service: Start
) -> None:
    loop = begin(studio, server, start_service, "lost", MASKLOOP_CHECK_SECONDS="2")
    (hook,) = studio.request("GET", "/api/webhooks/", params={"project": loop.project})
    studio.request("DELETE", f"/api/webhooks/{hook['id']}/")
    loop.label_next(2)
    assert loop.wait_for_round(1).labels == 2


def test_fewer_labels_than_a_round_wants_are_used_after_some_quiet(
    studio: Studio, server: StudioServer, start_service: Start
) -> None:
    settings = {**SMALL, "MASKLOOP_QUIET_SECONDS": "2", "MASKLOOP_BUDGET": "5"}
    service = start_service(**settings)
    clip = render_clip(12, (96, 72), seed=6)
    loop = Loop(studio, service, clip, server.document_root, "quiet")
    loop.wait_for_round(0)
    (task,) = loop.label_next(1)
    assert loop.wait_for_round(1).labels == 1

    # Skipping a task is no label, and a deleted label is no longer one.
    skipped = studio.next_task(loop.project)
    assert skipped is not None
    studio.create_annotation(skipped["id"], [], was_cancelled=True)
    (other,) = loop.label_next(1)
    assert loop.wait_for_round(2).labels == 2
    assert {task, other} == loop.labelled() - {skipped["id"]}


@pytest.mark.parametrize("step", ["finetune", "propagate", "publish"])
def test_a_worker_killed_in_mid_round(
    studio: Studio, server: StudioServer, start_service: Start, step: str
) -> None:
    loop = begin(studio, server, start_service, f"killed in {step}")
    loop.label_next(2)
    loop.wait(
        lambda: any(row.number == 1 and row.step == step for row in loop.rounds()),
        f"step {step} of round 1",
    )
    worker = worker_of(loop.service)
    os.kill(worker.pid, signal.SIGKILL)
    killed_in = [row for row in loop.rounds() if row.number == 1]
    assert [row.state for row in killed_in] == ["running"]

    row = loop.wait_for_round(1)
    assert row.labels == 2
    assert row.version == killed_in[0].version
    assert worker_of(loop.service).pid != worker.pid
    assert_published_once(loop)
    assert [row.number for row in loop.rounds()] == [0, 1]
    served = studio.next_task(loop.project)
    assert served is not None
    done = loop.labelled()
    assert served["id"] == next(task for task in loop.ranking(row) if task not in done)


def test_killing_everything_loses_nothing(
    studio: Studio, server: StudioServer, start_service: Start
) -> None:
    loop = begin(studio, server, start_service, "all killed")
    loop.label_next(2)
    loop.wait(
        lambda: any(row.number == 1 and row.step == "finetune" for row in loop.rounds()),
        "step finetune of round 1",
    )
    root = psutil.Process(loop.service.program.pid)
    for process in (root, *root.children(recursive=True)):
        process.kill()
    loop.service.stop()
    loop.service.start()
    assert loop.wait_for_round(1).labels == 2
    assert_published_once(loop)
