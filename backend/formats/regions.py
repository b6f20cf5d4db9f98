"""The regions of a label, one by one: what was drawn, with which tag, under which label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.formats.errors import FormatError
from backend.formats.registry import MASK_FORMATS, REGION_FORMATS
from backend.labelconfig import Control, LabelConfig

__all__ = ["Drawn", "check_size", "drawn_regions", "labels_by_region", "region_results"]


_MASK_KINDS = frozenset(kind for shape in MASK_FORMATS for kind in (shape, f"{shape}labels"))


@dataclass(frozen=True, slots=True)
class Drawn:
    """One region.

    Attributes:
        id: Label Studio's id of the region; an object keeps it.
        shape: What was drawn, as `backend.labelconfig.Control` has it.
        value: Its class index; None where the configuration doesn't have its label.
        pixels: (H, W) bool.
    """

    id: str
    shape: str
    value: int | None
    pixels: npt.NDArray[np.bool_]


def drawn_regions(
    results: Sequence[Mapping[str, Any]],
    config: LabelConfig,
    size: tuple[int, int],
    item: int | None = None,
) -> Iterator[Drawn]:
    """The regions on a picture, in the order in which they lie on each other.

    What isn't a region of the configuration's controls (choices, texts, relations, masks on another
    picture) is passed over.

    Args:
        results: The annotation's ``result``.
        config: What the labelling configuration asks for.
        size: ``(height, width)`` of the picture.
        item: Which of a task's pictures; None where the task has one.

    Raises:
        FormatError: When a region is damaged, was drawn on a picture of another size, or is a mask
            of a tag that there is not.
    """
    height, width = size
    controls = {control.name: control for control in config.controls}
    named = labels_by_region(results)
    for region in results:
        control = controls.get(str(region.get("from_name")))
        if control is None or control.shape not in REGION_FORMATS:
            _check_tag(region, config)
            continue
        if item is not None and (region.get("item_index") or 0) != item:
            continue
        identity, value = str(region.get("id") or ""), region.get("value")
        try:
            if not isinstance(value, Mapping):
                raise FormatError("it has no value")
            check_size(region, height, width)
            pixels = REGION_FORMATS[control.shape].decode(value, height, width)
        except FormatError as error:
            raise FormatError(f"region {identity}: {error}") from None
        labels = _texts(value.get(control.label_key)) or named.get(identity, [])
        known = [found for label in labels if (found := config.class_of(label)) is not None]
        yield Drawn(identity, control.shape, known[0] if known else None, pixels)


def region_results(
    region: dict[str, Any], control: Control, value: dict[str, Any], label: str
) -> list[dict[str, Any]]:
    """A region in Label Studio's words: two results where its label is a tag of its own."""
    if control.labels_from is None:
        value = {**value, control.label_key: [label]}
        return [{**region, "from_name": control.name, "type": control.kind, "value": value}]
    named = {**value, "labels": [label]}
    return [
        {**region, "from_name": control.name, "type": control.kind, "value": value},
        {**region, "from_name": control.labels_from, "type": "labels", "value": named},
    ]


def labels_by_region(results: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What separate ``<Labels>`` tags say, by region id."""
    return {
        str(region.get("id")): _texts(region["value"].get("labels"))
        for region in results
        if region.get("type") == "labels" and isinstance(region.get("value"), Mapping)
    }


def _texts(labels: Any) -> list[str]:
    return [str(label) for label in labels] if isinstance(labels, list) else []


def _check_tag(region: Mapping[str, Any], config: LabelConfig) -> None:
    """Raise `FormatError` where a mask is of no tag at all, as with labels that were made for
    another project: without it, what it covers would be background."""
    name = region.get("from_name")
    if name not in config.tag_names and str(region.get("type")) in _MASK_KINDS:
        raise FormatError(
            f"region {region.get('id')}: it is of a tag called {name!r}, which the labelling "
            "configuration doesn't have; give the tag that draws masks this name, or delete the "
            "region"
        )


def check_size(region: Mapping[str, Any], height: int, width: int) -> None:
    """Raise `FormatError` where a region was drawn on a picture of another size."""
    # `image_rotation` only says how the screen showed the picture: regions are in the coordinates
    # of the picture as it is, and so are `original_width` and `original_height`.
    drawn = (region.get("original_height"), region.get("original_width"))
    if drawn != (height, width):
        raise FormatError(
            f"it was drawn on a picture of {drawn[1]}×{drawn[0]} pixels, and the picture is now "
            f"{width}×{height}; put the old picture back, or delete the region"
        )
