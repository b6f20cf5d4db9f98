"""Rounds that choose by temporal reach."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backend.played_rounds import FRAMES, Scene


@pytest.fixture
def far_reaching(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path, strategy="reach")
    yield scene
    scene.store.close()


def test_reach_is_measured_once_and_orders_from_the_first_round_on(
    far_reaching: Scene, monkeypatch
) -> None:
    scene = far_reaching
    scene.round()
    first = [task - 100 for task in scene.studio.order()]
    assert len(set(first[:3])) == 3
    assert max(np.diff(sorted([0, *first[:3], FRAMES - 1]))) <= 6
    monkeypatch.setattr("backend.reaches.measure_reach", None)  # would fail if called again
    for index in first[:3]:
        scene.studio.label(index)
    scene.round()
    second = [task - 100 for task in scene.studio.order()]
    assert sorted(second) == list(range(FRAMES))
    assert not set(second[:3]) & set(first[:3])


def test_where_reach_cannot_be_measured_the_order_goes_by_time(
    far_reaching: Scene, monkeypatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no flow")

    monkeypatch.setattr("backend.reaches.measure_reach", broken)
    row = far_reaching.round()
    assert row.state == "done"
    assert sorted(far_reaching.studio.order()) == sorted(far_reaching.studio.task_rows)
