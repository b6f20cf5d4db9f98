"""Rectangles and super-pixels: asked for in a real Label Studio, answered, learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from backend.artifacts import Artifacts
from backend.formats import encode
from backend.formats.regions import drawn_regions
from backend.init import SampleWish
from backend.local_service import LocalService
from backend.roundfiles import RoundFiles
from backend.studio import Studio
from backend.studio_server import StudioServer
from backend.tables import Round
from model.synthetic import render_clip
from tests.end_to_end.labels_screen import TaskScreen, open_screen
from tests.end_to_end.loop import Loop, Mask
from tests.end_to_end.people import join

pytestmark = pytest.mark.end_to_end

SIZE = (160, 120)
SETTINGS = {"MASKLOOP_BUDGET": "2", "MASKLOOP_QUIET_SECONDS": "1", "MASKLOOP_METHOD": "flow"}
OUTLINE = np.array((0xFF, 0xD4, 0x00))


class Asked(Loop):
    """A project that asks for samples, and the person who is asked."""

    def files(self, row: Round) -> RoundFiles:
        return RoundFiles(Artifacts(self.service.folder / "projects"), self.project, row.version)

    def queries(self, row: Round, task: int) -> Mask:
        files = self.files(row)
        return files.artifacts.read_mask(files.query_key(task))

    def label_of(self, row: Round, task: int) -> Mask:
        """A label as the round read it."""
        files = self.files(row)
        return files.artifacts.read_mask(files.label_key(task))

    def shown(self, row: Round, task: int) -> dict[str, Any]:
        """The prediction that a person sees."""
        (only,) = self.predictions(row.version)[task]
        return only

    def answer(self, row: Round, task: int, person: Studio | None = None) -> None:
        """Label the true mask inside the rectangles, and nothing outside of them."""
        shown = self.shown(row, task)
        fences = [region for region in shown["result"] if region["from_name"] == "queries"]
        assert fences
        inside = self.queries(row, task) > 0
        truth = np.where(inside, self.clip.mask(self.frame_of[task]), 0).astype(np.uint8)
        result = [*encode(truth, self.config), *({**f, "origin": "prediction"} for f in fences)]
        (person or self.studio).create_annotation(task, result, parent_prediction=shown["id"])


@pytest.fixture
def asked(
    studio: Studio, server: StudioServer, start_service: Callable[..., LocalService]
) -> Callable[..., Asked]:
    """Make a project of a rendered clip that asks for samples, to its first masks."""

    def make(title: str, wish: SampleWish) -> tuple[Asked, Round]:
        service = start_service(**SETTINGS)
        clip = render_clip(8, SIZE, seed=4)
        loop = Asked(studio, service, clip, server.document_root, title, wish)
        row = loop.wait_for_round(0)
        for _ in range(2):  # the first frames are asked for whole
            task = studio.next_task(loop.project)
            assert task is not None
            assert (loop.queries(row, task["id"]) == 1).all()
            loop.answer(row, task["id"])
        row = loop.wait_for_round(1)
        assert row.labels == 2
        return loop, row

    return make


def test_rectangles_are_asked_for_and_only_their_inside_is_learnt(asked: Any) -> None:
    loop, row = asked("rectangles", SampleWish("rectangles", 24, 4))
    whole = loop.labelled()
    for task in whole:  # the truth, background too
        truth = loop.clip.mask(loop.frame_of[task])
        np.testing.assert_array_equal(loop.label_of(row, task), truth)
    ranking = loop.ranking(row)
    served = []
    for _ in range(2):
        task = loop.studio.next_task(loop.project)
        assert task is not None
        assert task["id"] == ranking[len(served)]
        served.append(task["id"])
        loop.answer(row, task["id"])
    after = loop.wait_for_round(2)
    assert after.labels == 4
    for task in served:
        inside = loop.queries(row, task) > 0
        label = loop.label_of(after, task)
        truth = loop.clip.mask(loop.frame_of[task])
        np.testing.assert_array_equal(label[inside], truth[inside])
        assert (label[~inside] == 255).all()
    # Every frame that may still be served says what to label on it; a labelled one has masks.
    for task, (prediction,) in loop.predictions(after.version).items():
        fences = [r for r in prediction["result"] if r["from_name"] == "queries"]
        assert bool(fences) == (task not in {*whole, *served})
    # The stream goes on with the new order, and serves none of them twice.
    rest = loop.serve_all()
    assert not {*whole, *served} & set(rest)
    assert rest[0] == next(t for t in loop.ranking(after) if t not in {*whole, *served})


def test_another_person_is_asked_for_other_samples(asked: Any, studio: Studio) -> None:
    loop, row = asked("two people", SampleWish("rectangles", 24, 4))
    address = f"/api/projects/{loop.project}/"
    studio.request("PATCH", address, json={"maximum_annotations": 2})
    task = studio.next_task(loop.project)
    assert task is not None
    first = loop.queries(row, task["id"]) > 0
    loop.answer(row, task["id"])
    row = loop.wait_for_round(2)
    again = loop.queries(row, task["id"]) > 0
    assert again.any()
    assert not (first & again).any()
    # Nobody is served a task twice; another person is, with what is not labelled yet.
    assert task["id"] not in loop.serve_all()
    other = join(studio)
    for _ in range(len(loop.clip)):
        served = other.next_task(loop.project)
        assert served is not None
        if served["id"] == task["id"]:
            break
        other.create_annotation(served["id"], [], was_cancelled=True)
    else:
        raise AssertionError("the other person never gets the frame")
    loop.answer(row, task["id"], other)
    row = loop.wait_for_round(3)
    label = loop.label_of(row, task["id"])
    truth = loop.clip.mask(loop.frame_of[task["id"]])
    np.testing.assert_array_equal(label, np.where(first | again, truth, 255))


def _shot(seen: TaskScreen, name: str) -> np.ndarray:
    """The picture on the screen, (H, W, 3) RGB, resized to the frame's size."""
    image = cv2.imread(str(seen.shoot(name)))
    assert image is not None
    box = seen.page.locator("img[alt=image]").bounding_box()
    left, top = round(box["x"]), round(box["y"])
    part = image[top : top + round(box["height"]), left : left + round(box["width"]), ::-1]
    return np.asarray(part)


@pytest.mark.browser
def test_rectangles_on_the_screen(server: StudioServer, asked: Any, tmp_path: Path) -> None:
    loop, row = asked("outlined", SampleWish("rectangles", 24, 3))
    task = next(task for task in loop.ranking(row) if task not in loop.labelled())
    queries = loop.queries(row, task)
    names = loop.config.class_names
    with open_screen(server, tmp_path) as seen:
        seen.open(loop.project, task)
        picture = _shot(seen, "rectangles")
        scale = picture.shape[1] / SIZE[0]
        yellow = (np.abs(picture.astype(int) - OUTLINE).max(axis=2) < 40).astype(np.uint8)
        for number in range(1, int(queries.max()) + 1):
            rows, columns = np.nonzero(queries == number)
            # Along each side, the outline is to be seen.
            for axis, (places, others) in enumerate(((rows, columns), (columns, rows))):
                for side in (places.min(), places.max() + 1):
                    if side in (0, queries.shape[axis]):
                        continue  # half of a line along the picture's border is cut off
                    near = slice(max(int(side * scale) - 5, 0), int(side * scale) + 6)
                    along = slice(int((others.min() + 3) * scale), int((others.max() - 2) * scale))
                    window = yellow[near, along] if axis == 0 else yellow[along, near].T
                    assert window.any(axis=0).mean() > 0.8
        # A stroke of the brush inside a rectangle, another outside of all.
        seen.press("1")
        rows, columns = np.nonzero(queries == 1)
        y, x = int(rows.mean()), int(columns.min())
        seen.drag(((x + 4) / SIZE[0], y / SIZE[1]), ((x + 18) / SIZE[0], y / SIZE[1]))
        # Off the picture's border, and not under the slider that the brush opens above.
        open_ground = np.pad((queries == 0).astype(np.uint8)[45:-4, 4:-4], ((45, 4), (4, 4)))
        free = np.argwhere(cv2.erode(open_ground, np.ones((15, 45))) > 0)
        v, u = free[len(free) // 2]
        seen.drag(((u - 10) / SIZE[0], v / SIZE[1]), ((u + 10) / SIZE[0], v / SIZE[1]))
        seen.shoot("rectangles-drawn")
        result = seen.submit()
    drawn = [region for region in result if region["origin"] == "manual"]
    assert drawn
    assert all(region["from_name"] == "brush" for region in drawn)
    after = loop.wait_for_round(2)
    label = loop.label_of(after, task)
    inside = queries > 0
    np.testing.assert_array_equal(label != 255, inside)
    assert (label[y, x + 5 : x + 17] == names.index("ball")).all()
    strokes = [region.pixels for region in drawn_regions(drawn, loop.config, SIZE[::-1])]
    assert any((pixels & ~inside).any() for pixels in strokes)


@pytest.mark.browser
def test_super_pixels_on_the_screen(server: StudioServer, asked: Any, tmp_path: Path) -> None:
    loop, row = asked("superpixels", SampleWish("superpixels", 16, 8))
    task = next(task for task in loop.ranking(row) if task not in loop.labelled())
    shown = loop.shown(row, task)["result"]
    names = loop.config.class_names
    before = {
        region.id: (region.value, region.pixels)
        for region in drawn_regions(shown, loop.config, SIZE[::-1])
    }
    assert len(before) >= 4
    with open_screen(server, tmp_path) as seen:
        seen.open(loop.project, task)
        seen.shoot("superpixels")
        # A click selects a super-pixel, a key names it: done for two of them, one deleted.
        box = seen.page.locator(".konvajs-content").first.bounding_box()

        def click(identity: str) -> None:
            pixels = before[identity][1].astype(np.uint8)
            depth = cv2.distanceTransform(np.pad(pixels, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
            y, x = np.unravel_index(int(depth.argmax()), depth.shape)
            seen.page.mouse.click(
                box["x"] + (x + 0.5) * box["width"] / SIZE[0],
                box["y"] + (y + 0.5) * box["height"] / SIZE[1],
            )
            seen.page.wait_for_timeout(400)

        first, second, third, *rest = before
        changed = {}
        for identity in (first, second):
            value = next(v for v in (1, 2, 3) if v != before[identity][0])
            click(identity)
            seen.press(str(value))
            changed[identity] = value
        seen.shoot("superpixels-changed")
        click(third)
        seen.press("Backspace")
        seen.shoot("superpixels-deleted")
        result = seen.submit()
    after_screen = {
        region.id: region.value for region in drawn_regions(result, loop.config, SIZE[::-1])
    }
    assert after_screen == {**changed, **{identity: before[identity][0] for identity in rest}}
    origins = {region["id"]: region["origin"] for region in result}
    assert {origins[identity] for identity in rest} == {"prediction"}
    row = loop.wait_for_round(2)
    label = loop.label_of(row, task)
    expected = np.full(SIZE[::-1], 255, np.uint8)
    for identity, value in after_screen.items():
        expected[before[identity][1]] = value
    np.testing.assert_array_equal(label, expected)
    assert names[changed[first]] in loop.clip.class_names
