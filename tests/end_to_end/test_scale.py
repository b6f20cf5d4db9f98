"""Postgres, Redis and two workers that share a folder: as a larger team deploys it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from backend.children import Program
from backend.local_service import LocalService
from backend.studio import Studio
from backend.studio_server import StudioServer
from model.synthetic import render_clip
from tests.end_to_end.loop import Loop

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_two_workers_share_the_projects(
    studio: Studio,
    server: StudioServer,
    start_service: Callable[..., LocalService],
    database_url: str,
    redis_url: str,
) -> None:
    settings = {
        "MASKLOOP_DATABASE_URL": database_url,
        "MASKLOOP_QUEUE_URL": redis_url,
        "MASKLOOP_BUDGET": "2",
        "MASKLOOP_FINETUNE_SECONDS": "4",
        "MASKLOOP_QUIET_SECONDS": "3600",
        "MASKLOOP_CHECK_SECONDS": "2",
    }
    service = start_service(**settings)
    second = Program(
        "The second worker",
        [sys.executable, "-m", "backend.cli", "worker"],
        log=service.folder / "second.log",
        env={
            **os.environ,
            **settings,
            "LABEL_STUDIO_URL": server.url,
            "LABEL_STUDIO_API_KEY": server.login.api_key,
            "MODEL_DIR": str(service.folder),
        },
    )
    try:
        loops = [
            Loop(studio, service, render_clip(16, (96, 72), seed=seed), server.document_root, title)
            for seed, title in ((1, "scale-a"), (2, "scale-b"))
        ]
        for loop in loops:
            loop.wait_for_round(0)
            loop.label_next(2)
        for loop in loops:
            assert loop.wait_for_round(1).labels == 2
        # A worker that ends and comes back finds the other at work, and nothing is done twice.
        service.stop()
        second.check()
        service.start()
        for loop in loops:
            loop.label_next(2)
        for loop in loops:
            assert loop.wait_for_round(2).labels == 4
            versions = {row.version for row in loop.rounds() if row.state == "done"}
            assert set(studio.model_versions(loop.project)) == versions
            assert all(count == 16 for count in studio.model_versions(loop.project).values())
            assert [row.number for row in loop.rounds()] == [0, 1, 2]
        second.check()
    finally:
        second.stop()
    assert not (service.folder / "maskloop.db").exists()
    assert not (service.folder / "queue.db").exists()
