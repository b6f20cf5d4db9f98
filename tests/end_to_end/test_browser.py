"""The loop as a person sees it, in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backend.formats import decode
from backend.local_service import LocalService
from backend.studio import Studio
from backend.studio_server import StudioServer
from model.synthetic import render_clip
from tests.end_to_end.loop import Loop, Mask
from tests.end_to_end.screen import screen

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

SIZE = (160, 120)


def free_stroke(mask: Mask, length: int = 14, reach: int = 6) -> tuple[int, int]:
    """Where a level stroke of the brush fits on background: its (x, y) to the left."""
    height, width = mask.shape
    for y in range(height - 2 * reach, 2 * reach, -1):
        for x in range(2 * reach, width - length - 2 * reach):
            if not mask[y - reach : y + reach, x - reach : x + length + reach].any():
                return x, y
    raise AssertionError("objects are everywhere")


def test_a_person_corrects_a_mask(
    studio: Studio,
    server: StudioServer,
    start_service: Callable[..., LocalService],
    tmp_path: Path,
) -> None:
    service = start_service(MASKLOOP_BUDGET="5", MASKLOOP_QUIET_SECONDS="2", MASKLOOP_METHOD="flow")
    loop = Loop(studio, service, render_clip(20, SIZE, seed=4), server.document_root, "browser")
    loop.wait_for_round(0)
    (first,) = loop.label_next(1)
    row = loop.wait_for_round(1)
    order = [task for task in loop.ranking(row) if task != first]
    predicted = loop.masks(row.version)[loop.frame_of[order[0]]]
    names = loop.config.class_names
    present = [names[index] for index in np.unique(predicted) if index]

    with screen(server, loop.project) as seen:
        # The second task of this person opens with its mask on the canvas.
        assert seen.label_all_tasks()["id"] == order[0]
        assert sorted(seen.regions()) == sorted(present)
        painted = seen.painted(SIZE)
        wanted = predicted > 0
        assert (painted & wanted).sum() / (painted | wanted).sum() > 0.8

        # It is edited with the brush, and submitted: the next task in our order opens.
        x, y = free_stroke(predicted)
        seen.brush(present[0], SIZE, (x, y), x + 14)
        seen.save(tmp_path / "edited.png")
        assert seen.submit()["id"] == order[1]
        assert seen.regions()

        # What the person drew is a label of the next round, and the other way into the stream
        # follows the new order.
        last = loop.wait_for_round(2)
        assert last.labels == 2
        done = {first, order[0]}
        new = next(task for task in loop.ranking(last) if task not in done)
        assert seen.label_as_displayed()["id"] == new

    (task,) = [t for t in studio.tasks(loop.project) if t["id"] == order[0]]
    (annotation,) = task["annotations"]
    origins = {
        region["value"]["brushlabels"][0]: region["origin"] for region in annotation["result"]
    }
    assert origins[present[0]] == "prediction-changed"
    assert {origins[label] for label in present[1:]} == {"prediction"}
    saved = decode(annotation["result"], loop.config, SIZE[::-1])
    changed = saved != predicted
    assert (saved[y, x : x + 14] == names.index(present[0])).all()
    # Nothing but the stroke has changed on its way through the screen.
    near = np.zeros_like(changed)
    near[y - 8 : y + 9, x - 8 : x + 23] = True
    assert not (changed & ~near).any()
