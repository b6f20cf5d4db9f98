from __future__ import annotations

import pytest

from backend.labelconfig import LabelConfigError, make_label_config, parse_label_config
from backend.querylayer import layer_for
from selection.granularity import Granularity


def config(attributes: str, label: str = '<Label value="Here"/>', image: str = "value") -> str:
    return (
        f'<View><Image name="image" {image}="$image"/>'
        f'<RectangleLabels name="ask" toName="image" {attributes}>{label}</RectangleLabels>'
        '<BrushLabels name="brush" toName="image"><Label value="car"/></BrushLabels></View>'
    )


@pytest.mark.parametrize(
    ("samples", "kind", "size", "number"),
    [("rectangles", "rectangle", 64, 8), ("superpixels", "superpixel", 32, 16)],
)
def test_what_init_writes_is_found_again(samples: str, kind: str, size: int, number: int) -> None:
    layer = layer_for(samples, (480, 854))
    assert layer is not None
    assert (layer.granularity, layer.number) == (Granularity(kind, size), number)
    read = parse_label_config(make_label_config(["car", "road"], queries=layer))
    assert read.queries == layer
    assert read.class_names == ("background", "car", "road")
    assert "queries" not in [control.name for control in read.controls]


def test_rectangles_leave_the_labels_as_they_are() -> None:
    layer = layer_for("rectangles", (100, 100), size=20, number=3)
    read = parse_label_config(make_label_config(["car"], ["#ff0000"], queries=layer))
    assert read.labels == ("car",)
    assert [control.shape for control in read.controls] == ["brush"]
    assert str(read.queries) == "rectangle:20 3"


def test_super_pixels_have_polygons_beside_the_brush_and_a_label_for_the_background() -> None:
    layer = layer_for("superpixels", (100, 100))
    read = parse_label_config(make_label_config(["car"], queries=layer))
    assert read.labels == ("car", "background")
    assert [control.shape for control in read.controls] == ["brush", "polygon"]
    # A label that is called so is not doubled.
    named = make_label_config(["Background", "car"], queries=layer)
    assert parse_label_config(named).labels == ("Background", "car")


def test_small_frames_have_small_samples() -> None:
    for samples in ("rectangles", "superpixels"):
        layer = layer_for(samples, (72, 96))
        assert layer is not None
        assert layer.granularity.size == 8


def test_frames_are_no_layer() -> None:
    assert layer_for("frames", (480, 854)) is None
    assert parse_label_config(make_label_config(["car"])).queries is None
    # A layer that once asked for parts may ask for frames.
    asks = parse_label_config(config('samples="frame"')).queries
    assert asks is not None
    assert (asks.kind, str(asks)) == ("frame", "frame")


def test_rectangles_without_samples_stay_a_control() -> None:
    read = parse_label_config(config(""))
    assert read.queries is None
    assert [control.name for control in read.controls] == ["brush", "ask"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tiles", (480, 854)), "expected frames, rectangles or superpixels"),
        (("rectangles", (480, 854), 481), "expected 4 to 480 pixels"),
        (("rectangles", (480, 854), 2), "expected 4 to 480 pixels"),
        (("superpixels", (480, 854), None, 0), "expected 1 to 200"),
        (("superpixels", (480, 854), None, 201), "expected 1 to 200"),
        (("frames", (480, 854), 16), "neither a sample size"),
    ],
)
def test_what_is_asked_for_must_make_sense(arguments: tuple[object, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        layer_for(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attributes", "label", "sentence"),
    [
        ('samples="tiles:4"', '<Label value="x"/>', "expected frame, rectangle:16"),
        ('samples="rectangle:16" number="many"', '<Label value="x"/>', "1 to 200"),
        ('samples="rectangle:16"', "", "has no label"),
    ],
)
def test_a_layer_that_makes_no_sense_is_refused(attributes: str, label: str, sentence: str) -> None:
    with pytest.raises(LabelConfigError, match=sentence):
        parse_label_config(config(attributes, label))


def test_samples_are_for_tasks_of_one_frame() -> None:
    read = parse_label_config(config('samples="rectangle:16"', image="valueList"))
    assert read.queries is None
    assert "only asked for where a task is one frame" in read.notes[0]
