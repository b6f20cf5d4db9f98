"""Label Studio's screen in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from backend.studio_server import StudioServer

_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_MS = 90_000


class Screen:
    """The screen of one person who has logged in.

    Args:
        page: A page of the browser.
        server: The running Label Studio.
        project: The project that is open.
    """

    def __init__(self, page: Any, server: StudioServer, project: int) -> None:
        self.page = page
        page.set_default_timeout(_PATIENCE_MS)
        place = f"/projects/{project}/data"
        self._home = f"{server.url}{place}"
        page.goto(f"{server.url}/user/login/?next={place}")
        page.fill("input[name=email]", server.login.email)
        page.fill("input[name=password]", server.login.password)
        page.click("button[type=submit]")
        page.wait_for_url(f"**{place}**")

    def label_all_tasks(self) -> dict[str, Any]:
        """Press "Label All Tasks"; returns the task that opens."""
        return self._open_by(lambda: self.page.get_by_text("Label All Tasks").click())

    def label_as_displayed(self) -> dict[str, Any]:
        """Go to the project, press "Label Tasks As Displayed"; returns the task that opens."""
        self.page.goto(self._home)
        self.page.get_by_text("Label All Tasks").wait_for()
        self.page.get_by_label("Toggle open").click()
        return self._open_by(lambda: self.page.get_by_text("Label Tasks As Displayed").click())

    def submit(self) -> dict[str, Any]:
        """Press "Submit"; returns the task that opens next."""
        button = self.page.get_by_label("Submit current annotation")
        return self._open_by(button.click)

    def _open_by(self, act: Any) -> dict[str, Any]:
        with self.page.expect_response(lambda answer: "id=next_task" in answer.url) as caught:
            act()
        task = dict(caught.value.json())
        self.page.wait_for_function(
            "id => document.querySelector('.lsf-current-task__task-id')"
            "?.firstChild.textContent.trim() === id",
            arg=str(task["id"]),
        )
        self.page.locator("img[alt=image]").wait_for()
        self.page.wait_for_function(
            "() => document.querySelector('img[alt=image]')?.naturalWidth > 0"
        )
        self.page.wait_for_timeout(1500)  # masks are painted after the picture
        return task

    def regions(self) -> list[str]:
        """The labels in the list of regions."""
        names = self.page.locator(".lsf-outliner-item__title").all_inner_texts()
        return [name.strip() for name in names]

    def painted(self, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Where masks change what is seen: the picture with regions against it without.

        Args:
            size: (width, height) of the frame.
        """
        shown = self._picture(size)
        self.page.get_by_label("Hide all regions").click()
        self.page.wait_for_timeout(800)
        bare = self._picture(size)
        self.page.get_by_label("Show all regions").click()
        self.page.wait_for_timeout(800)
        difference = np.abs(shown.astype(int) - bare.astype(int)).max(axis=2)
        return np.asarray(difference > 12)

    def _picture(self, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        box = self.page.locator("img[alt=image]").bounding_box()
        data = np.frombuffer(self.page.screenshot(clip=box), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert image is not None
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

    def brush(self, label: str, size: tuple[int, int], start: tuple[int, int], end: int) -> None:
        """Draw a level stroke with the brush onto the region of a label.

        Args:
            label: The region's label.
            size: (width, height) of the frame.
            start: (x, y) of the frame where the stroke begins.
            end: x where it ends.
        """
        item = self.page.locator(".lsf-outliner-item").filter(has_text=label)
        item.first.click()
        self.page.get_by_label("brush-tool").click()
        box = self.page.locator("img[alt=image]").bounding_box()
        scale = box["width"] / size[0]
        x, y = box["x"] + (start[0] + 0.5) * scale, box["y"] + (start[1] + 0.5) * scale
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + (end + 0.5) * scale, y, steps=15)
        self.page.mouse.up()
        self.page.wait_for_timeout(800)

    def save(self, path: Path) -> None:
        """Write what is seen into a file."""
        self.page.screenshot(path=str(path))


@contextmanager
def screen(server: StudioServer, project: int) -> Iterator[Screen]:
    """Log in to a project with Chromium; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        pytest.skip(f"no Chromium is installed (looked for {', '.join(_NAMES)})")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=executable, args=list(_FLAGS))
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            yield Screen(page, server, project)
        finally:
            browser.close()
