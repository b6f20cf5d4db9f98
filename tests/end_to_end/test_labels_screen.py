"""Masks out to a live Label Studio, opened in a real browser, submitted unchanged, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from backend.formats import EncodeOptions, decode, encode
from backend.formats.videorectangle import box_of, decode_tracks, encode_track
from backend.labelconfig import parse_label_config
from backend.studio import Studio
from backend.studio_server import StudioServer
from model.clip import read_image
from tests.end_to_end.labels_screen import TaskScreen, open_screen

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

Mask = npt.NDArray[np.uint8]

LABELS = (
    '<Label value="Car" alias="car" background="#e6194b"/><Label value="dog" background="#3cb44b"/>'
)
EXACT = EncodeOptions(tolerance=0)


def image_config(tag: str, source: str = 'value="$image"') -> str:
    """A configuration with a mask tag that has labels of its own, or stands beside them."""
    image = f'<Image name="image" {source} rotateControl="true"/>'
    if tag.endswith("Labels"):
        return f'<View>{image}<{tag} name="draw" toName="image">{LABELS}</{tag}></View>'
    return (
        f'<View>{image}<{tag} name="draw" toName="image"/>'
        f'<Labels name="label" toName="image">{LABELS}</Labels></View>'
    )


def made_up_mask() -> Mask:
    """Single pixels in every corner, a hole, an island, one region beside another."""
    mask = np.zeros((240, 320), np.uint8)
    mask[60:160, 80:200] = 1
    mask[90:110, 120:150] = 0
    mask[100, 130] = 2
    mask[100:140, 200:230] = 2
    for row, column in ((0, 0), (0, 319), (239, 0), (239, 319), (200, 17)):
        mask[row, column] = 2
    return mask


def real_mask(clip: str) -> Mask:
    root = os.environ.get("MASKLOOP_DATA", str(Path(__file__).parents[3] / "shared" / "data"))
    path = Path(root) / "davis" / clip / "masks" / "00020.png"
    if not path.exists():
        pytest.skip(f"needs {path}")
    mask = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    return np.where(mask == 255, 0, mask).astype(np.uint8)


@pytest.fixture(scope="module")
def screen(server: StudioServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskScreen]:
    with open_screen(server, tmp_path_factory.mktemp("screens")) as screen:
        yield screen


@pytest.fixture
def make_task(studio: Studio) -> Iterator[Callable[..., tuple[int, int]]]:
    """A project with one task and its prediction: ``(project, task)``."""
    projects: list[int] = []

    def make(config: str, data: Callable[[int], dict[str, Any]], result: list[Any]) -> Any:
        project = studio.create_project("Labels", config)
        projects.append(project)
        (task,) = studio.import_tasks(project, [data(project)])
        if result:
            item = {"task": task, "result": result, "score": 0.5, "model_version": "v1"}
            studio.import_predictions(project, [item])
            studio.set_model_version(project, "v1")
        return project, task

    yield make
    for project in projects:
        studio.delete_project(project)


def picture_of(mask: Mask, path: Path) -> Path:
    shades = np.array([90, 160, 220], np.uint8)[np.where(mask < 3, mask, 0)]
    cv2.imwrite(str(path), np.stack((shades, shades, shades // 2), axis=2))
    return path


TAGS = ["BrushLabels", "BitmaskLabels", "PolygonLabels", "Brush", "Bitmask", "Polygon"]


@pytest.mark.parametrize("tag", TAGS)
def test_opened_and_submitted_unchanged_a_mask_is_the_same(
    tag: str, studio: Studio, screen: TaskScreen, make_task: Any, tmp_path: Path
) -> None:
    config, mask = parse_label_config(image_config(tag)), made_up_mask()
    file = picture_of(mask, tmp_path / "a.png")
    sent = encode(mask, config, scores={1: 0.75, 2: 0.5}, options=EXACT)
    project, task = make_task(
        image_config(tag), lambda p: {"image": studio.upload_images(p, [file])[0]}, sent
    )
    screen.open(project, task)
    screen.shoot(f"image-{tag.lower()}")
    result = screen.submit()
    np.testing.assert_array_equal(decode(result, config, mask.shape), mask)
    assert sorted(region["id"] for region in result) == sorted(region["id"] for region in sent)
    assert {region["origin"] for region in result} == {"prediction"}
    assert {region["score"] for region in result} == {0.75, 0.5}


@pytest.mark.parametrize("tag", ["BrushLabels", "BitmaskLabels"])
@pytest.mark.parametrize("clip", ["blackswan", "motocross-jump"])
def test_real_masks_are_the_same(
    tag: str, clip: str, studio: Studio, screen: TaskScreen, make_task: Any, tmp_path: Path
) -> None:
    config, mask = parse_label_config(image_config(tag)), real_mask(clip)
    file = picture_of(mask, tmp_path / "a.png")
    project, task = make_task(
        image_config(tag),
        lambda p: {"image": studio.upload_images(p, [file])[0]},
        encode(mask, config),
    )
    screen.open(project, task)
    result = screen.submit()
    np.testing.assert_array_equal(decode(result, config, mask.shape), mask)


@pytest.mark.parametrize("tag", ["BrushLabels", "BitmaskLabels", "PolygonLabels"])
@pytest.mark.parametrize("real", [False, True])
def test_several_pictures_in_a_task(
    tag: str, real: bool, studio: Studio, screen: TaskScreen, make_task: Any, tmp_path: Path
) -> None:
    text = image_config(tag, 'valueList="$frames"')
    config = parse_label_config(text)
    masks = [made_up_mask(), made_up_mask()[::-1, ::-1].copy(), np.zeros((240, 320), np.uint8)]
    if real:
        masks = [real_mask("blackswan"), real_mask("blackswan")[:, ::-1].copy()]
    files = [picture_of(mask, tmp_path / f"{i}.png") for i, mask in enumerate(masks)]
    sent = [r for i, mask in enumerate(masks) for r in encode(mask, config, item=i, options=EXACT)]
    project, task = make_task(text, lambda p: {"frames": studio.upload_images(p, files)}, sent)
    screen.open(project, task)
    screen.shoot(f"list-{tag.lower()}{'-real' * real}")
    result = screen.submit()
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(decode(result, config, mask.shape, item=index), mask)


@pytest.mark.parametrize("rate", [10, 25])
def test_boxes_on_a_video(
    rate: int, studio: Studio, screen: TaskScreen, make_task: Any, tmp_path: Path
) -> None:
    text = (
        f'<View><Labels name="label" toName="video">{LABELS}</Labels>'
        f'<Video name="video" value="$video" framerate="{rate}"/>'
        '<VideoRectangle name="box" toName="video"/></View>'
    )
    config = parse_label_config(text)
    boxes = []
    with av.open(str(tmp_path / "v.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(12):
            mask = np.zeros((240, 320), bool)
            mask[60:160, 20 + index**2 : 80 + index**2] = True
            if index not in (5, 6):
                boxes.append((index, box_of(mask)))
            frame = av.VideoFrame.from_ndarray(np.where(mask, 220, 90).astype(np.uint8), "gray")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    sent = encode_track(
        boxes,  # type: ignore[arg-type]
        identity="obj1",
        label="dog",
        control=config.controls[0],
        to_name=config.to_name,
        frames=12,
        fps=rate,
        score=0.5,
    )
    project, task = make_task(
        text, lambda p: {"video": studio.upload_images(p, [tmp_path / "v.mp4"])[0]}, [sent]
    )
    screen.open(project, task)
    screen.shoot(f"video-{rate}")
    result = screen.submit()
    assert sent is not None
    assert result[0]["id"] == "obj1"
    assert result[0]["value"]["sequence"] == sent["value"]["sequence"]
    (track,) = decode_tracks(result, config)
    shown = {frame: track.box(frame) for frame in range(12)}
    assert [frame for frame, box in shown.items() if box is None] == [5, 6]
    for frame, box in boxes:
        np.testing.assert_allclose(shown[frame], box, atol=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("tag", ["BrushLabels", "BitmaskLabels"])
def test_a_corrected_region_keeps_its_id_and_a_new_one_has_another(
    tag: str, studio: Studio, screen: TaskScreen, make_task: Any, tmp_path: Path
) -> None:
    config, mask = parse_label_config(image_config(tag)), made_up_mask()
    file = picture_of(mask, tmp_path / "a.png")
    sent = encode(mask, config)
    project, task = make_task(
        image_config(tag), lambda p: {"image": studio.upload_images(p, [file])[0]}, sent
    )
    screen.open(project, task)
    screen.press("2")
    screen.drag((0.8, 0.2), (0.9, 0.2))
    result = screen.submit()
    ids = [region["id"] for region in sent]
    known = [region for region in result if region["id"] in ids]
    added = [region for region in result if region["id"] not in ids]
    assert len(known) == 2
    assert [region["origin"] for region in added] == ["manual"]
    changed = decode(result, config, mask.shape) != mask
    rows, columns = np.nonzero(changed)
    # The brush is some pixels wide.
    assert 0.72 * 320 < columns.min() <= columns.max() < 0.98 * 320
    assert 0.1 * 240 < rows.min() <= rows.max() < 0.3 * 240


def drawn_on(file: Path, screen: TaskScreen, studio: Studio, make_task: Any, turns: int) -> Any:
    """What a person draws from (¼, ¼) to (½, ½) of the picture as the screen shows it."""
    text = image_config("RectangleLabels").replace(
        "</View>",
        '<BrushLabels name="brush" toName="image"><Label value="sky"/></BrushLabels></View>',
    )
    project, task = make_task(text, lambda p: {"image": studio.upload_images(p, [file])[0]}, [])
    screen.open(project, task)
    for _ in range(turns):
        screen.press("Alt+ArrowRight")
    screen.press("1")
    screen.drag((0.25, 0.25), (0.5, 0.5))
    return screen.submit(), parse_label_config(text)


def assert_box(mask: Mask, top: float, left: float, bottom: float, right: float) -> None:
    height, width = mask.shape
    expected = np.zeros(mask.shape, bool)
    expected[round(top * height) : round(bottom * height),
             round(left * width) : round(right * width)] = True  # fmt: skip
    # The mouse is on whole pixels of the screen.
    assert ((mask == 1) != expected).sum() < 0.02 * expected.sum()


def test_a_picture_that_exif_turns(
    studio: Studio, screen: TaskScreen, make_task: Any, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", (320, 200), (90, 90, 90)).save(tmp_path / "a.jpg", exif=exif)
    frame = read_image(tmp_path / "a.jpg")
    assert frame.shape[:2] == (320, 200)
    result, config = drawn_on(tmp_path / "a.jpg", screen, studio, make_task, 0)
    assert_box(decode(result, config, (320, 200)), 0.25, 0.25, 0.5, 0.5)


def test_a_picture_that_the_annotator_turned(
    studio: Studio, screen: TaskScreen, make_task: Any, tmp_path: Path
) -> None:
    Image.new("RGB", (320, 240), (90, 90, 90)).save(tmp_path / "a.png")
    result, config = drawn_on(tmp_path / "a.png", screen, studio, make_task, 1)
    assert result[0]["image_rotation"] == 90
    # Turned clockwise: the screen's left is the picture's lower edge.
    assert_box(decode(result, config, (240, 320)), 0.5, 0.25, 0.75, 0.5)


@pytest.mark.parametrize("tag", ["EllipseLabels", "KeyPointLabels", "PolygonLabels", "BrushLabels"])
def test_what_a_person_draws_is_where_it_was_drawn(
    tag: str, studio: Studio, screen: TaskScreen, make_task: Any, tmp_path: Path
) -> None:
    text = image_config(tag)
    if tag in ("EllipseLabels", "KeyPointLabels"):
        brush = '<BrushLabels name="b" toName="image"><Label value="sky"/></BrushLabels></View>'
        text = text.replace("</View>", brush)
    Image.new("RGB", (320, 240), (90, 90, 90)).save(tmp_path / "a.png")
    project, task = make_task(
        text, lambda p: {"image": studio.upload_images(p, [tmp_path / "a.png"])[0]}, []
    )
    screen.open(project, task)
    screen.press("1")
    expected = np.zeros((240, 320), bool)
    if tag == "EllipseLabels":  # From its centre.
        screen.drag((0.5, 0.5), (0.75, 0.75))
        rows, columns = np.mgrid[:240, :320] + 0.5
        expected = ((columns - 160) / 80) ** 2 + ((rows - 120) / 60) ** 2 <= 1
    elif tag == "KeyPointLabels":
        screen.drag((100.5 / 320, 50.5 / 240))
        expected[50, 100] = True
    elif tag == "PolygonLabels":
        for corner in ((0.25, 0.25), (0.75, 0.25), (0.75, 0.5), (0.25, 0.5), (0.25, 0.25)):
            screen.drag(corner)
        expected[60:120, 80:240] = True
    else:
        screen.drag((0.25, 0.25), (0.5, 0.25))
        expected[56:64, 78:162] = True
    screen.shoot(f"drawn-{tag.lower()}")
    config = parse_label_config(text)
    found = decode(screen.submit(), config, (240, 320)) == 1
    centres = [np.argwhere(pixels).mean(axis=0) for pixels in (found, expected)]
    np.testing.assert_allclose(*centres, atol=1.0)
    if tag in ("EllipseLabels", "PolygonLabels"):
        assert (found != expected).sum() < 0.02 * expected.sum()
