import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import clip as clip_module
from model.clip import (
    ClipError,
    FolderClip,
    FrameSource,
    ListClip,
    VideoClip,
    _natural_key,
    open_clip,
    read_image,
)

FRAMES = 40


def _frame(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A grey frame whose brightness tells its index, with a red patch at the top left."""
    image = np.full((height, width, 3), 30 + 5 * index, np.uint8)
    image[:16, :16] = (220, 10, 10)
    return image


def _index_of(image: np.ndarray) -> int:
    return round((float(image[24:, 32:].mean()) - 30) / 5)


def _write_video(
    path: Path, *, codec: str = "libx264", gop: int = 12, frames: int = FRAMES
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = gop
        if codec == "libx264":
            stream.options = {"bf": "2", "crf": "5"}
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(_frame(index), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return _write_video(tmp_path_factory.mktemp("video") / "clip.mp4")


@pytest.fixture
def folder(tmp_path) -> Path:
    for index in (10, 9, 1, 2):
        cv2.imwrite(str(tmp_path / f"frame_{index}.png"), _frame(index)[..., ::-1])
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / ".hidden.png").write_bytes(b"")
    return tmp_path


def test_an_image_is_rgb(folder):
    image = read_image(folder / "frame_1.png")
    np.testing.assert_array_equal(image, _frame(1))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "is empty"), (b"not an image", "not an image")],
)
def test_an_unreadable_image_is_named_with_the_reason(tmp_path, content, message):
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ClipError, match=rf"broken\.png.*{message}"):
        read_image(path)


def test_a_folder_that_is_named_like_an_image(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(ClipError, match=r"x\.png.*cannot be read"):
        read_image(tmp_path / "x.png")


def test_a_folder_is_read_in_natural_order(folder):
    clip = FolderClip(folder)
    assert isinstance(clip, FrameSource)
    assert [_index_of(clip.read(i)) for i in range(len(clip))] == [1, 2, 9, 10]


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1))
def test_numbers_in_names_order_by_value(numbers):
    names = sorted((Path(f"clip2_{number}.jpg") for number in numbers), key=_natural_key)
    assert [int(name.stem.split("_")[1]) for name in names] == sorted(numbers)


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), unique=True))
def test_any_names_have_one_order(names):
    paths = [Path(name + ".png") for name in names]
    assert sorted(paths, key=_natural_key) == sorted(set(paths), key=_natural_key)


def test_a_list_keeps_its_order(folder):
    clip = ListClip([folder / "frame_9.png", folder / "frame_2.png"])
    assert [_index_of(clip.read(i)) for i in range(2)] == [9, 2]


@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_outside_the_clip_is_refused(folder, index):
    with pytest.raises(IndexError, match=f"no frame {index}; frames are 0 to 3"):
        FolderClip(folder).read(index)


def test_an_empty_folder_and_list_are_refused(tmp_path):
    with pytest.raises(ClipError, match="holds no image"):
        FolderClip(tmp_path)
    with pytest.raises(ClipError, match="is not a folder"):
        FolderClip(tmp_path / "missing")
    with pytest.raises(ClipError, match="at least one frame"):
        ListClip([])


def test_a_video_in_order(video):
    clip = VideoClip(video)
    assert isinstance(clip, FrameSource)
    assert len(clip) == FRAMES
    assert clip.fps == pytest.approx(20)
    np.testing.assert_allclose(np.diff(clip.timestamps), 0.05, atol=1e-6)
    assert [_index_of(clip.read(i)) for i in range(FRAMES)] == list(range(FRAMES))
    image = clip.read(0)
    assert image.shape == (48, 64, 3)
    assert image[4, 4, 0] > 150 > 100 > image[4, 4, 2]


@pytest.mark.parametrize("cache", [1, 2**26])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
def test_an_index_means_the_same_picture_in_any_order(tmp_path, monkeypatch, suffix, cache):
    monkeypatch.setattr(clip_module, "_CACHE_BYTES", cache)
    codec = "mjpeg" if suffix == ".avi" else "libx264"
    clip = VideoClip(_write_video(tmp_path / f"clip{suffix}", codec=codec))
    assert len(clip) == FRAMES
    backwards = range(FRAMES - 1, -1, -1)
    random = np.random.default_rng(0).permutation(FRAMES).tolist()
    for index in [*backwards, *random, 7, 7, 8]:
        assert _index_of(clip.read(index)) == index


def test_a_closed_clip_opens_again(video):
    clip = VideoClip(video)
    clip.read(5)
    clip.close()
    assert _index_of(clip.read(30)) == 30


def test_rotation_in_the_file_is_applied(video, tmp_path):
    data = bytearray(video.read_bytes())
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    place = data.index(upright, data.index(b"tkhd"))
    # The picture is to be shown turned a quarter clockwise, as phones write it.
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[place : place + len(turned)] = turned
    path = tmp_path / "phone.mp4"
    path.write_bytes(data)
    image = VideoClip(path).read(3)
    assert image.shape == (64, 48, 3)
    assert image[4, -4, 0] > 150 > 100 > image[4, -4, 2]


def test_a_truncated_video_is_named(video, tmp_path):
    path = tmp_path / "half.mp4"
    path.write_bytes(video.read_bytes()[:800])
    with pytest.raises(ClipError, match=r"half\.mp4"):
        VideoClip(path)


def test_a_damaged_video_gives_its_good_frames_and_names_itself(tmp_path):
    path = _write_video(tmp_path / "clip.mp4", gop=10)
    data = bytearray(path.read_bytes())
    box = data.index(b"mdat") - 4
    middle = box + int.from_bytes(data[box : box + 4], "big") // 2
    data[middle : middle + 60] = bytes(60)
    path.write_bytes(data)
    clip = VideoClip(path)
    assert _index_of(clip.read(0)) == 0
    readable = 0
    for index in range(len(clip)):
        try:
            assert clip.read(index).shape == (48, 64, 3)
            readable += 1
        except ClipError as error:
            message = str(error)
            assert message.startswith(f"{path}: frame {index} ")
    assert readable >= FRAMES // 2


def test_sound_alone_is_no_clip(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        for packet in [*stream.encode(sound), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(ClipError, match=r"sound\.wav: holds no video"):
        VideoClip(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "no such file"),
        ("text.mp4", b"hello", "not a video that can be read"),
        ("empty.mp4", b"", "not a video that can be read"),
        ("broken.png", b"hello", "not an image"),
    ],
)
def test_open_clip_says_what_is_wrong(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ClipError, match=rf"{name}.*{message}"):
        open_clip(path)


def test_open_clip_picks(video, folder):
    assert isinstance(open_clip(video), VideoClip)
    assert isinstance(open_clip(folder), FolderClip)
    image = open_clip(folder / "frame_9.png")
    assert len(image) == 1
    assert _index_of(image.read(0)) == 9


def test_several_threads_read_one_video(video):
    clip = VideoClip(video)
    order = [*range(len(clip)), *reversed(range(len(clip)))]
    with ThreadPoolExecutor(3) as pool:
        assert [_index_of(image) for image in pool.map(clip.read, order)] == order
    clip.close()


_READ_TOGETHER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from model.clip import VideoClip

for _ in range(40):
    clip = VideoClip(sys.argv[1])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(clip.read, [0, 0, 0, 0, 1, 1, 1, 1] * 4))
    clip.close()
"""


_CLOSE_MEANWHILE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from model.clip import VideoClip

clip = VideoClip(sys.argv[1])
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda n: clip.read(7 * n % 40) if n % 5 else clip.close(), range(600)))
clip.close()
"""


@pytest.mark.parametrize("code", [_READ_TOGETHER, _CLOSE_MEANWHILE], ids=["read", "close"])
def test_several_threads_share_a_video(video, code):
    """Two conversions of one decoded frame at once, or closing meanwhile, took the process down."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(video)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
