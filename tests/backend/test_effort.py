"""What labels cost in clicks, told from Label Studio's regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.asked import Submitted
from backend.effort import count_clicks, label_clicks, samples_a_round
from backend.formats import EncodeOptions, encode
from backend.labelconfig import make_label_config, parse_label_config
from backend.querylayer import layer_for
from backend.queryregions import rectangles, superpixels
from backend.store import Store
from backend.sync import SeenFrame, look

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


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats() | st.text(max_size=4),
    lambda more: (
        st.lists(more, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["rle", "sequence", "x", "y", "width", "height", "brushlabels", "labels"]
            ),
            more,
        )
    ),
    max_leaves=8,
)
REGION = st.fixed_dictionaries(
    {},
    optional={
        "id": ANYTHING,
        "from_name": st.sampled_from(["brush", "queries", "other"]) | ANYTHING,
        "type": st.sampled_from(["brushlabels", "rectanglelabels", "relation"]) | ANYTHING,
        "value": ANYTHING,
        "item_index": ANYTHING,
        "original_width": st.sampled_from([60, 10**9]) | ANYTHING,
        "original_height": st.sampled_from([40, 10**9]) | ANYTHING,
        "origin": ANYTHING,
    },
)


@settings(deadline=None)
@given(
    results=st.lists(REGION | ANYTHING, max_size=3) | ANYTHING,
    layer=st.sampled_from([None, layer_for("rectangles", (40, 60), 10)]),
)
def test_whatever_a_program_stored_as_a_label_is_looked_at(results: Any, layer: Any) -> None:
    class Project:
        def project(self, project_id: int) -> dict[str, Any]:
            return {"title": "t", "label_config": make_label_config(["car"], queries=layer)}

        def tasks(self, project_id: int) -> Any:
            data = {"image": "/a.png", "clip": "c", "frame": 1}
            yield {"id": 1, "data": data, "annotations": [{"id": 1, "result": results}]}

    class Efforts:
        rows: Any = ()

        def efforts(self, project_id: int) -> dict[int, Any]:
            return {}

        def save_efforts(self, project_id: int, rows: Any) -> None:
            self.rows = rows

    view, kept = look(Project(), 1), Efforts()
    assert view.config is not None
    count_clicks(kept, 1, view.frames, view.config)  # type: ignore[arg-type]
    assert [row["clicks"] >= 1 for row in kept.rows] == [True]


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
    assert store.untried(1)[2] == 4
    row = store.start_round(1, lambda number: f"v{number}", "me")
    store.finish_round(row.id, {5: (True, "x")})
    assert store.untried(1)[2] == 0


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
    assert store.untried(1)[2] == 0


def asking(
    samples: str, results: list[dict[str, Any]], store: Store, predicted: bool = True
) -> int:
    """Clicks of an annotation where samples are asked for."""
    config = parse_label_config(
        make_label_config(["car", "road"], queries=layer_for(samples, (40, 60), 20))
    )
    submitted = (Submitted(results, predicted),)
    seen = SeenFrame(5, "a", 0, "d", "x", results, {}, submitted)
    count_clicks(store, 1, [seen], config)
    return store.efforts(1)[5][1]


def queries(samples: str) -> tuple[Any, Any]:
    layer = layer_for(samples, (40, 60), 20)
    assert layer is not None
    return layer, parse_label_config(make_label_config(["car", "road"], queries=layer))


def test_of_rectangles_what_is_drawn_inside_is_counted(store: Store) -> None:
    layer, config = queries("rectangles")
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 10:30] = 1
    asked = np.zeros((40, 60), np.uint8)
    asked[:20, :20], asked[20:, 40:] = 1, 2
    fences = rectangles(asked, config, layer)
    # A boundary from top to bottom in the one; nothing to draw in the other, which is a click.
    assert asking("rectangles", [*encode(mask, config), *fences], store) == 3


def test_without_a_rectangle_what_was_drawn_is_counted(store: Store) -> None:
    shown = [{**region, "origin": "prediction"} for region in square()]
    assert asking("rectangles", shown, store) == 1


def test_a_label_from_before_is_counted_whole(store: Store) -> None:
    assert asking("rectangles", square(), store, predicted=False) == 4


def test_a_super_pixel_is_a_click(store: Store) -> None:
    _, config = queries("superpixels")
    asked = np.zeros((40, 60), np.uint8)
    asked[:10, :10], asked[5:12, 20:30], asked[30:, 5:20] = 1, 2, 3
    names = list(config.class_names)
    sent = superpixels(asked, np.ones((40, 60), np.uint8), names, config, EncodeOptions())
    sent = [{**region, "origin": "prediction"} for region in sent]
    assert asking("superpixels", sent, store) == 3
    drawn = [{**r, "id": "a", "origin": "manual"} for r in encode(square_mask(), config)]
    store.save_efforts(1, [{"task_id": 5, "label": "other", "clicks": 0}])
    assert asking("superpixels", [*sent, *drawn], store) == 7


def square_mask() -> np.ndarray:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 40:55] = 1
    return mask


@pytest.mark.parametrize(("budget", "clicks", "samples"), [(5, 0, 5), (5, 12, 3), (5, 1, 1)])
def test_a_round_asks_for_what_its_clicks_pay_for(
    store: Store, budget: int, clicks: int, samples: int
) -> None:
    assert samples_a_round(store, 1, budget, clicks) == 5
    count_clicks(store, 1, [frame("x", square())], CONFIG)
    assert samples_a_round(store, 1, budget, clicks) == samples
