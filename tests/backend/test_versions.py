from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from backend.jobs import Foreman
from backend.retention import kept_versions
from backend.versions import VersionError, go_back, list_versions, show_versions
from tests.backend.played_rounds import Scene


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path, keep_versions=2, quiet_seconds=0)
    yield scene
    scene.store.close()


def test_going_back_shows_the_older_masks_and_order_and_goes_on_from_there(scene: Scene) -> None:
    foreman = Foreman(scene.runner, scene.settings)
    scene.studio.label(5)
    first = scene.round()
    order, mask = scene.studio.order(), scene.mask(8)
    scene.studio.label(11)
    second = scene.round()
    assert scene.studio.order() != order
    # Its predictions are gone from Label Studio, as those of old rounds are.
    scene.studio.delete_model_version(1, first.version)

    go_back(scene.store, foreman.queue, scene.settings, 1, first.version)
    foreman.consider(1)
    assert scene.studio.version == first.version
    assert scene.studio.order() == order
    np.testing.assert_array_equal(scene.mask(8), mask)
    assert [r.version for r in scene.store.rounds(1)] == [first.version, second.version]

    scene.studio.label(0)
    scene.store.ring(1)
    foreman.consider(1)
    newest = scene.store.rounds(1)[-1]
    assert newest.number == 2
    assert newest.labels == 3
    assert scene.studio.version == newest.version
    foreman.queue.huey.storage.close()


def test_a_version_that_is_gone_is_refused_with_those_that_are_kept(scene: Scene) -> None:
    foreman = Foreman(scene.runner, scene.settings)
    rows = []
    for index in (5, 2, 9):
        scene.studio.label(index)
        rows.append(scene.round())
    with pytest.raises(VersionError, match=rows[1].version):
        go_back(scene.store, foreman.queue, scene.settings, 1, rows[0].version)
    with pytest.raises(VersionError, match="no project 7"):
        go_back(scene.store, foreman.queue, scene.settings, 7, "x")
    foreman.queue.huey.storage.close()


def test_versions_are_listed_with_what_is_shown_and_kept(scene: Scene) -> None:
    for index in (5, 2, 9):
        scene.studio.label(index)
        scene.round()
    rows = list_versions(scene.store, scene.settings, 1)
    assert [row["labels"] for row in rows] == [1, 2, 3]
    assert [row["kept"] for row in rows] == [False, True, True]
    assert [row["shown"] for row in rows] == [False, False, True]
    console = Console(record=True, width=160, file=open("/dev/null", "w"))  # noqa: SIM115
    show_versions(rows, console)
    console.file.close()
    assert rows[-1]["model_version"] in console.export_text()


def test_the_best_version_is_kept_beyond_the_last_ones(scene: Scene) -> None:
    rows = []
    for number, expected in enumerate((0.5, 0.9, None, 0.7, 0.6)):
        row = scene.store.start_round(1, lambda n: f"v{n}", "me")
        scene.store.set_round(row.id, state="done", figures={"expected_miou": expected})
        rows.append(number)
    assert kept_versions(scene.store.rounds(1), "v0", 2) == {"v0", "v1", "v3", "v4"}
