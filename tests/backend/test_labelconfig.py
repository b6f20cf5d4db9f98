from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.labelconfig import LabelConfigError, make_label_config, parse_label_config

LABELS = '<Label value="car" background="#f00"/><Label value="road"/>'


def view(*parts: str) -> str:
    return f"<View>{''.join(parts)}</View>"


IMAGE = '<Image name="image" value="$image"/>'
BRUSH = f'<BrushLabels name="brush" toName="image">{LABELS}</BrushLabels>'


def test_a_brush_on_an_image() -> None:
    config = parse_label_config(view(IMAGE, BRUSH))
    assert [control.name for control in config.controls] == ["brush"]
    assert (config.to_name, config.data_key) == ("image", "image")
    assert (config.kind, config.object_kind) == ("brushlabels", "image")
    assert config.labels == ("car", "road")
    assert config.colors == ("#f00", "")
    assert config.class_names == ("background", "car", "road")
    assert [config.class_of(name) for name in ("car", "road", "tree")] == [1, 2, None]


def test_a_label_called_background_is_class_0() -> None:
    config = parse_label_config(make_label_config(["car", "Background", "road"]))
    assert config.class_names == ("background", "car", "road")
    assert config.class_of("Background") == 0


@pytest.mark.parametrize(
    "xml",
    [
        view(f"<View><Header value='h'/>{IMAGE}</View>", f"<View>{BRUSH}</View>"),
        view(BRUSH, IMAGE),
        view(IMAGE.replace("<Image", "<image").replace("name=", "NAME="), BRUSH),
        view("<!-- a remark -->", IMAGE, BRUSH, '<Choices name="c" toName="image"/>'),
        view(IMAGE, BRUSH, '<TextArea name="t" toName="image" perRegion="true"/>'),
        view(IMAGE, BRUSH.replace("<Label ", "<View><Label ").replace("/>", "/></View>")),
        view(
            IMAGE,
            '<Rectangle name="brush" toName="image"/>',
            f'<Labels name="l" toName="image">{LABELS}</Labels>',
            '<Brush name="b2" toName="image"/>',
        ),
    ],
)
def test_what_stands_around_it_does_not_matter(xml: str) -> None:
    config = parse_label_config(xml)
    assert config.class_names == ("background", "car", "road")
    assert config.controls[0].shape == "brush"


def test_a_brush_beside_labels() -> None:
    config = parse_label_config(
        view(
            IMAGE,
            f'<Labels name="label" toName="image">{LABELS}</Labels>',
            '<Brush name="brush" toName="image"/>',
        )
    )
    control = config.controls[0]
    assert (control.name, control.labels_from) == ("brush", "label")
    assert (control.kind, control.label_key) == ("brush", "labels")
    assert control.labels == ("car", "road")


def test_several_controls_in_the_order_in_which_they_answer() -> None:
    config = parse_label_config(
        view(
            IMAGE,
            '<RectangleLabels name="box" toName="image"><Label value="car"/></RectangleLabels>',
            '<PolygonLabels name="poly" toName="image"><Label value="car"/>'
            '<Label value="sky"/></PolygonLabels>',
            '<BrushLabels name="brush" toName="image"><Label value="car"/></BrushLabels>',
        )
    )
    assert [control.name for control in config.controls] == ["brush", "poly", "box"]
    assert config.labels == ("car", "sky")
    answers = {label: config.control_for(label) for label in ("car", "sky", "tree")}
    assert {label: found and found.name for label, found in answers.items()} == {
        "car": "brush",
        "sky": "poly",
        "tree": None,
    }


def test_aliases() -> None:
    config = parse_label_config(
        view(
            IMAGE,
            '<BrushLabels name="b" toName="image"><Label value="Car" alias="c"/></BrushLabels>',
        )
    )
    assert config.labels == ("c",)
    assert config.class_of("c") == config.class_of("Car") == 1


@pytest.mark.parametrize(
    ("tag", "kind", "key"),
    [
        ('<Image name="i" valueList="$frames"/>', "images", "frames"),
        ('<Image name="i" value="$picture"/>', "image", "picture"),
    ],
)
def test_where_the_pictures_are(tag: str, kind: str, key: str) -> None:
    config = parse_label_config(view(tag, BRUSH.replace('toName="image"', 'toName="i"')))
    assert (config.object_kind, config.data_key) == (kind, key)


def test_boxes_on_a_video() -> None:
    config = parse_label_config(
        view(
            '<Video name="video" value="$video"/>',
            f'<Labels name="label" toName="video">{LABELS}</Labels>',
            '<VideoRectangle name="box" toName="video"/>',
        )
    )
    assert (config.object_kind, config.kind) == ("video", "videorectangle")
    assert config.class_names == ("background", "car", "road")


def test_a_second_picture_is_named_as_not_served() -> None:
    second = '<Image name="two" value="$two"/>'
    config = parse_label_config(view(IMAGE, BRUSH, second, BRUSH.replace('"image"', '"two"')))
    assert config.to_name == "image"
    assert "two" in config.notes[0]


@pytest.mark.parametrize(
    ("xml", "sentence"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("<View><Image", "no XML"),
        ("<View/>", "shows no picture"),
        (view('<Text name="t" value="$t"/>'), "shows no picture"),
        (view(IMAGE), "Nothing on .*carries masks.*<BrushLabels"),
        (view(IMAGE, BRUSH.replace('"image"', '"else"')), "carries masks"),
        (
            view(IMAGE, f'<RectangleLabels name="r" toName="image">{LABELS}</RectangleLabels>'),
            "rectangle regions are read",
        ),
        (view(IMAGE, '<Brush name="b" toName="image"/>'), "carries masks"),
        (view(IMAGE, '<BrushLabels name="b" toName="image" value="$x"/>'), '"b".*has no labels'),
        (view('<Video name="v" value="$v"/>'), "VideoRectangle"),
        (
            view('<Video name="v" value="$v"/>', BRUSH.replace('"image"', '"v"')),
            "no masks on a video",
        ),
        (view('<Image name="image" value="image"/>', BRUSH), r'value="\$image"'),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View/>', "document type"),
        ("<View>" + " " * 1_000_001 + "</View>", "longer than"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_remedy(xml: str, sentence: str) -> None:
    with pytest.raises(LabelConfigError, match=sentence):
        parse_label_config(xml)


def test_more_labels_than_a_mask_can_hold() -> None:
    parse_label_config(make_label_config([f"l{i}" for i in range(254)]))
    with pytest.raises(LabelConfigError, match="254"):
        parse_label_config(make_label_config([f"l{i}" for i in range(255)]))


@pytest.mark.parametrize("labels", [[], [""], ["a", "a"]])
def test_labels_must_differ(labels: list[str]) -> None:
    with pytest.raises(LabelConfigError):
        make_label_config(labels)


def test_each_label_has_its_colour() -> None:
    config = parse_label_config(make_label_config(["a", "b"], ["#111111", "#222222"]))
    assert config.colors == ("#111111", "#222222")
    with pytest.raises(LabelConfigError, match="colours"):
        make_label_config(["a"], [])


name = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp", "Cn", "Co"]),
    min_size=1,
)


@settings(deadline=None)
@given(st.lists(name.map(str.strip).filter(bool), min_size=1, max_size=8, unique=True))
def test_labels_survive_the_configuration(labels: list[str]) -> None:
    assert parse_label_config(make_label_config(labels)).labels == tuple(labels)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(LabelConfigError):
        assert parse_label_config(text).controls


@pytest.mark.parametrize(
    ("attribute", "data", "rate"),
    [
        ("", {}, 24.0),
        ('framerate="25"', {}, 25.0),
        ('frameRate="29.97"', {}, 29.97),
        ('framerate="$fps"', {"fps": 12.5}, 12.5),
        ('framerate="$fps"', {"fps": "50"}, 50.0),
        ('framerate="$fps"', {}, 24.0),
        ('framerate="fast"', {}, 24.0),
        ('framerate="0"', {}, 24.0),
        ('framerate="nan"', {}, 24.0),
    ],
)
def test_the_rate_by_which_the_screen_counts(attribute: str, data: dict, rate: float) -> None:
    config = parse_label_config(
        view(
            f'<Video name="v" value="$video" {attribute}/>',
            f'<Labels name="l" toName="v">{LABELS}</Labels><VideoRectangle name="r" toName="v"/>',
        )
    )
    assert config.rate(data) == rate


@pytest.mark.parametrize(
    ("extra", "instances"),
    [
        ("", False),
        ('<TextArea name="t" toName="image" perRegion="true"/>', True),
        ('<TextArea name="t" toName="image" perRegion="false"/>', False),
        ('<TextArea name="t" toName="other" perRegion="true"/>', False),
    ],
)
def test_whether_regions_are_objects(extra: str, instances: bool) -> None:
    assert parse_label_config(view(IMAGE, BRUSH, extra)).instances == instances
