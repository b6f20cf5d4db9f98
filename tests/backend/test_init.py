"""Logic of `maskloop init`, with a played Label Studio; tests/end_to_end has the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from backend.init import BackendAddress, InitError, SampleWish, init, split_labels
from backend.labelconfig import parse_label_config
from backend.studio import StudioError
from model.clip import ClipError, read_image

BACKEND = BackendAddress("http://127.0.0.1:9090")


class PlayedStudio:
    """What `init` needs of Label Studio, in memory."""

    url = "http://studio"

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.data: dict[int, list[dict[str, Any]]] = {}
        self.calls: list[str] = []
        self.storages: list[str] = []
        self.uploads: list[np.ndarray] = []
        self.fail_at: str | None = None

    def _note(self, call: str) -> None:
        if call == self.fail_at:
            raise StudioError(f"no {call} today")
        self.calls.append(call)

    def projects(self, title: str) -> list[dict[str, Any]]:
        return [row for row in self.rows.values() if title.lower() in row["title"].lower()]

    def project(self, project_id: int) -> dict[str, Any]:
        if project_id not in self.rows:
            raise StudioError(f"no project {project_id}", status=404)
        return self.rows[project_id]

    def create_project(self, title: str, label_config: str, **fields: Any) -> int:
        self._note("create")
        number = len(self.rows) + 1
        self.rows[number] = {"id": number, "title": title, "label_config": label_config}
        self.data[number] = []
        return number

    def set_sampling(self, project_id: int) -> None:
        self._note("sampling")

    def ensure_ranked_tab(self, project_id: int) -> int:
        self._note("tab")
        return 1

    def connect_backend(self, project_id: int, url: str, *, username: str, password: str) -> int:
        self._note("connect")
        return 1

    def tasks(self, project_id: int) -> list[dict[str, Any]]:
        return [{"id": i, "data": data} for i, data in enumerate(self.data[project_id], 1)]

    def upload_images(self, project_id: int, paths: list[Path]) -> list[str]:
        self._note("upload")
        self.uploads += [read_image(path) for path in paths]
        return [f"/data/upload/{project_id}/{path.name}" for path in paths]

    def add_local_files(self, project_id: int, folder: str, title: str) -> int:
        self._note("storage")
        self.storages.append(folder)
        return 1

    def import_tasks(self, project_id: int, tasks: list[dict[str, Any]]) -> list[int]:
        self._note("import")
        self.data[project_id] += tasks
        return list(range(len(tasks)))


@pytest.fixture
def studio() -> PlayedStudio:
    return PlayedStudio()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "street"
    folder.mkdir()
    for index in range(7):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((6, 8, 3), 30 * index, np.uint8))
    return folder


def run(studio: PlayedStudio, source: Path, **options: Any) -> Any:
    options = {"labels": ["car", "road"], "backend": BACKEND, **options}
    return init(studio, source, **options)  # type: ignore[arg-type]


class TestNewProject:
    def test_a_folder_becomes_a_project(self, studio: PlayedStudio, folder: Path) -> None:
        result = run(studio, folder)
        assert (result.project_id, result.clip, result.added) == (1, "street", 7)
        assert result.url == "http://studio/projects/1/data"
        row = studio.rows[1]
        assert row["title"] == "street"
        config = parse_label_config(row["label_config"])
        assert config.labels == ("car", "road")
        assert len(set(config.colors)) == 2
        assert [(task["clip"], task["frame"]) for task in studio.data[1]] == [
            ("street", index) for index in range(7)
        ]
        assert [int(image[0, 0, 0]) for image in studio.uploads] == [30 * i for i in range(7)]
        # The order is set before anyone can look, and one bell rings when all frames are there.
        assert studio.calls == ["create", "sampling", "tab", "connect", "upload", "import"]

    def test_frames_are_put_part_by_part(
        self, studio: PlayedStudio, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backend.init._PART", 3)
        run(studio, folder)
        assert studio.calls.count("upload") == 3
        assert studio.calls.count("import") == 1
        assert [task["frame"] for task in studio.data[1]] == list(range(7))

    def test_a_title_that_is_taken(self, studio: PlayedStudio, folder: Path) -> None:
        studio.create_project("street", '<View><Image name="i" value="$image"/></View>')
        with pytest.raises(InitError, match="--project 1"):
            run(studio, folder)
        assert studio.data[1] == []

    @pytest.mark.parametrize("title", ["ab", "x" * 51])
    def test_a_title_of_the_wrong_length(
        self, studio: PlayedStudio, folder: Path, title: str
    ) -> None:
        with pytest.raises(InitError, match="3 to 50"):
            run(studio, folder, title=title)

    def test_no_labels(self, studio: PlayedStudio, folder: Path) -> None:
        with pytest.raises(InitError, match="--labels"):
            run(studio, folder, labels=[])
        assert studio.calls == []

    def test_a_source_that_cannot_be_read_leaves_nothing(
        self, studio: PlayedStudio, tmp_path: Path
    ) -> None:
        with pytest.raises(ClipError):
            run(studio, tmp_path / "nothing.mp4")
        assert studio.calls == []


class TestSamples:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "street"
        folder.mkdir()
        cv2.imwrite(str(folder / "0.png"), np.zeros((96, 128, 3), np.uint8))
        return folder

    @pytest.mark.parametrize(
        ("wish", "asked"),
        [
            (SampleWish("rectangles"), "rectangle:16 8"),
            (SampleWish("superpixels", 12, 20), "superpixel:12 20"),
        ],
    )
    def test_the_project_says_what_it_asks_for(
        self, studio: PlayedStudio, folder: Path, wish: SampleWish, asked: str
    ) -> None:
        result = run(studio, folder, samples=wish)
        config = parse_label_config(studio.rows[1]["label_config"])
        assert str(config.queries) == asked
        assert config.class_names == ("background", "car", "road")
        assert any("Once it has masks it asks for" in line for line in result.done)
        # Again, the same and without a word on samples: the project is found.
        assert run(studio, folder, samples=wish).added == 0
        assert run(studio, folder).added == 0

    def test_frames_need_no_layer(self, studio: PlayedStudio, folder: Path) -> None:
        run(studio, folder, samples=SampleWish("frames"))
        assert parse_label_config(studio.rows[1]["label_config"]).queries is None

    def test_a_project_that_asks_for_something_else(
        self, studio: PlayedStudio, folder: Path
    ) -> None:
        run(studio, folder)
        with pytest.raises(InitError, match="asks for frames, not for rectangle:16 8"):
            run(studio, folder, samples=SampleWish("rectangles"))
        with pytest.raises(InitError, match="asks for frames"):
            run(studio, folder, project_id=1, clip="b", samples=SampleWish("superpixels"))

    def test_what_there_is_not(self, studio: PlayedStudio, folder: Path) -> None:
        with pytest.raises(InitError, match="frames, rectangles or superpixels"):
            run(studio, folder, samples=SampleWish("pixels"))
        with pytest.raises(InitError, match="4 to 96 pixels"):
            run(studio, folder, samples=SampleWish("rectangles", 97))
        assert studio.calls == []


class TestAgain:
    @pytest.mark.parametrize("step", ["sampling", "connect", "upload", "import"])
    def test_after_a_failure_it_goes_on(
        self, studio: PlayedStudio, folder: Path, step: str
    ) -> None:
        studio.fail_at = step
        with pytest.raises(StudioError):
            run(studio, folder)
        studio.fail_at = None
        result = run(studio, folder)
        assert len(studio.rows) == 1
        assert [task["frame"] for task in studio.data[1]] == list(range(7))
        assert any("Found project 1" in line for line in result.done)

    def test_nothing_is_added_twice(self, studio: PlayedStudio, folder: Path) -> None:
        run(studio, folder)
        del studio.data[1][2:4]
        result = run(studio, folder)
        assert (result.added, result.frames) == (2, 7)
        assert sorted(task["frame"] for task in studio.data[1]) == list(range(7))
        assert run(studio, folder).added == 0
        assert studio.calls.count("import") == 2

    def test_a_second_clip(self, studio: PlayedStudio, folder: Path) -> None:
        run(studio, folder)
        result = run(studio, folder, project_id=1, clip="street again", labels=[])
        assert result.added == 7
        assert {task["clip"] for task in studio.data[1]} == {"street", "street again"}
        assert len(studio.rows) == 1

    def test_another_clip_of_the_same_name(self, studio: PlayedStudio, folder: Path) -> None:
        run(studio, folder)
        (folder / "6.png").unlink()
        with pytest.raises(InitError, match="--clip"):
            run(studio, folder)

    def test_a_video_at_another_rate_is_not_mixed_into_the_clip(
        self, studio: PlayedStudio, tmp_path: Path
    ) -> None:
        video = tmp_path / "street.mp4"
        with av.open(str(video), "w") as file:
            stream = file.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for index in range(20):
                pixels = np.full((48, 64, 3), 10 * index, np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            file.mux(stream.encode(None))
        run(studio, video, fps=5)
        del studio.data[1][3]
        with pytest.raises(InitError, match=r"frame 1 .* 0\.2 s .* 0\.1 s.*--fps.*--clip"):
            run(studio, video)
        assert run(studio, video, fps=5).added == 1

    def test_other_labels_than_the_project_has(self, studio: PlayedStudio, folder: Path) -> None:
        run(studio, folder)
        with pytest.raises(InitError, match="other labels"):
            run(studio, folder, project_id=1, clip="b", labels=["dog"])

    def test_a_project_that_is_not_there(self, studio: PlayedStudio, folder: Path) -> None:
        with pytest.raises(StudioError, match="7"):
            run(studio, folder, project_id=7)


class TestLocalFiles:
    def test_images_below_the_root_stay_where_they_are(
        self, studio: PlayedStudio, folder: Path
    ) -> None:
        run(studio, folder, document_root=folder.parent)
        assert studio.storages == [str(folder)]
        assert studio.data[1][3]["image"] == "/data/local-files/?d=street/3.png"
        assert "upload" not in studio.calls

    def test_other_images_are_copied_below_it(
        self, studio: PlayedStudio, folder: Path, tmp_path: Path
    ) -> None:
        root = tmp_path / "root"
        run(studio, folder, document_root=root, clip="a b/c")
        (place,) = studio.storages
        assert root in Path(place).parents
        url = studio.data[1][3]["image"]
        assert url.startswith("/data/local-files/?d=maskloop/1/")
        assert (read_image(root / url.partition("?d=")[2]) == 90).all()
        run(studio, folder, document_root=root, clip="a-b/c", project_id=1)
        assert len(set(studio.storages)) == 2


class TestLabels:
    def test_split(self) -> None:
        assert split_labels(" car, road ,,traffic light,") == ["car", "road", "traffic light"]

    @pytest.mark.parametrize("text", ["", " , ", "car,road,car", "Background"])
    def test_refused(self, text: str) -> None:
        with pytest.raises(InitError):
            split_labels(text)


class TestSource:
    def test_images_of_two_sizes_are_refused_before_anything_is_made(
        self, studio: PlayedStudio, folder: Path
    ) -> None:
        cv2.imwrite(str(folder / "3.png"), np.zeros((5, 8, 3), np.uint8))
        with pytest.raises(ClipError, match=r"3\.png is 8x5 pixels, and 0\.png 8x6.*another clip"):
            run(studio, folder)
        assert studio.calls == []

    @pytest.mark.parametrize(
        ("content", "said"), [(b"", "the file is empty"), (b"\x89PNG?", "it may be damaged")]
    )
    def test_an_image_that_cannot_be_read_is_refused_before_anything_is_made(
        self, studio: PlayedStudio, folder: Path, content: bytes, said: str
    ) -> None:
        (folder / "3.png").write_bytes(content)
        with pytest.raises(ClipError, match=rf"3\.png: .*{said}"):
            run(studio, folder)
        assert studio.calls == []

    def test_an_address_without_a_scheme_is_refused(
        self, studio: PlayedStudio, folder: Path
    ) -> None:
        with pytest.raises(InitError, match=r"'localhost:9090'; expected .*http://"):
            run(studio, folder, backend=BackendAddress("localhost:9090"))
        assert studio.calls == []
