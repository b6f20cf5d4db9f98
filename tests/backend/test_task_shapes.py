"""Rounds over every shape of task, with the real model on made-up pictures; Label Studio is played.

Two squares move apart over a quiet ground, so that a mask's place is known in every frame.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from backend.artifacts import Artifacts
from backend.formats import decode, encode
from backend.formats.videorectangle import box_of, decode_tracks, encode_track
from backend.labelconfig import LabelConfig, make_label_config, parse_label_config
from backend.rounds import NothingToServeError, RoundRunner, make_version
from backend.settings import load_settings
from backend.status import status_of
from backend.store import Store
from backend.tables import Round
from model.synthetic import render_clip
from tests.backend.played_studio import Folder, PlayedStudio

FRAMES, HEIGHT, WIDTH = 6, 64, 96
LABELS = '<Label value="box"/><Label value="disc"/>'
BRUSH = f'<BrushLabels name="b" toName="i">{LABELS}</BrushLabels>'
LIST = f'<View><Image name="i" valueList="$frames"/>{BRUSH}</View>'
VIDEO = (
    f'<View><Video name="v" value="$video" framerate="10"/><Labels name="l" toName="v">{LABELS}'
    '</Labels><VideoRectangle name="r" toName="v"/></View>'
)


def squares(index: int) -> npt.NDArray[np.uint8]:
    """Which square is where: 1 moves to the left, 2 to the right."""
    places = np.zeros((HEIGHT, WIDTH), np.uint8)
    places[10:26, 40 - 2 * index : 56 - 2 * index] = 1
    places[36:52, 20 + 2 * index : 36 + 2 * index] = 2
    return places


def picture(index: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    frame = rng.integers(60, 100, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    texture = rng.integers(150, 250, (2, 16, 16, 3), dtype=np.uint8)
    for number in (1, 2):
        frame[squares(index) == number] = texture[number - 1].reshape(-1, 3)
    return frame


class World:
    """A project whose tasks the test writes."""

    def __init__(self, folder: Path, config: str, **settings: object) -> None:
        for index in range(FRAMES):
            cv2.imwrite(str(folder / f"{index}.png"), picture(index))
        chosen = {"method": "flow", "budget": 2, "min_area": 0, **settings}
        self.settings = load_settings(model_dir=folder / "state", **chosen)
        self.store = Store(self.settings.resolved_database_url)
        self.studio = PlayedStudio(render_clip(1, (32, 32), seed=0), folder)
        self.studio.config = config
        self.studio.task_rows = {}
        self.media = Videos(folder)
        self.store.ring(1)

    @property
    def config(self) -> LabelConfig:
        return parse_label_config(self.studio.config)

    def task(self, number: int, **data: Any) -> None:
        self.studio.task_rows[number] = {"id": number, "data": data, "annotations": []}

    def frame_tasks(self, **data: Any) -> None:
        for index in range(FRAMES):
            self.task(index, image=f"{index}.png", clip="c", frame=index, **data)

    def label(self, number: int, result: list[dict[str, Any]]) -> None:
        annotation = {"id": 1, "result": result, "was_cancelled": False}
        self.studio.task_rows[number]["annotations"] = [annotation]

    def round(self) -> Round:
        row = self.store.start_round(1, make_version(1), "me")
        runner = RoundRunner(
            self.store,
            Artifacts(self.settings.model_dir / "projects"),
            self.studio,  # type: ignore[arg-type]
            self.media,  # type: ignore[arg-type]
            self.settings,
        )
        runner.run(row)
        done = self.store.round(row.id)
        assert done is not None
        return done

    def result(self, number: int) -> list[dict[str, Any]]:
        assert self.studio.version is not None
        return list(self.studio.stored[(self.studio.version, number)]["result"])

    @property
    def problems(self) -> str:
        project = self.store.project(1)
        return " ".join([*project.problems, project.error or ""]) if project else ""


class Videos(Folder):
    def video(self, url: str, task_id: int | None = None) -> Path:
        return self.folder / url


@pytest.fixture
def make_world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    worlds: list[World] = []

    def make(config: str, **settings: object) -> World:
        worlds.append(World(tmp_path, config, **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.store.close()


def overlap(one: npt.NDArray[np.bool_], two: npt.NDArray[np.bool_]) -> float:
    return float((one & two).sum() / max((one | two).sum(), 1))


# A clip per task --------------------------------------------------------------------------------


def test_a_list_of_pictures_is_a_clip(make_world) -> None:
    world = make_world(LIST)
    world.task(7, frames=[f"{index}.png" for index in range(FRAMES)], clip="c")
    world.round()
    assert world.result(7) == []
    (status,) = status_of(world.store, world.settings)["projects"]
    (following,) = status["next_tasks"]
    assert following["task"] == 7
    assert len(set(following["frames_first"])) == 5
    assert all(1 <= number <= FRAMES for number in following["frames_first"])
    # A person draws on the first and the last picture.
    drawn = encode(squares(0), world.config, item=0) + encode(squares(5), world.config, item=5)
    world.label(7, drawn)
    row = world.round()
    assert row.labels == 2
    (status,) = status_of(world.store, world.settings)["projects"]
    assert status["clips"][0] | {"frames": FRAMES, "labelled": [1, 6]} == status["clips"][0]
    for index in range(FRAMES):
        found = decode(world.result(7), world.config, (HEIGHT, WIDTH), item=index)
        assert overlap(found == 1, squares(index) == 1) > 0.9
        assert overlap(found == 2, squares(index) == 2) > 0.9
    ids = [region["id"] for region in world.result(7)]
    assert len(set(ids)) == len(ids) == 2 * FRAMES


def test_what_was_submitted_as_it_was_predicted_is_no_label(make_world) -> None:
    world = make_world(LIST)
    world.task(7, frames=[f"{index}.png" for index in range(FRAMES)])
    drawn = [r | {"origin": "manual"} for r in encode(squares(0), world.config, item=0)]
    rest = [r | {"origin": "prediction"} for r in encode(squares(0), world.config, item=4)]
    world.label(7, drawn + rest)
    assert world.round().labels == 1


def test_clips_that_are_tasks_are_ranked_as_a_whole(make_world) -> None:
    world = make_world(LIST)
    for number in (3, 4, 5):
        world.task(number, frames=["0.png", "1.png"], clip="same name")
    world.label(4, encode(squares(0), world.config, item=0))
    world.round()
    assert sorted(world.studio.order()) == [3, 4, 5]
    assert world.studio.order()[-1] == 4  # The labelled one last.


def test_a_task_without_pictures_is_set_aside_and_named(make_world) -> None:
    world = make_world(LIST)
    world.task(3, frames=["0.png", "1.png"])
    world.task(4, frames="0.png")
    world.round()
    assert "Task 4" in world.problems
    assert "no list of pictures" in world.problems
    assert world.studio.order() == [3]


def test_nothing_but_such_tasks_is_an_error_that_says_so(make_world) -> None:
    world = make_world(LIST)
    world.task(4, other="0.png")
    with pytest.raises(NothingToServeError, match="no list of pictures"):
        world.round()


# Videos -----------------------------------------------------------------------------------------


def write_video(path: Path, times: list[int]) -> None:
    """A video whose frames are shown at these tenths of a second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        stream.codec_context.time_base = Fraction(1, 10)
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(index), "bgr24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


@pytest.mark.parametrize("times", [[0, 1, 2, 3, 4, 5], [0, 1, 2, 5, 6, 7]])
def test_boxes_on_a_video(make_world, tmp_path: Path, times: list[int]) -> None:
    """Also where the file's rate varies: the screen's frames are tenths of a second."""
    write_video(tmp_path / "v.mp4", times)
    world = make_world(VIDEO)
    world.task(7, video="v.mp4")
    world.label(7, [drawn_boxes(world.config, number, times) for number in (1, 2)])
    row = world.round()
    assert row.labels == 2, world.problems
    tracks = decode_tracks(world.result(7), world.config)
    assert [track.id for track in tracks] == ["square1", "square2"]
    for track, number in zip(tracks, (1, 2), strict=True):
        assert track.value == number
        for index, time in enumerate(times):
            box = track.box(time)
            expected = box_of(squares(index) == number)
            assert box is not None
            assert expected is not None
            np.testing.assert_allclose(box, expected, atol=4.5)


def drawn_boxes(config: LabelConfig, number: int, times: list[int]) -> dict[str, Any]:
    """What a person draws: a box on the first and the last frame, not between."""
    places = [(times[i], box_of(squares(i) == number)) for i in (0, FRAMES - 1)]
    region = encode_track(
        places,  # type: ignore[arg-type]
        identity=f"square{number}",
        label=config.labels[number - 1],
        control=config.controls[0],
        to_name=config.to_name,
        frames=times[-1] + 1,
        fps=10,
    )
    assert region is not None
    return region


def test_only_boxes_that_a_person_moved_are_labels(make_world, tmp_path: Path) -> None:
    times = [0, 1, 2, 3, 4, 5]
    write_video(tmp_path / "v.mp4", times)
    world = make_world(VIDEO)
    world.task(7, video="v.mp4")
    world.label(7, [drawn_boxes(world.config, 1, times)])
    assert world.round().labels == 2
    shown = world.result(7)
    for region in shown:
        region["origin"] = "prediction-changed"
    kept = len(shown[0]["value"]["sequence"])
    shown[0]["value"]["sequence"][0]["x"] += 2.0
    world.label(7, shown)
    assert kept >= 2
    assert world.round().labels == 1


def test_a_video_that_is_gone_is_named_and_the_others_are_served(make_world, tmp_path) -> None:
    write_video(tmp_path / "v.mp4", [0, 1, 2, 3, 4, 5])
    world = make_world(VIDEO)
    world.task(7, video="v.mp4", clip="here")
    world.task(8, video="gone.mp4", clip="away")
    world.round()
    assert world.studio.order() == [7]
    assert "'away'" in world.problems
    assert world.store.pending(1) == (0, 1)
    assert world.store.untried(1) == (0, 0, 0)


def test_a_video_that_cannot_be_had_for_now_keeps_its_boxes(make_world, tmp_path: Path) -> None:
    times = [0, 1, 2, 3, 4, 5]
    for name in ("v", "w"):
        write_video(tmp_path / f"{name}.mp4", times)
    world = make_world(VIDEO)
    for number, name in ((7, "v"), (8, "w")):
        world.task(number, video=f"{name}.mp4", clip=name)
        world.label(number, [drawn_boxes(world.config, 1, times)])
    world.round()
    before = [region["value"] for region in world.result(8)]
    moved = tmp_path / "elsewhere.mp4"
    (tmp_path / "w.mp4").rename(moved)
    world.label(7, [drawn_boxes(world.config, 2, times)])
    world.round()
    assert [region["value"] for region in world.result(8)] == before
    assert "'w' keeps its earlier masks" in world.problems
    moved.rename(tmp_path / "w.mp4")
    world.label(8, [drawn_boxes(world.config, 2, times)])
    world.round()
    assert [region["value"]["labels"] for region in world.result(8)] == [["disc"]]
    assert "keeps its earlier masks" not in world.problems


# Objects ----------------------------------------------------------------------------------------


def as_two_boxes(index: int, names: tuple[str, str], config: LabelConfig) -> list[dict[str, Any]]:
    """Both squares under one label, as two regions."""
    channels = [("background", ""), ("box", names[0]), ("box", names[1])]
    return encode(squares(index), config, channels=channels)


def test_objects_of_one_label_keep_their_ids(make_world) -> None:
    world = make_world(make_label_config(["box", "disc"]), objects="on")
    world.frame_tasks()
    # A person draws two frames anew: the ids differ, the objects don't.
    world.label(0, as_two_boxes(0, ("aaaa", "bbbb"), world.config))
    world.label(5, list(reversed(as_two_boxes(5, ("cccc", "dddd"), world.config))))
    world.round()
    for index in (1, 2, 3, 4):
        regions = {region["id"]: region for region in world.result(index)}
        assert set(regions) == {"aaaa", "bbbb"}
        for identity, number in (("aaaa", 1), ("bbbb", 2)):
            found = decode([regions[identity]], world.config, (HEIGHT, WIDTH))
            assert overlap(found == 1, squares(index) == number) > 0.85
    # A corrected prediction is the same object, and goes on under its id.
    world.label(3, [r | {"origin": "prediction-changed"} for r in world.result(3)])
    world.round()
    assert {region["id"] for region in world.result(2)} == {"aaaa", "bbbb"}


def test_without_objects_a_label_is_one_region(make_world) -> None:
    world = make_world(make_label_config(["box", "disc"]))
    world.frame_tasks()
    world.label(0, as_two_boxes(0, ("aaaa", "bbbb"), world.config))
    world.round()
    assert len(world.result(3)) == 1


@pytest.mark.parametrize(("extra", "regions"), [("", 1), ('<Choices name="c" toName="image" perRegion="true"><Choice value="far"/></Choices>', 2)])  # fmt: skip  # noqa: E501
def test_the_configuration_asks_for_objects(make_world, extra: str, regions: int) -> None:
    config = make_label_config(["box", "disc"]).replace("</View>", f"{extra}</View>")
    world = make_world(config, objects="auto")
    world.frame_tasks()
    world.label(0, as_two_boxes(0, ("aaaa", "bbbb"), world.config))
    world.round()
    assert len(world.result(2)) == regions


# What a task's data says ------------------------------------------------------------------------


def test_only_a_clips_own_categories_are_predicted(make_world) -> None:
    world = make_world(make_label_config(["sky", "box", "disc"]))
    world.frame_tasks(categories=["disc", "box", "cloud"])
    mask = np.where(squares(0), squares(0) + 1, 0).astype(np.uint8)
    world.label(0, encode(mask, world.config))
    row = world.round()
    assert "'cloud', which is no label" in world.problems
    assert row.state == "done"
    names = {name for r in world.result(3) for name in r["value"]["brushlabels"]}
    assert names == {"box", "disc"}
    snapshot = next((world.settings.model_dir / "projects").rglob("snapshot.json")).read_text()
    assert '"class_names": ["background", "box", "disc"]' in snapshot


@pytest.mark.parametrize(("said", "covered"), [("ignore", True), ("background", False)])
def test_what_an_uncovered_pixel_means_is_the_clips_to_say(make_world, said, covered) -> None:
    world = make_world(make_label_config(["box", "disc"]), unlabelled="background")
    world.frame_tasks(unlabelled=said)
    world.label(0, encode(squares(0), world.config))
    world.round()
    found = decode(world.result(0), world.config, (HEIGHT, WIDTH))
    # Nobody said what is around the squares: the nearest label is as good as any.
    assert bool((found > 0).all()) == covered


def test_a_wish_that_is_not_understood_is_named(make_world) -> None:
    world = make_world(make_label_config(["box", "disc"]))
    world.frame_tasks(unlabelled="maybe")
    world.round()
    assert '"unlabelled" must be' in world.problems


def test_frames_of_two_sizes_in_a_clip_are_refused_by_name(make_world, tmp_path: Path) -> None:
    world = make_world(make_label_config(["box", "disc"]))
    world.frame_tasks()
    for number in (10, 11):
        world.task(number, image=f"{number - 10}.png", clip="good", frame=number)
    cv2.imwrite(str(tmp_path / "3.png"), np.zeros((30, 40, 3), np.uint8))
    world.label(0, encode(squares(0), world.config))
    world.label(10, encode(squares(0), world.config))
    world.round()
    assert "task 3 is 40×30 pixels" in world.problems
    assert len(world.result(11)) == 2


def test_a_label_of_another_size_is_refused_by_name(make_world) -> None:
    world = make_world(make_label_config(["box", "disc"]))
    world.frame_tasks()
    world.label(0, encode(squares(0)[:, :90], world.config))
    assert world.round().labels == 0
    assert "90×64 pixels, and the picture is now 96×64" in world.problems


def test_what_of_a_configuration_is_not_served_is_said(make_world) -> None:
    second = f'<Image name="two" value="$two"/>{BRUSH.replace("toName=", "toname=")}'
    config = make_label_config(["box", "disc"]).replace(
        "</View>", second.replace('"i"', '"two"') + "</View>"
    )
    world = make_world(config)
    world.frame_tasks()
    world.round()
    assert '<Image name="two"> isn\'t served' in world.problems
