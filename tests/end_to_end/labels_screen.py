"""One task on Label Studio's screen: opened, drawn on, submitted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from backend.studio_server import StudioServer

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_MS = 90_000
# Pictures and masks are painted in the frames after they are known.
_PAINTED_MS = 2000


class TaskScreen:
    """A logged-in browser page that shows one task at a time."""

    def __init__(self, page: Any, url: str, shots: Path) -> None:
        self.page = page
        self.url = url
        self._shots = shots

    def open(self, project: int, task: int) -> None:
        """Open a task, and wait until its regions are drawn."""
        self.page.goto(f"{self.url}/projects/{project}/data?task={task}")
        self._submit_button.wait_for()
        self.page.locator("canvas").first.wait_for()
        self.page.wait_for_timeout(_PAINTED_MS)

    def shoot(self, name: str) -> Path:
        """Keep a screenshot to be looked at."""
        path = self._shots / f"{name}.png"
        self.page.screenshot(path=str(path))
        return path

    def submit(self) -> list[dict[str, Any]]:
        """Submit what the screen shows; returns the annotation's result as the server took it."""
        with self.page.expect_response(_is_submit) as answer:
            self._submit_button.click()
        assert answer.value.ok, answer.value.text()
        return list(answer.value.json()["result"])

    def drag(self, *points: tuple[float, float]) -> None:
        """Draw with the mouse along points in shares of the shown picture's width and height."""
        box = self.page.locator(".konvajs-content, canvas").first.bounding_box()
        for number, (x, y) in enumerate(points):
            place = box["x"] + x * box["width"], box["y"] + y * box["height"]
            self.page.mouse.move(*place, steps=6)
            if number == 0:
                self.page.mouse.down()
        self.page.mouse.up()
        self.page.wait_for_timeout(500)

    def press(self, key: str) -> None:
        """Press a key, and let the screen follow."""
        self.page.keyboard.press(key)
        self.page.wait_for_timeout(500)

    @property
    def _submit_button(self) -> Any:
        return self.page.get_by_label("Submit current annotation").first


def _is_submit(response: Any) -> bool:
    return "/annotations" in response.url and response.request.method in ("POST", "PATCH")


@contextmanager
def open_screen(server: StudioServer, shots: Path) -> Iterator[TaskScreen]:
    """A browser that is logged in; skips the test where there is none.

    Screenshots go to the folder that ``MASKLOOP_SCREENSHOTS`` names, else to `shots`.
    """
    path = next((found for name in _CHROMIUM if (found := shutil.which(name))), None)
    if path is None or find_spec("playwright") is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium) and playwright")
    from playwright.sync_api import sync_playwright

    kept = os.environ.get("MASKLOOP_SCREENSHOTS")
    folder = Path(kept) if kept else shots
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(f"{server.url}/user/login/")
        page.fill("input[name=email]", server.login.email)
        page.fill("input[name=password]", server.login.password)
        page.locator("button[type=submit]").first.click()
        page.wait_for_url(lambda url: "/login" not in url)
        yield TaskScreen(page, server.url, folder)
        browser.close()
