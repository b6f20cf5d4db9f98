"""A picture's regions as one mask, and a mask as regions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from backend.formats.errors import FormatError
from backend.formats.registry import FORMATS
from backend.labelconfig import Control, LabelConfig

__all__ = ["IGNORE", "decode", "encode"]

IGNORE = 255

Unlabelled = Literal["background", "ignore"]


def decode(
    results: Sequence[Mapping[str, Any]],
    config: LabelConfig,
    size: tuple[int, int],
    *,
    unlabelled: Unlabelled = "background",
) -> npt.NDArray[np.uint8]:
    """Paint a picture's regions into a mask, in their order: the one drawn last wins.

    What isn't a region of the configuration's controls (choices, texts, relations) is passed over.
    A region whose label the configuration doesn't have, or that has none, makes its pixels
    unknown.

    Args:
        results: The annotation's ``result``.
        config: What the labelling configuration asks for.
        size: ``(height, width)`` of the picture.
        unlabelled: What pixels under no region are: class background, or unknown.

    Returns:
        (H, W) uint8 of class indices, 255 where unknown.

    Raises:
        FormatError: When a region is damaged, or was drawn on a picture of another size.
    """
    height, width = size
    mask = np.full(size, IGNORE if unlabelled == "ignore" else 0, dtype=np.uint8)
    for region, control, labels in _regions(results, config):
        try:
            _check_size(region, height, width)
            pixels = FORMATS[control.shape].decode(region["value"], height, width)
        except FormatError as error:
            raise FormatError(f"region {region.get('id')}: {error}") from None
        known = [found for label in labels if (found := config.class_of(label)) is not None]
        mask[pixels] = known[0] if known else IGNORE
    return mask


def encode(
    mask: npt.NDArray[np.uint8],
    config: LabelConfig,
    *,
    scores: Mapping[int, float] | None = None,
    ids: Mapping[int, str] | None = None,
) -> list[dict[str, Any]]:
    """Say a mask in regions, one a class, with the tag that carries it best.

    Background and unknown pixels are no region. Regions of a class have the same id in every
    picture.

    Args:
        mask: (H, W) uint8 of class indices, 255 = unknown.
        config: What the labelling configuration asks for.
        scores: A score 0..1 of each class, shown in the list of regions.
        ids: Region ids by class.

    Returns:
        The prediction's ``result``.
    """
    height, width = mask.shape
    results: list[dict[str, Any]] = []
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:IGNORE])
    for index in map(int, present):
        label = config.class_names[index] if index < len(config.class_names) else ""
        control = config.control_for(label)
        if index == 0 or control is None:
            continue
        base = ids[index] if ids and index in ids else _class_id(label)
        for part, value in enumerate(FORMATS[control.shape].encode(mask == index)):
            region = {
                "id": base if part == 0 else f"{base}-{part}",
                "to_name": config.to_name,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
            }
            if scores is not None and index in scores:
                region["score"] = scores[index]
            results += _labelled(region, control, value, label)
    return results


def _regions(
    results: Sequence[Mapping[str, Any]], config: LabelConfig
) -> Iterator[tuple[Mapping[str, Any], Control, list[str]]]:
    """The regions of masks with their controls and labels, in the order drawn."""
    controls = {control.name: control for control in config.controls}
    named = {
        region.get("id"): _texts(region["value"].get("labels"))
        for region in results
        if region.get("type") == "labels" and isinstance(region.get("value"), Mapping)
    }
    for region in results:
        control = controls.get(str(region.get("from_name")))
        if control is None or control.shape not in FORMATS:
            continue
        value = region.get("value")
        if not isinstance(value, Mapping):
            raise FormatError(f"region {region.get('id')} has no value")
        if control.labels_from is None:
            labels = _texts(value.get(control.label_key))
        else:
            labels = named.get(region.get("id"), [])
        yield region, control, labels


def _texts(labels: Any) -> list[str]:
    return [str(label) for label in labels] if isinstance(labels, list) else []


def _check_size(region: Mapping[str, Any], height: int, width: int) -> None:
    drawn = (region.get("original_height"), region.get("original_width"))
    if drawn != (height, width):
        raise FormatError(
            f"it was drawn on a picture of {drawn[1]}×{drawn[0]} pixels, and the picture is now "
            f"{width}×{height}; put the old picture back, or delete the region"
        )
    if region.get("image_rotation"):
        raise FormatError(
            f"it was drawn on a picture turned by {region['image_rotation']}°, which can't be "
            "read; turn the picture back on the screen and submit again"
        )


def _labelled(
    region: dict[str, Any], control: Control, value: dict[str, Any], label: str
) -> list[dict[str, Any]]:
    """A region in Label Studio's words: two results where its label is a tag of its own."""
    if control.labels_from is None:
        value = {**value, control.label_key: [label]}
        return [{**region, "from_name": control.name, "type": control.kind, "value": value}]
    return [
        {**region, "from_name": control.name, "type": control.kind, "value": value},
        {
            **region,
            "from_name": control.labels_from,
            "type": "labels",
            "value": {**value, "labels": [label]},
        },
    ]


def _class_id(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()[:10]
