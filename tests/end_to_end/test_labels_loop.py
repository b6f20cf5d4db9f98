"""The service on a live Label Studio, for the shapes of task that are not a frame each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from backend.formats import decode, encode
from backend.formats.videorectangle import box_of, decode_tracks, encode_track
from backend.labelconfig import LabelConfig, parse_label_config
from backend.local_service import LocalService
from backend.studio import Studio
from backend.studio_server import StudioServer

pytestmark = pytest.mark.end_to_end

FRAMES, HEIGHT, WIDTH = 8, 120, 160
PATIENCE = 240.0
LABELS = '<Label value="box"/><Label value="disc"/>'
ONE_BY_ONE = (
    '<Choices name="c" toName="image" perRegion="true"><Choice value="near"/>'
    '<Choice value="far"/></Choices>'
)


def squares(index: int) -> npt.NDArray[np.uint8]:
    places = np.zeros((HEIGHT, WIDTH), np.uint8)
    places[20:52, 80 - 3 * index : 112 - 3 * index] = 1
    places[70:102, 30 + 3 * index : 62 + 3 * index] = 2
    return places


def picture(index: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    frame = rng.integers(60, 100, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    texture = rng.integers(150, 250, (2, 32, 32, 3), dtype=np.uint8)
    for number in (1, 2):
        frame[squares(index) == number] = texture[number - 1].reshape(-1, 3)
    return frame


def pictures(folder: Path) -> list[Path]:
    paths = [folder / f"two_{index:04d}.png" for index in range(FRAMES)]
    for index, path in enumerate(paths):
        cv2.imwrite(str(path), picture(index))
    return paths


@pytest.fixture(scope="module")
def service(
    server: StudioServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalService]:
    settings = {
        "MASKLOOP_METHOD": "flow",
        "MASKLOOP_BUDGET": "1",
        "MASKLOOP_QUIET_SECONDS": "1",
        "MASKLOOP_CHECK_SECONDS": "5",
        "MASKLOOP_MIN_AREA": "4",
    }
    with LocalService(
        tmp_path_factory.mktemp("labels"),
        studio_url=server.url,
        api_key=server.login.api_key,
        settings=settings,
    ) as running:
        yield running


class Project:
    """A project with the service behind it."""

    def __init__(self, studio: Studio, service: LocalService, config: str) -> None:
        self.studio, self.service = studio, service
        self.config: LabelConfig = parse_label_config(config)
        self.id = studio.create_project("Shapes of tasks", config)

    def start(self, tasks: list[dict[str, Any]]) -> list[int]:
        ids = self.studio.import_tasks(self.id, tasks)
        self.studio.connect_backend(self.id, self.service.url)
        return ids

    def wait_for_round(self, number: int) -> None:
        """Wait for the round to be finished and its version to be the project's."""
        deadline = time.monotonic() + PATIENCE
        while f"-r{number}-" not in str(self.service.status(self.id).get("model_version")):
            self.service.program.check()
            if time.monotonic() > deadline:
                log = self.service.log.read_text(errors="replace")[-4000:]
                raise AssertionError(f"no round {number}: {self.service.status(self.id)}\n{log}")
            time.sleep(0.1)

    def result(self, task: int) -> list[dict[str, Any]]:
        version = self.studio.project(self.id)["model_version"]
        (found,) = [
            prediction
            for prediction in self.studio.request("GET", "/api/predictions", params={"task": task})
            if prediction["model_version"] == version
        ]
        return list(found["result"])


@pytest.fixture
def make_project(studio: Studio, service: LocalService) -> Iterator[Any]:
    made: list[Project] = []

    def make(config: str) -> Project:
        made.append(Project(studio, service, config))
        return made[-1]

    yield make
    for project in made:
        studio.delete_project(project.id)


def overlap(one: npt.NDArray[np.bool_], two: npt.NDArray[np.bool_]) -> float:
    return float((one & two).sum() / max((one | two).sum(), 1))


@pytest.mark.parametrize("tag", ["BrushLabels", "BitmaskLabels", "PolygonLabels"])
def test_a_list_of_pictures_in_a_task(tag: str, make_project: Any, tmp_path: Path) -> None:
    project = make_project(
        f'<View><Image name="image" valueList="$frames"/><{tag} name="draw" toName="image">'
        f"{LABELS}</{tag}></View>"
    )
    urls = project.studio.upload_images(project.id, pictures(tmp_path))
    (task,) = project.start([{"frames": urls, "clip": "two"}])
    project.wait_for_round(0)
    (following,) = project.service.status(project.id)["next_tasks"]
    assert following["task"] == task
    assert following["frames_first"]
    drawn = [r for i in (0, FRAMES - 1) for r in encode(squares(i), project.config, item=i)]
    project.studio.create_annotation(task, drawn)
    project.wait_for_round(1)
    for index in range(FRAMES):
        found = decode(project.result(task), project.config, (HEIGHT, WIDTH), item=index)
        assert min(overlap(found == n, squares(index) == n) for n in (1, 2)) > 0.85


def test_boxes_on_a_video(make_project: Any, tmp_path: Path) -> None:
    project = make_project(
        '<View><Video name="video" value="$video" framerate="10"/>'
        f'<Labels name="label" toName="video">{LABELS}</Labels>'
        '<VideoRectangle name="box" toName="video"/></View>'
    )
    with av.open(str(tmp_path / "two.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(index), "bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    (url,) = project.studio.upload_images(project.id, [tmp_path / "two.mp4"])
    (task,) = project.start([{"video": url}])
    project.wait_for_round(0)
    drawn = [
        encode_track(
            [(index, box_of(squares(index) == number)) for index in (0, FRAMES - 1)],  # type: ignore[misc]
            identity=f"square{number}",
            label=project.config.labels[number - 1],
            control=project.config.controls[0],
            to_name="video",
            frames=FRAMES,
            fps=10,
        )
        for number in (1, 2)
    ]
    project.studio.create_annotation(task, [region for region in drawn if region])
    project.wait_for_round(1)
    tracks = decode_tracks(project.result(task), project.config)
    assert [(track.id, track.value) for track in tracks] == [("square1", 1), ("square2", 2)]
    for track, number in zip(tracks, (1, 2), strict=True):
        for index in range(FRAMES):
            box, expected = track.box(index), box_of(squares(index) == number)
            assert box is not None
            assert expected is not None
            np.testing.assert_allclose(box, expected, atol=4)


def test_objects_keep_their_ids_from_frame_to_frame(make_project: Any, tmp_path: Path) -> None:
    project = make_project(
        '<View><Image name="image" value="$image"/><BrushLabels name="draw" toName="image">'
        f"{LABELS}</BrushLabels>{ONE_BY_ONE}</View>"
    )
    urls = project.studio.upload_images(project.id, pictures(tmp_path))
    tasks = project.start(
        [{"image": url, "clip": "two", "frame": index} for index, url in enumerate(urls)]
    )
    project.wait_for_round(0)
    channels = [("background", ""), ("box", "one"), ("box", "two")]
    project.studio.create_annotation(
        tasks[0], encode(squares(0), project.config, channels=channels)
    )
    project.wait_for_round(1)
    # A person corrects a prediction elsewhere: the ids come back with it.
    corrected = project.result(tasks[5])
    assert {region["id"] for region in corrected} == {"one", "two"}
    project.studio.create_annotation(tasks[5], corrected)
    project.wait_for_round(2)
    for index in (2, 4, 7):
        regions = {region["id"]: region for region in project.result(tasks[index])}
        assert set(regions) == {"one", "two"}
        for identity, number in (("one", 1), ("two", 2)):
            found = decode([regions[identity]], project.config, (HEIGHT, WIDTH))
            assert overlap(found == 1, squares(index) == number) > 0.8
            assert 0 < regions[identity]["score"] <= 1


def test_a_configuration_that_cannot_be_served_is_named_in_the_status(
    make_project: Any, tmp_path: Path
) -> None:
    project = make_project(
        '<View><Image name="image" value="$image"/><BrushLabels name="draw" toName="image">'
        f"{LABELS}</BrushLabels></View>"
    )
    urls = project.studio.upload_images(project.id, pictures(tmp_path)[:1])
    project.start([{"image": urls[0], "clip": "two", "frame": 0}])
    project.wait_for_round(0)
    boxes_only = (
        '<View><Image name="image" value="$image"/><RectangleLabels name="draw" toName="image">'
        f"{LABELS}</RectangleLabels></View>"
    )
    body = {"label_config": boxes_only}
    project.studio.request("PATCH", f"/api/projects/{project.id}", json=body)
    deadline = time.monotonic() + PATIENCE
    while "BrushLabels" not in " ".join(project.service.status(project.id)["problems"]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
