"""A clip in a real Label Studio with the service behind it, and a person who labels it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from backend.formats import decode, encode
from backend.init import BackendAddress, SampleWish, init
from backend.labelconfig import LabelConfig, parse_label_config
from backend.local_service import LocalService
from backend.store import Store
from backend.studio import Studio
from backend.tables import Round
from model.synthetic import RenderedClip

Mask = npt.NDArray[np.uint8]


class Loop:
    """One project of one rendered clip.

    Args:
        studio: The client of the running Label Studio.
        service: The running service.
        clip: The clip; its frames are written below Label Studio's document root.
        root: Label Studio's document root.
        title: Title of the project and name of the clip, used once only.
        samples: What the person is asked for; whole frames when not given.
    """

    def __init__(
        self,
        studio: Studio,
        service: LocalService,
        clip: RenderedClip,
        root: Path,
        title: str,
        samples: SampleWish | None = None,
    ) -> None:
        self.studio, self.service, self.clip = studio, service, clip
        folder = root / title
        folder.mkdir()
        for index in range(len(clip)):
            picture = cv2.cvtColor(clip.read(index), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / f"{index:05d}.png"), picture)
        self.project = init(
            studio,
            folder,
            labels=clip.class_names[1:],
            title=title,
            backend=BackendAddress(service.url, *service.auth),
            document_root=root,
            samples=samples,
        ).project_id
        config = str(studio.project(self.project)["label_config"])
        self.config: LabelConfig = parse_label_config(config)
        self.frame_of = {t["id"]: int(t["data"]["frame"]) for t in studio.tasks(self.project)}

    # The service ---------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        return Store(self.service.database_url)

    def rounds(self) -> list[Round]:
        store = self.store
        try:
            return store.rounds(self.project)
        finally:
            store.close()

    def wait(self, reached: Callable[[], bool], what: str, *, seconds: float = 240.0) -> None:
        """Wait until something is so; fails with what the service wrote."""
        deadline = time.monotonic() + seconds
        while not reached():
            self.service.program.check()
            if time.monotonic() > deadline:
                log = self.service.log.read_text(errors="replace")[-6000:]
                raise AssertionError(f"{what}: not after {seconds:.0f} s\n{log}")
            time.sleep(0.02)

    def wait_for_round(self, number: int) -> Round:
        """Wait until a round is done and its version is the project's."""

        def is_done() -> bool:
            return any(row.number == number and row.state == "done" for row in self.rounds())

        self.wait(is_done, f"round {number}")
        (row,) = [row for row in self.rounds() if row.number == number and row.state == "done"]
        assert self.studio.project(self.project)["model_version"] == row.version
        return row

    def ranking(self, row: Round) -> list[int]:
        """The tasks in the order that a round gave them."""
        store = self.store
        try:
            found = store.predictions(row.id)
        finally:
            store.close()
        return sorted(found, key=lambda task: found[task].rank)

    # Label Studio --------------------------------------------------------------------------------

    def predictions(self, version: str) -> dict[int, list[dict[str, Any]]]:
        """The predictions of a version that Label Studio holds, by task."""
        found: dict[int, list[dict[str, Any]]] = {}
        params = {"project": self.project, "page_size": 1000, "fields": "all"}
        for task in self.studio.request("GET", "/api/tasks", params=params)["tasks"]:
            ours = [p for p in task["predictions"] if p["model_version"] == version]
            if ours:
                found[task["id"]] = ours
        return found

    def masks(self, version: str) -> dict[int, Mask]:
        """The masks of a version that Label Studio holds, by frame."""
        width, height = self.clip.size
        return {
            self.frame_of[task]: decode(only["result"], self.config, (height, width))
            for task, (only,) in self.predictions(version).items()
        }

    def labelled(self) -> set[int]:
        """The tasks with a label."""
        return {task["id"] for task in self.studio.tasks(self.project) if task["annotations"]}

    # The person ----------------------------------------------------------------------------------

    def label_next(self, count: int) -> list[int]:
        """Label the tasks that are served, with the exact masks; returns them in order."""
        served = []
        for _ in range(count):
            task = self.studio.next_task(self.project)
            assert task is not None
            self.label(task["id"])
            served.append(task["id"])
        return served

    def label(self, task: int) -> int:
        """Label one task with its exact mask."""
        result = encode(self.clip.mask(self.frame_of[task]), self.config)
        return self.studio.create_annotation(task, result)

    def serve_all(self) -> list[int]:
        """Skip through all tasks that are left; returns them in the order they were served.

        Skipped ones come again at the end: the first that does is not skipped a second time.
        """
        served: list[int] = []
        while (task := self.studio.next_task(self.project)) is not None:
            if int(task["id"]) in served:
                break
            served.append(int(task["id"]))
            self.studio.create_annotation(served[-1], [], was_cancelled=True)
        return served

    # Quality -------------------------------------------------------------------------------------

    def mean_iou(self, masks: Mapping[int, Mask], frames: Iterable[int]) -> float:
        """Mean over classes of intersection over union, all frames pooled."""
        classes = len(self.clip.class_names)
        both, either = np.zeros(classes), np.zeros(classes)
        for frame in frames:
            truth = self.clip.mask(frame)
            for index in range(classes):
                one, other = masks[frame] == index, truth == index
                both[index] += (one & other).sum()
                either[index] += (one | other).sum()
        return float((both[either > 0] / either[either > 0]).mean())

    def copied(self, keys: Iterable[int], frames: Iterable[int]) -> dict[int, Mask]:
        """The nearest key frame's label for each frame."""
        known = sorted(keys)
        return {
            frame: self.clip.mask(min(known, key=lambda key: abs(key - frame))) for frame in frames
        }
