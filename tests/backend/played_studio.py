"""A Label Studio of a few lines, for what the real one can't be made to do at will.

It keeps the rules that matter: predictions are counted, a version without any is refused, and it
can fail at a chosen call. tests/end_to_end runs against the real one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.formats import encode
from backend.labelconfig import make_label_config, parse_label_config
from backend.media import bare_url
from backend.studio import StudioError
from model.synthetic import RenderedClip


class PlayedStudio:
    """One project whose tasks are the frames of a rendered clip."""

    def __init__(self, clip: RenderedClip, folder: Path, name: str = "toy") -> None:
        self.clip = clip
        self.folder = folder
        self.config = make_label_config(clip.class_names[1:])
        self.task_rows: dict[int, dict[str, Any]] = {
            100 + index: {
                "id": 100 + index,
                "data": {"image": f"{name}/{index:05d}.png", "clip": name, "frame": index},
                "annotations": [],
            }
            for index in range(len(clip))
        }
        self.stored: dict[tuple[str, int], dict[str, Any]] = {}
        self.version: str | None = None
        self.calls: Counter[str] = Counter()
        self.fail: dict[str, StudioError] = {}

    def label(self, index: int) -> None:
        """Label a frame with its exact mask, as a person would."""
        result = encode(self.clip.mask(index), parse_label_config(self.config))
        row = self.task_rows[100 + index]
        row["annotations"] = [{"id": index, "result": result, "was_cancelled": False}]

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        if name in self.fail:
            raise self.fail.pop(name)

    def project(self, project_id: int) -> dict[str, Any]:
        self._call("project")
        return {"title": "Toys", "label_config": self.config}

    def fingerprint(self, project_id: int) -> str:
        return repr(self.task_rows)

    def tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        self._call("tasks")
        yield from list(self.task_rows.values())

    def import_predictions(self, project_id: int, items: Sequence[Mapping[str, Any]]) -> int:
        self._call("import_predictions")
        missing = [item["task"] for item in items if item["task"] not in self.task_rows]
        if missing:
            raise StudioError("tasks are gone", status=400, tasks=missing)
        for item in items:
            key = (item["model_version"], item["task"])
            assert key not in self.stored, "published twice"
            self.stored[key] = dict(item)
        return len(items)

    def model_versions(self, project_id: int) -> dict[str, int]:
        return dict(Counter(version for version, _ in self.stored))

    def set_model_version(self, project_id: int, version: str) -> None:
        self._call("set_model_version")
        if version not in self.model_versions(project_id):
            raise StudioError("no such version", status=400)
        self.version = version

    def delete_model_version(self, project_id: int, version: str) -> int:
        self._call("delete_model_version")
        assert version != self.version, "the version that is shown was deleted"
        gone = [key for key in self.stored if key[0] == version]
        for key in gone:
            del self.stored[key]
        return len(gone)

    def set_sampling(self, project_id: int) -> None:
        self._call("set_sampling")

    def ensure_ranked_tab(self, project_id: int) -> int:
        self._call("ensure_ranked_tab")
        return 1

    def write_field(self, project_id: int, field: str, texts: Mapping[int, str]) -> None:
        self._call("write_field")
        for task, text in texts.items():
            if task in self.task_rows:
                self.task_rows[task]["data"][field] = text

    def order(self) -> list[int]:
        """Tasks by rising score of the shown version, as the label stream serves them."""
        shown = [item for (version, _), item in self.stored.items() if version == self.version]
        return [item["task"] for item in sorted(shown, key=lambda item: item["score"])]

    def prediction(self, index: int) -> dict[str, Any]:
        """The shown prediction of a frame."""
        assert self.version is not None
        return self.stored[(self.version, 100 + index)]


class Folder:
    """Pictures of the rendered clip on disk, in place of the media cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def image(self, url: str, task_id: int | None = None) -> Path:
        return self.folder / bare_url(url)

    def forget(self, url: str, task_id: int | None = None) -> None:
        """Nothing is kept."""
