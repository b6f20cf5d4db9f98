"""A clip's frames where some pictures are gone, damaged, or of another size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.frames import TaskFrames
from backend.media import DamagedMediaError, MediaError
from model.clip import ClipError


class Shelf:
    """Pictures by address: all of one grey, whose value is the frame's number."""

    def __init__(self, folder: Path, frames: int) -> None:
        self.folder = folder
        self.fail: dict[str, MediaError] = {}
        self.asked: list[str] = []
        for index in range(frames):
            self.put(index, (8, 10))

    def put(self, index: int, size: tuple[int, int]) -> None:
        cv2.imwrite(str(self.folder / f"{index}.png"), np.full(size, index, np.uint8))

    def image(self, url: str, task_id: int | None = None) -> Path:
        self.asked.append(url)
        if url in self.fail:
            raise self.fail[url]
        return self.folder / url

    def forget(self, url: str, task_id: int | None = None) -> None:
        pass

    def video(self, url: str, task_id: int | None = None) -> Path:
        raise AssertionError("no video here")


def frames_of(shelf: Shelf, count: int, key_frames: tuple[int, ...] = ()) -> TaskFrames:
    return TaskFrames(shelf, [(100 + i, f"{i}.png") for i in range(count)], key_frames)


def seen(frames: TaskFrames, index: int) -> int:
    return int(frames.read(index)[0, 0, 0])


def test_the_nearest_sound_picture_stands_in(tmp_path) -> None:
    shelf = Shelf(tmp_path, 30)
    (tmp_path / "0.png").write_bytes(b"no picture")
    shelf.fail["1.png"] = DamagedMediaError("1.png isn't there (404).")
    shelf.fail["20.png"] = DamagedMediaError("20.png is empty.")
    frames = frames_of(shelf, 30)
    assert [seen(frames, index) for index in (20, 0, 1, 2, 29)] == [19, 2, 2, 2, 29]
    assert sorted(frames.unreadable) == [0, 1, 20]
    assert "task 100" in frames.unreadable[0]
    asked = len(shelf.asked)
    assert seen(frames, 1) == 2
    assert shelf.asked[asked:] == ["2.png"]  # what is known to be gone is not asked for again


def test_of_many_missing_pictures_none_is_stood_in_for(tmp_path) -> None:
    shelf = Shelf(tmp_path, 20)
    for index in (3, 4, 5):
        shelf.fail[f"{index}.png"] = DamagedMediaError(f"{index}.png isn't there (404).")
    frames = frames_of(shelf, 20)
    assert seen(frames, 3) == 2
    with pytest.raises(DamagedMediaError, match=r"5\.png"):
        frames.read(4)


@pytest.mark.parametrize("count", [1, 4])
def test_of_a_short_clip_one_picture_may_be_missing(tmp_path, count: int) -> None:
    shelf = Shelf(tmp_path, count)
    shelf.fail["0.png"] = DamagedMediaError("0.png isn't there (404).")
    frames = frames_of(shelf, count)
    if count == 1:
        with pytest.raises(ClipError, match="none of the clip's pictures"):
            frames.read(0)
    else:
        assert seen(frames, 0) == 1


def test_nothing_stands_in_for_a_labelled_picture(tmp_path) -> None:
    shelf = Shelf(tmp_path, 20)
    shelf.fail["7.png"] = DamagedMediaError("7.png isn't there (404).")
    frames = frames_of(shelf, 20, key_frames=(7,))
    with pytest.raises(DamagedMediaError, match="404"):
        frames.read(7)
    assert frames.unreadable == {}


def test_what_may_be_had_later_is_an_error(tmp_path) -> None:
    shelf = Shelf(tmp_path, 20)
    shelf.fail["7.png"] = MediaError("7.png did not answer within 30 s.")
    frames = frames_of(shelf, 20)
    with pytest.raises(MediaError, match="did not answer"):
        frames.read(7)
    del shelf.fail["7.png"]
    assert seen(frames, 7) == 7


def test_a_picture_of_another_size_is_an_error(tmp_path) -> None:
    shelf = Shelf(tmp_path, 20)
    shelf.put(7, (8, 9))
    frames = frames_of(shelf, 20)
    frames.read(0)
    with pytest.raises(ClipError, match=r"task 107 is 9×8 pixels.*task 100 10×8"):
        frames.read(7)
