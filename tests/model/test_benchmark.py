"""Labelled clips on disk: read as they are, refused in one sentence that names the file."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.benchmark import find_clips, open_labelled, read_mask
from model.clip import ClipError

DATA = Path(os.environ.get("MASKLOOP_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
SIZE = (40, 32)


@pytest.fixture
def folder(tmp_path):
    """Three frames of two classes, one pixel void."""
    clip = tmp_path / "set" / "clip"
    for part in ("frames", "masks"):
        (clip / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 255, (32, 40, 3), np.uint8)).save(
            clip / "frames" / f"{index:05d}.jpg"
        )
        mask = np.zeros((32, 40), np.uint8)
        mask[index : index + 8, 5:20] = 1
        mask[-1, -1] = 255
        Image.fromarray(mask).save(clip / "masks" / f"{index:05d}.png")
    (clip / "classes.txt").write_text("background\ncar\n")
    return clip


def test_reads(folder):
    clip = open_labelled(folder)
    assert (clip.name, clip.class_names, len(clip)) == ("set/clip", ("background", "car"), 3)
    assert clip.source.read(2).shape == (32, 40, 3)
    assert len(clip.masks) == 3
    mask = clip.masks.read(2)
    assert (mask[2, 5], mask[1, 5], mask[-1, -1], mask.dtype) == (1, 0, 255, np.uint8)


def test_the_name_does_not_depend_on_how_the_folder_is_written(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert open_labelled(".").name == "set/clip"


def test_masks_with_a_palette_are_indices(folder):
    path = folder / "masks" / "00001.png"
    mask = Image.fromarray(np.full((32, 40), 1, np.uint8), mode="P")
    mask.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    mask.save(path)
    assert (read_mask(path) == 1).all()


def test_progress_counts_the_frames(folder):
    seen = []
    open_labelled(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def remove_mask(clip):
    (clip / "masks" / "00001.png").unlink()


def change_frame_size(clip):
    Image.new("RGB", (42, 32)).save(clip / "frames" / "00002.jpg")


def change_mask_size(clip):
    Image.new("L", (40, 31)).save(clip / "masks" / "00000.png")


def unknown_class(clip):
    Image.fromarray(np.full((32, 40), 2, np.uint8)).save(clip / "masks" / "00002.png")


def colour_mask(clip):
    Image.new("RGB", SIZE).save(clip / "masks" / "00001.png")


def no_frames(clip):
    for path in (clip / "frames").iterdir():
        path.unlink()


def no_frames_folder(clip):
    no_frames(clip)
    (clip / "frames").rmdir()


def cut_frame(clip):
    path = clip / "frames" / "00001.jpg"
    path.write_bytes(path.read_bytes()[:-300])


def empty_frame(clip):
    (clip / "frames" / "00001.jpg").write_bytes(b"")


def text_frame(clip):
    (clip / "frames" / "00001.jpg").write_text("not an image")


def cut_mask(clip):
    path = clip / "masks" / "00002.png"
    path.write_bytes(path.read_bytes()[:60])


def text_mask(clip):
    (clip / "masks" / "00002.png").write_text("not an image")


def orphan_mask(clip):
    (clip / "masks" / "00007.png").write_bytes((clip / "masks" / "00001.png").read_bytes())


def no_classes(clip):
    (clip / "classes.txt").unlink()


def empty_classes(clip):
    (clip / "classes.txt").write_text("\n\n")


def gap_in_classes(clip):
    (clip / "classes.txt").write_text("background\n\ncar\n")


def class_twice(clip):
    (clip / "classes.txt").write_text("car\ncar\n")


def binary_classes(clip):
    (clip / "classes.txt").write_bytes(b"\xff\xfe\x00\xd8")


@pytest.mark.parametrize(
    ("damage", "file", "reason"),
    [
        (remove_mask, "masks/00001.png", "there is no mask for frame 00001.jpg"),
        (change_frame_size, "frames/00002.jpg", "is 42x32, but the clip's first frame is 40x32"),
        (change_mask_size, "masks/00000.png", "is 40x31, but the clip's first frame is 40x32"),
        (unknown_class, "masks/00002.png", "holds class index 2, but classes.txt names 2 classes"),
        (colour_mask, "masks/00001.png", "this is a RGB image"),
        (no_frames, "frames", "holds no image"),
        (no_frames_folder, "frames", "there is no such folder"),
        (cut_frame, "frames/00001.jpg", "cannot be read"),
        (empty_frame, "frames/00001.jpg", "is not an image"),
        (text_frame, "frames/00001.jpg", "is not an image"),
        (cut_mask, "masks/00002.png", "cannot be read"),
        (text_mask, "masks/00002.png", "is not an image"),
        (orphan_mask, "masks/00007.png", "there is no frame of this name"),
        (no_classes, "classes.txt", "there is no such file"),
        (empty_classes, "classes.txt", "names no class"),
        (gap_in_classes, "classes.txt", "line 2 is empty"),
        (class_twice, "classes.txt", "names 'car' twice"),
        (binary_classes, "classes.txt", "cannot be read as text"),
    ],
)
def test_refuses_in_one_sentence_that_names_the_file(folder, damage, file, reason):
    damage(folder)
    with pytest.raises(ClipError) as caught:
        open_labelled(folder)
    sentence = str(caught.value)
    assert sentence.startswith(f"{folder / file}: ")
    assert reason in sentence
    assert "\n" not in sentence


def test_without_the_check_a_bad_file_is_found_when_it_is_read(folder):
    text_mask(folder)
    clip = open_labelled(folder, check=False)
    with pytest.raises(ClipError, match=r"00002\.png"):
        clip.masks.read(2)
    with pytest.raises(IndexError, match="there is no mask 3"):
        clip.masks.read(3)


def test_finds_the_clips_of_a_set(folder):
    assert find_clips(folder) == [folder]
    assert find_clips(folder.parent) == [folder]
    with pytest.raises(ClipError, match="is no labelled clip"):
        find_clips(folder / "masks")
    with pytest.raises(ClipError, match="there is no such folder"):
        find_clips(folder / "nowhere")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no clips for measuring in {DATA}")
def test_real_clips_open():
    names = {path.name for path in find_clips(DATA / "davis")}
    assert {"camel", "cows"} <= names
    street = open_labelled(DATA / "camvid-15hz" / "0016E5-a")
    assert (len(street), len(street.class_names)) == (51, 11)
