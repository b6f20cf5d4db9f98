"""What a labelling configuration asks for: the picture, the tags that carry masks, the classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from backend.labeltags import LabelConfigError, Tag, read_tags
from backend.querylayer import QueryLayer, find_query_layer, is_query_tag, layer_tag

__all__ = ["BACKGROUND", "Control", "LabelConfig", "LabelConfigError", "asks_for"]
__all__ += ["make_label_config", "parse_label_config"]

BACKGROUND = "background"

ObjectKind = Literal["image", "images", "video"]

# Shapes that a person can draw, and the tags that draw them. The order is the order in which we
# prefer to answer: a polygon loses pixels, a brush does not.
_MASK_SHAPES = ("brush", "bitmask", "polygon")
_EVIDENCE_SHAPES = ("rectangle", "ellipse", "keypoint")
_SHAPES = (*_MASK_SHAPES, *_EVIDENCE_SHAPES)
_VIDEO_SHAPE = "videorectangle"

_ADD_BRUSH = (
    "Add a tag that carries masks, such as "
    '<BrushLabels name="brush" toName="{name}"><Label value="car"/></BrushLabels>.'
)
# What the screen counts by where a configuration says nothing.
_SCREEN_RATE = 24.0
_MOST_LABELS = 254


@dataclass(frozen=True, slots=True)
class Control:
    """A tag with which regions are drawn.

    Attributes:
        name: The tag's name, the ``from_name`` of its regions.
        shape: ``brush``, ``bitmask``, ``polygon``, ``rectangle``, ``ellipse``, ``keypoint`` or
            ``videorectangle``.
        labels: Names of its labels as regions give them (the alias where a label has one).
        labels_from: Name of the separate ``<Labels>`` tag that names its regions; None where the
            tag has labels of its own, as ``<BrushLabels>`` has.
    """

    name: str
    shape: str
    labels: tuple[str, ...]
    labels_from: str | None = None

    @property
    def kind(self) -> str:
        """The ``type`` of its regions: ``brushlabels``, or ``brush`` beside ``<Labels>``."""
        own = self.labels_from is None and self.shape != _VIDEO_SHAPE
        return f"{self.shape}labels" if own else self.shape

    @property
    def label_key(self) -> str:
        """The key under which a region's value gives its labels."""
        return self.kind if self.labels_from is None and self.shape != _VIDEO_SHAPE else "labels"


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """What a project's labelling configuration asks for.

    Attributes:
        to_name: Name of the object tag, the ``to_name`` of regions.
        data_key: Where a task's data gives the picture, the list of pictures or the video.
        object_kind: ``image``, ``images`` (``valueList``) or ``video``.
        controls: The tags that draw on it, those with which we prefer to answer first.
        labels: Names of all labels, in the configuration's order.
        colors: The colour of each label; empty where it has none.
        shown_as: What the screen shows for a label that has an alias, by alias.
        instances: Whether regions are objects: boxes on a video are, and regions of which more is
            asked one by one (``perRegion``).
        framerate: What a video tag says of frames per second: a number, or ``$key`` of the task's
            data; empty for the screen's own 24.
        queries: The layer that outlines the rectangles or super-pixels to label; None where whole
            frames are labelled.
        notes: What of the configuration isn't served, in plain sentences.
        tag_names: Names of all tags, also of those that aren't served.
    """

    to_name: str
    data_key: str
    object_kind: ObjectKind
    controls: tuple[Control, ...]
    labels: tuple[str, ...]
    colors: tuple[str, ...]
    shown_as: dict[str, str] = field(default_factory=dict)
    instances: bool = False
    framerate: str = ""
    queries: QueryLayer | None = None
    notes: tuple[str, ...] = ()
    tag_names: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """The type of the regions with which we prefer to answer."""
        return self.controls[0].kind

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by mask value; 0 is background, also where a label is called so."""
        return (BACKGROUND, *(name for name in self.labels if not _is_background(name)))

    def class_of(self, label: str) -> int | None:
        """The mask value of a label, by its name or by what the screen shows; None if unknown."""
        if label not in self.labels:
            label = next((name for name, shown in self.shown_as.items() if shown == label), label)
        if label not in self.labels:
            return None
        return 0 if _is_background(label) else self.class_names.index(label)

    def rate(self, data: Mapping[str, Any]) -> float:
        """How many frames per second the screen counts on a task's video."""
        text = self.framerate
        value = data.get(text[1:]) if text.startswith("$") else text
        try:
            rate = float(value or _SCREEN_RATE)
        except (TypeError, ValueError):
            return _SCREEN_RATE
        return rate if 0 < rate < 1000 else _SCREEN_RATE

    def control_for(self, label: str) -> Control | None:
        """The tag that best carries a label's mask; None where no such tag has the label."""
        for control in self.controls:
            if label in control.labels and control.shape not in _EVIDENCE_SHAPES:
                return control
        return None


def parse_label_config(xml: str) -> LabelConfig:
    """Read a labelling configuration.

    Args:
        xml: The configuration, as Label Studio has it.

    Returns:
        What it asks for.

    Raises:
        LabelConfigError: When it isn't a configuration, or has nothing that can carry masks.
    """
    nodes = read_tags(xml)
    objects = [node for node in nodes if node.tag in ("image", "video") and node.get("name")]
    if not objects:
        raise LabelConfigError(
            "The labelling configuration shows no picture. Add an object tag, such as "
            '<Image name="image" value="$image"/>.'
        )
    served = [(node, list(_controls(node, nodes))) for node in objects]
    able = [(node, controls) for node, controls in served if _carries_masks(node, controls)]
    if not able:
        raise LabelConfigError(_why_unable(*served[0]))
    target, controls = able[0]
    labels, colors, shown_as = _labels(controls, nodes)
    if len(labels) > _MOST_LABELS:
        raise LabelConfigError(
            f"The labelling configuration has {len(labels)} labels on {target.describe()}; "
            f"at most {_MOST_LABELS} can be served."
        )
    kind, key = _source(target)
    notes = [
        f"{node.describe()} isn't served: a project is served on one picture, {target.describe()}."
        for node, _ in able[1:]
    ]
    queries = find_query_layer(nodes, target)
    if queries is not None and kind != "image":
        queries = None
        notes.append(
            f"{target.describe()} shows several pictures: rectangles and super-pixels are only "
            "asked for where a task is one frame; frames are asked for instead."
        )
    return LabelConfig(
        to_name=target.get("name"),
        data_key=key,
        object_kind=kind,
        controls=tuple(controls),
        labels=labels,
        colors=colors,
        shown_as=shown_as,
        instances=kind == "video" or _asks_one_by_one(target, nodes),
        framerate=target.get("framerate"),
        queries=queries,
        notes=tuple(notes),
        tag_names=frozenset(node.get("name") for node in nodes),
    )


def asks_for(config: LabelConfig | None) -> str:
    """What people are asked for, as `maskloop simulate --samples` has it, and how many a frame."""
    return str(config.queries) if config is not None and config.queries is not None else "frame"


def make_label_config(
    labels: Sequence[str],
    colors: Sequence[str] | None = None,
    queries: QueryLayer | None = None,
) -> str:
    """A configuration with a brush for these labels, one frame per task.

    For super-pixels there are polygons beside the brush, as the screen outlines these and a click
    selects one; and there is a label for the background, which a super-pixel may be.

    Args:
        labels: Names of the labels.
        colors: A colour for each (``#rrggbb``); Label Studio chooses when not given.
        queries: What is asked for, where it is not whole frames.

    Returns:
        The configuration as Label Studio takes it.

    Raises:
        LabelConfigError: When there is no label, one is empty or twice there, or the colours
            aren't as many.
    """
    names = [label.strip() for label in labels]
    if not names or "" in names or len(set(names)) != len(names):
        raise LabelConfigError(f"Expected distinct, non-empty label names, got {list(labels)}.")
    if colors is not None and len(colors) != len(names):
        raise LabelConfigError(f"Expected {len(names)} colours, one a label, got {len(colors)}.")
    lines = []
    for index, name in enumerate(names):
        color = f" background={quoteattr(colors[index])}" if colors is not None else ""
        lines.append(f"    <Label value={quoteattr(name)}{color}/>")
    if queries is not None and queries.granularity.kind == "superpixel":
        if not any(_is_background(name) for name in names):
            lines.append(f'    <Label value="{BACKGROUND}" background="#a0a0a0"/>')
        tags = [
            *('  <Labels name="label" toName="image">', *lines, "  </Labels>"),
            *(
                '  <Polygon name="polygon" toName="image"/>',
                '  <Brush name="brush" toName="image"/>',
            ),
        ]
    else:
        tags = ['  <BrushLabels name="brush" toName="image">', *lines, "  </BrushLabels>"]
    return "\n".join(
        [
            "<View>",
            '  <Image name="image" value="$image" zoom="true" zoomControl="true"/>',
            *([] if queries is None else layer_tag(queries, "image")),
            *tags,
            "</View>",
        ]
    )


def _controls(target: Tag, nodes: list[Tag]) -> Iterator[Control]:
    """The tags that draw on an object, in the order in which we prefer to answer."""
    name = target.get("name")
    here = [node for node in nodes if node.get("toname") == name and not is_query_tag(node)]
    separate = next((node for node in here if node.tag == "labels"), None)
    shapes = (_VIDEO_SHAPE,) if target.tag == "video" else _SHAPES
    for shape in shapes:
        for node in here:
            if node.tag == f"{shape}labels":
                yield Control(node.get("name"), shape, _names(node))
            elif node.tag == shape and separate is not None:
                yield Control(node.get("name"), shape, _names(separate), separate.get("name"))


def _carries_masks(target: Tag, controls: list[Control]) -> bool:
    wanted = (_VIDEO_SHAPE,) if target.tag == "video" else _MASK_SHAPES
    return any(control.shape in wanted and control.labels for control in controls)


def _why_unable(target: Tag, controls: list[Control]) -> str:
    name = target.get("name")
    if target.tag == "video":
        return (
            f"{target.describe()} has no boxes with labels, and the screen draws no masks on a "
            f'video. Add <Labels name="label" toName="{name}"><Label value="car"/></Labels> and '
            f'<VideoRectangle name="box" toName="{name}"/>; for masks, import a frame a task.'
        )
    if any(control.shape in _MASK_SHAPES for control in controls):
        tag = next(control for control in controls if control.shape in _MASK_SHAPES)
        return (
            f'The tag called "{tag.labels_from or tag.name}" on {target.describe()} has no labels '
            'in the configuration. Add some, such as <Label value="car"/>; labels that come from '
            "the task's data can't be served."
        )
    drawn = " or ".join(sorted({control.shape for control in controls}))
    only = f" Its {drawn} regions are read, but can't carry masks." if drawn else ""
    return f"Nothing on {target.describe()} carries masks.{only} {_ADD_BRUSH.format(name=name)}"


def _labels(
    controls: list[Control], nodes: list[Tag]
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:
    """All labels of the controls in the configuration's order, with colours and shown names."""
    wanted = {control.labels_from or control.name for control in controls}
    colors: dict[str, str] = {}
    shown_as: dict[str, str] = {}
    for node in nodes:
        if node.get("name") not in wanted:
            continue
        for label in node.labels():
            name = _name(label)
            if name and not colors.get(name):
                colors[name] = label.get("background")
            if name and name != label.get("value") and label.get("value"):
                shown_as[name] = label.get("value")
    return tuple(colors), tuple(colors.values()), shown_as


def _names(node: Tag) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for label in node.labels() if (name := _name(label))))


def _name(label: Tag) -> str:
    return label.get("alias") or label.get("value")


def _source(target: Tag) -> tuple[ObjectKind, str]:
    """How the object tag shows pictures, and under which key of a task's data they are."""
    several = target.tag == "image" and bool(target.get("valuelist"))
    value = target.get("valuelist") if several else target.get("value")
    if not value.startswith("$") or len(value) < 2:
        raise LabelConfigError(
            f"{target.describe()} has no value from the task's data. Write "
            f'value="$image" (valueList="$frames" for several pictures in a task), got "{value}".'
        )
    if target.tag == "video":
        return "video", value[1:]
    return ("images" if several else "image"), value[1:]


def _asks_one_by_one(target: Tag, nodes: list[Tag]) -> bool:
    return any(
        node.get("perregion").lower() == "true" and node.get("toname") == target.get("name")
        for node in nodes
    )


def _is_background(name: str) -> bool:
    return name.casefold() == BACKGROUND
