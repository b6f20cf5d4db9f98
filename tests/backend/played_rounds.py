"""Rounds with the real model on a small rendered clip; Label Studio is played."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from backend.artifacts import Artifacts
from backend.formats import decode
from backend.labelconfig import parse_label_config
from backend.rounds import (
    RoundRunner,
    make_version,
)
from backend.settings import load_settings
from backend.store import Store
from backend.tables import Round
from model.synthetic import render_clip
from tests.backend.played_studio import Folder, PlayedStudio

FRAMES = 12

FRAMES = 12


class Scene:
    def __init__(self, folder: Path, **settings: object) -> None:
        self.clip = render_clip(FRAMES, (96, 72), seed=3)
        for index in range(FRAMES):
            path = folder / "media" / "toy" / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), self.clip.read(index)[..., ::-1])
        chosen = {"finetune_seconds": 1, "budget": 3, "method": "flow", **settings}
        self.settings = load_settings(model_dir=folder / "state", **chosen)
        self.store = Store(self.settings.resolved_database_url)
        self.artifacts = Artifacts(self.settings.model_dir / "projects")
        self.studio = PlayedStudio(self.clip, folder)
        self.media = Folder(folder / "media")
        self.store.ring(1)

    @property
    def runner(self) -> RoundRunner:
        """A runner as a restarted worker has it: it remembers nothing."""
        return RoundRunner(
            self.store, self.artifacts, self.studio, self.media, self.settings  # type: ignore[arg-type]
        )  # fmt: skip

    def round(self) -> Round:
        row = self.store.start_round(1, make_version(1), "me")
        self.runner.run(row)
        done = self.store.round(row.id)
        assert done is not None
        return done

    def mask(self, index: int) -> np.ndarray:
        """The published mask of a frame."""
        config = parse_label_config(self.studio.config)
        result = self.studio.prediction(index)["result"]
        return decode(result, config, self.clip.mask(index).shape)

    def miou(self, indices: list[int]) -> float:
        """Of the published masks, over these frames and the classes that occur."""
        pairs = [(self.mask(i), self.clip.mask(i)) for i in indices]
        scores = []
        for label in range(len(self.clip.class_names)):
            union = sum(int(((a == label) | (b == label)).sum()) for a, b in pairs)
            both = sum(int(((a == label) & (b == label)).sum()) for a, b in pairs)
            if union:
                scores.append(both / union)
        return float(np.mean(scores))

    def accuracy(self, indices: list[int]) -> float:
        return float(np.mean([(self.mask(i) == self.clip.mask(i)).mean() for i in indices]))


def add_second_clip(scene: Scene) -> None:
    """A clip of the first two pictures, its first frame labelled."""
    for index in (0, 1):
        data = {"image": f"other/{index:05d}.png", "clip": "other", "frame": index}
        scene.studio.task_rows[200 + index] = {"id": 200 + index, "data": data, "annotations": []}
        path = scene.media.folder / "other" / f"{index:05d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((scene.media.folder / "toy" / f"{index:05d}.png").read_bytes())
    scene.studio.label(0)
    annotations = scene.studio.task_rows[100]["annotations"]
    scene.studio.task_rows[200]["annotations"] = annotations
    scene.studio.task_rows[100]["annotations"] = []
