"""Where frames lie; `tests/backend/test_init.py` has the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from backend.clips import identify
from backend.extraction import SourceFrames
from backend.placement import _folder_name, placing


class PlayedStudio:
    def __init__(self) -> None:
        self.folders: list[str] = []

    def add_local_files(self, project_id: int, folder: str, title: str) -> int:
        self.folders.append(folder)
        return 1


@pytest.fixture
def frames(tmp_path: Path) -> SourceFrames:
    folder = tmp_path / "root" / "a street" / "left"
    folder.mkdir(parents=True)
    for index in range(3):
        cv2.imwrite(str(folder / f"f {index}.png"), np.full((4, 4, 3), index, np.uint8))
    return SourceFrames(folder)


def put(frames: SourceFrames, root: Path, clip: str) -> tuple[list[str], list[str]]:
    studio: Any = PlayedStudio()
    return placing(studio, frames, 7, clip, root)([0, 2]), studio.folders


def test_in_place_with_odd_names(frames: SourceFrames, tmp_path: Path) -> None:
    urls, folders = put(frames, tmp_path / "root", "left")
    assert urls == [f"/data/local-files/?d=a%20street/left/f%20{i}.png" for i in (0, 2)]
    assert folders == [str(frames.folder)]
    assert identify({"image": urls[1]}).frame == 2


def test_the_root_itself_is_no_folder_that_label_studio_would_serve(
    frames: SourceFrames, tmp_path: Path
) -> None:
    root = tmp_path / "root" / "a street" / "left"
    urls, folders = put(frames, root, "left")
    assert folders == [str(root / "maskloop" / "7" / "left")]
    assert urls[0] == "/data/local-files/?d=maskloop/7/left/00000.png"


@pytest.mark.parametrize("clip", ["../../etc", "/etc", "a/b", "..", "", "träg", "a b"])
def test_a_clip_name_never_leaves_the_folder(clip: str) -> None:
    name = _folder_name(clip)
    assert "/" not in name
    assert name not in ("", ".", "..")


def test_different_clips_have_different_folders() -> None:
    names = ["a b", "a-b", "a/b", "a.b", "a-b-"]
    assert len({_folder_name(name) for name in names}) == len(names)
