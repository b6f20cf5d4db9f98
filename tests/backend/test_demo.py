"""What the demo decides by itself; tests/end_to_end runs it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from backend.children import ChildError
from backend.demo import _has_masks, _only_one, _write_frames, demo
from backend.init import InitError
from model.clip import FolderClip
from model.synthetic import render_clip

CONSOLE = Console(file=io.StringIO())


@pytest.mark.parametrize("half", [{"video": Path("a.mp4")}, {"labels": "car"}])
def test_a_clip_needs_labels_and_labels_a_clip(tmp_path: Path, half: dict[str, Any]) -> None:
    with pytest.raises(InitError, match="VIDEO="):
        demo(tmp_path / "demo", console=CONSOLE, **half)
    assert not (tmp_path / "demo").exists()


def test_one_demo_in_a_folder(tmp_path: Path) -> None:
    with _only_one(tmp_path), pytest.raises(ChildError, match=str(tmp_path)), _only_one(tmp_path):
        pass
    with _only_one(tmp_path):
        pass


def test_frames_are_written_once(tmp_path: Path) -> None:
    clip = render_clip(5, (64, 48))
    _write_frames(clip, tmp_path, CONSOLE)
    (tmp_path / "00003.png").unlink()
    kept = (tmp_path / "00001.png").stat().st_mtime_ns
    _write_frames(clip, tmp_path, CONSOLE)
    assert (tmp_path / "00001.png").stat().st_mtime_ns == kept
    written = FolderClip(tmp_path)
    assert len(written) == 5
    assert all((written.read(i) == clip.read(i)).all() for i in range(5))


@pytest.mark.parametrize(
    ("status", "reached"),
    [
        ({}, False),
        ({"rounds": [{"state": "done", "labels": 0}], "round": None}, False),
        ({"rounds": [{"state": "failed", "labels": 3}], "round": None}, False),
        ({"rounds": [{"state": "done", "labels": 3}], "round": {"number": 2}}, False),
        ({"rounds": [{"state": "done", "labels": 3}], "round": None}, True),
    ],
)
def test_when_there_are_masks(status: dict[str, Any], reached: bool) -> None:
    assert _has_masks(status) is reached
