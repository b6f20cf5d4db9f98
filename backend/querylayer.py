"""The query layer of a labelling configuration: the tag that outlines what is to be labelled.

It is a `<RectangleLabels>` with an attribute `samples`, which Label Studio keeps and passes over:
what a sample is stands in the project itself, where no second setting can disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from backend.labeltags import LabelConfigError, Tag
from selection.granularity import Granularity, parse_granularity

__all__ = ["KINDS", "QueryLayer", "find_query_layer", "is_query_tag", "layer_for", "layer_tag"]

KINDS = {"rectangles": "rectangle", "superpixels": "superpixel"}
"""What `maskloop init --samples` calls the kinds of samples beside frames."""

MOST = 200
"""Samples a frame can be asked for: each has a value of its own in a mask of bytes."""

_LABEL = "Label inside these"
_NUMBER = {"rectangle": 8, "superpixel": 16}
# A rectangle is an eighth of the frame's shorter side, a super-pixel half of that: people can see
# what is in it, and a frame has enough of them to choose from.
_PARTS = {"rectangle": 8, "superpixel": 16}
_SMALLEST = 8


@dataclass(frozen=True, slots=True)
class QueryLayer:
    """What is asked for in a project, and the tag that says so.

    Attributes:
        name: The tag's name, the ``from_name`` of its regions.
        label: The label of its rectangles.
        granularity: What a sample is; with frames, a rectangle outlines all of each, so that
            labels of parts, made while parts were asked for, are told from those of whole frames.
        number: Samples of a frame that are asked for at a time, in the mean.
    """

    name: str
    label: str
    granularity: Granularity
    number: int

    @property
    def kind(self) -> str:
        """``frame``, ``rectangle`` or ``superpixel``."""
        return self.granularity.kind

    def __str__(self) -> str:
        if self.kind == "frame":
            return "frame"
        return f"{self.granularity} {self.number}"


def is_query_tag(tag: Tag) -> bool:
    """Whether a tag is the query layer, and so no control that draws labels."""
    return tag.tag == "rectanglelabels" and bool(tag.get("samples"))


def find_query_layer(nodes: Sequence[Tag], target: Tag) -> QueryLayer | None:
    """The query layer on an object tag; None where there is none.

    Raises:
        LabelConfigError: When it asks for samples that there are not.
    """
    for node in nodes:
        if not is_query_tag(node) or node.get("toname") != target.get("name"):
            continue
        try:
            granularity = parse_granularity(node.get("samples"))
        except ValueError as error:
            raise LabelConfigError(f"{node.describe()}: {error}.") from None
        labels = [label.get("alias") or label.get("value") for label in node.labels()]
        if not labels or not labels[0]:
            raise LabelConfigError(
                f"{node.describe()} has no label. Add one, such as <Label value={_LABEL!r}/>."
            )
        number = node.get("number") or str(_NUMBER.get(granularity.kind, 1))
        if not number.isdecimal() or not 1 <= int(number) <= MOST:
            raise LabelConfigError(
                f'{node.describe()}: number="{number}" must be the samples to ask for on a frame, '
                f"1 to {MOST}."
            )
        return QueryLayer(node.get("name"), labels[0], granularity, int(number))
    return None


def layer_for(
    samples: str, frame: tuple[int, int], size: int | None = None, number: int | None = None
) -> QueryLayer | None:
    """The layer that `maskloop init --samples` asks for; None for frames.

    Args:
        samples: ``frames``, ``rectangles`` or ``superpixels``.
        frame: ``(height, width)`` of the clip's frames.
        size: Side of a rectangle, or of a square as large as a super-pixel, in pixels; from the
            frame's size when not given.
        number: Samples to ask for on a frame.

    Raises:
        ValueError: There are no such samples, or a number is out of its range.
    """
    if samples == "frames":
        if size is not None or number is not None:
            raise ValueError("frames have neither a sample size nor a number")
        return None
    if samples not in KINDS:
        raise ValueError(f"samples {samples!r}: expected frames, {' or '.join(KINDS)}")
    kind = KINDS[samples]
    side = size if size is not None else round(min(frame) / _PARTS[kind] / 8) * 8
    side = side if size is not None else max(side, _SMALLEST)
    number = _NUMBER[kind] if number is None else number
    if not 4 <= side <= min(frame):
        raise ValueError(
            f"a sample size of {side}: expected 4 to {min(frame)} pixels, the frame's shorter side"
        )
    if not 1 <= number <= MOST:
        raise ValueError(f"{number} samples on a frame: expected 1 to {MOST}")
    return QueryLayer("queries", _LABEL, Granularity(kind, side), number)


def layer_tag(layer: QueryLayer, to_name: str) -> list[str]:
    """The tag as it is written into a labelling configuration, line by line."""
    return [
        f"  <RectangleLabels name={quoteattr(layer.name)} toName={quoteattr(to_name)} "
        f'samples="{layer.granularity}" number="{layer.number}" '
        'strokeWidth="3" opacity="0" canRotate="false">',
        f'    <Label value={quoteattr(layer.label)} background="#ffd400" hotkey="q"/>',
        "  </RectangleLabels>",
    ]
