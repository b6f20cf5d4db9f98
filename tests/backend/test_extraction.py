from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.extraction import SourceFrames, choose_frames
from model.clip import ClipError, read_image


def picture(value: int) -> np.ndarray:
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, : 4 + 4 * value] = (200, 60, 20)
    return image


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames at 5 a second; each shows a bar as wide as its number."""
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def bar(image: np.ndarray) -> int:
    return round((float((image[..., 0] > 100).mean()) * 48 - 4) / 4)


class TestChooseFrames:
    @given(
        steps=st.lists(st.floats(0.001, 5), min_size=1, max_size=60),
        fps=st.floats(0.01, 1000),
    )
    def test_any_video_any_rate(self, steps: list[float], fps: float) -> None:
        times = np.cumsum(steps)
        chosen = choose_frames(times, fps)
        assert chosen[0] == 0
        assert (np.diff(chosen) > 0).all()
        assert chosen[-1] < len(times)
        # Never more than the rate says, and each beat has a frame that no other is nearer to.
        assert len(chosen) <= (times[-1] - times[0]) * fps + 1 + 1e-3
        for beat in times[0] + np.arange(len(chosen)) / fps:
            if beat <= times[-1]:
                nearest = np.abs(times - beat).min()
                assert np.abs(times[chosen] - beat).min() == pytest.approx(nearest, abs=1e-9)

    def test_regular_video(self) -> None:
        times = np.arange(30) / 30
        assert choose_frames(times, 10).tolist() == list(range(0, 30, 3))
        assert choose_frames(times, 30).tolist() == list(range(30))
        assert choose_frames(times, 300).tolist() == list(range(30))
        assert choose_frames(times, None).tolist() == list(range(30))
        assert choose_frames(times, 0.1).tolist() == [0]

    def test_gaps_are_followed(self) -> None:
        assert choose_frames(np.array([0.0, 0.1, 2.0, 2.1]), 1.0).tolist() == [0, 1, 2]

    def test_one_frame(self) -> None:
        assert choose_frames(np.array([3.0]), 5).tolist() == [0]

    @pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
    def test_no_rate(self, fps: float) -> None:
        with pytest.raises(ValueError, match="above 0"):
            choose_frames(np.arange(3.0), fps)


class TestSourceFrames:
    def test_video(self, video: Path, tmp_path: Path) -> None:
        frames = SourceFrames(video, fps=2.5)
        assert len(frames) == 5
        assert frames.times is not None
        assert frames.times == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
        assert frames.folder is None
        paths = [frames.write(position, tmp_path) for position in range(5)]
        assert [path.name for path in paths] == [f"{index:05d}.jpg" for index in range(5)]
        assert [bar(read_image(path)) for path in paths] == [0, 2, 4, 6, 8]

    def test_png_loses_nothing(self, video: Path, tmp_path: Path) -> None:
        from model.clip import open_clip

        path = SourceFrames(video, image_format="png").write(7, tmp_path)
        assert path.name == "00007.png"
        assert (read_image(path) == open_clip(video).read(7)).all()

    def test_folder_is_taken_as_it_is_in_natural_order(self, tmp_path: Path) -> None:
        folder = tmp_path / "clip"
        folder.mkdir()
        for index in (10, 9, 1):
            cv2.imwrite(str(folder / f"{index}.JPG"), picture(index % 8))
        frames = SourceFrames(folder)
        assert frames.folder == folder
        assert frames.times is None
        assert [frames.path(position) for position in range(3)] == [
            folder / "1.JPG",
            folder / "9.JPG",
            folder / "10.JPG",
        ]
        copy = frames.write(2, tmp_path)
        assert copy.name == "00002.jpg"
        assert copy.read_bytes() == (folder / "10.JPG").read_bytes()

    def test_what_a_browser_cannot_show_is_converted(self, tmp_path: Path) -> None:
        folder = tmp_path / "clip"
        folder.mkdir()
        cv2.imwrite(str(folder / "1.tif"), picture(1)[..., ::-1])
        cv2.imwrite(str(folder / "2.png"), picture(2))
        frames = SourceFrames(folder, image_format="png")
        assert frames.folder is None
        assert frames.path(0) is None
        path = frames.write(0, tmp_path)
        assert path.name == "00000.png"
        assert (read_image(path) == picture(1)).all()

    def test_no_half_written_file_is_left_in_place(
        self, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        frames = SourceFrames(video)

        def full(*_: object) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="no space"):
            frames.write(0, tmp_path)
        assert not (tmp_path / "00000.jpg").exists()

    def test_refusals(self, tmp_path: Path, video: Path) -> None:
        with pytest.raises(ClipError, match="nothing"):
            SourceFrames(tmp_path / "nothing.mp4")
        with pytest.raises(ValueError, match="jpg and png"):
            SourceFrames(video, image_format="gif")
        cv2.imwrite(str(tmp_path / "1.png"), picture(1))
        with pytest.raises(ClipError, match="--fps"):
            SourceFrames(tmp_path, fps=2)
