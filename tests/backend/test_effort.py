"""What labels cost in clicks, told from Label Studio's regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.effort import count_clicks, label_clicks
from backend.formats import encode
from backend.labelconfig import make_label_config, parse_label_config
from backend.store import Store
from backend.sync import SeenFrame

CONFIG = parse_label_config(make_label_config(["car", "road"]))


def square(item: int | None = None) -> list[dict[str, Any]]:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:30] = 1
    return encode(mask, CONFIG, item=item)


def test_a_square_is_four_clicks() -> None:
    assert label_clicks(square(), CONFIG) == 4


def test_that_a_picture_holds_nothing_is_a_click() -> None:
    assert label_clicks([], CONFIG) == 1


def test_pictures_of_a_list_add_up() -> None:
    assert label_clicks([*square(0), *square(1)], CONFIG) == 8


def test_boxes_on_a_video_are_two_clicks_for_each_that_was_placed() -> None:
    track = {"type": "videorectangle", "value": {"sequence": [{"frame": 1}, {"frame": 9}]}}
    assert label_clicks([track, track], CONFIG) == 8


@pytest.mark.parametrize(
    "damage", [{"original_width": None}, {"original_width": 999}, {"value": {"rle": "?"}}]
)
def test_a_damaged_label_counts_its_regions(damage: dict[str, Any]) -> None:
    assert label_clicks([{**square()[0], **damage}], CONFIG) == 1


def frame(digest: str | None, results: list[dict[str, Any]] | None) -> SeenFrame:
    return SeenFrame(5, "a", 0, "u", digest, results)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path / 'maskloop.db'}")
    store.ring(1)
    return store


def sync(store: Store, digest: str | None) -> None:
    row = {"task_id": 5, "clip": "a", "position": 0, "url": "u", "label": digest}
    store.sync_frames(1, [row])


def test_a_label_counts_until_a_round_used_it(store: Store) -> None:
    sync(store, "x")
    count_clicks(store, 1, [frame("x", square())], CONFIG)
    assert store.pending_clicks(1) == 4
    row = store.start_round(1, lambda number: f"v{number}", "me")
    store.finish_round(row.id, {5: (True, "x")})
    assert store.pending_clicks(1) == 0


def test_a_changed_label_is_counted_anew_and_an_unchanged_one_is_not_read(store: Store) -> None:
    count_clicks(store, 1, [frame("x", square())], CONFIG)
    count_clicks(store, 1, [frame("x", [])], CONFIG)
    assert store.efforts(1) == {5: ("x", 4)}
    count_clicks(store, 1, [frame("y", [])], CONFIG)
    assert store.efforts(1) == {5: ("y", 1)}


def test_a_label_that_was_deleted_does_not_count(store: Store) -> None:
    sync(store, "x")
    count_clicks(store, 1, [frame("x", square())], CONFIG)
    sync(store, None)
    assert store.pending_clicks(1) == 0
