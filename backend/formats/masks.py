"""A picture's regions as one mask, and a mask as regions."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from backend.formats.cleaning import clean
from backend.formats.options import EncodeOptions
from backend.formats.regions import drawn_regions, region_results
from backend.formats.registry import MASK_FORMATS
from backend.labelconfig import LabelConfig

__all__ = ["IGNORE", "Unlabelled", "class_id", "decode", "encode"]

IGNORE = 255

Unlabelled = Literal["background", "ignore"]


def decode(
    results: Sequence[Mapping[str, Any]],
    config: LabelConfig,
    size: tuple[int, int],
    *,
    unlabelled: Unlabelled = "background",
    item: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Paint a picture's regions into a mask, in their order: the one drawn last wins.

    A region whose label the configuration doesn't have, or that has none, makes its pixels
    unknown. Where there are key points, which say nothing of what is around them, uncovered pixels
    are unknown too.

    Args:
        results: The annotation's ``result``.
        config: What the labelling configuration asks for.
        size: ``(height, width)`` of the picture.
        unlabelled: What pixels under no region are: class background, or unknown.
        item: Which of a task's pictures; None where the task has one.

    Returns:
        (H, W) uint8 of class indices, 255 where unknown.

    Raises:
        FormatError: When a region is damaged, or was drawn on a picture of another size.
    """
    mask = np.full(size, IGNORE, dtype=np.uint8)
    covered = np.zeros(size, dtype=bool)
    seeds = False
    for region in drawn_regions(results, config, size, item):
        mask[region.pixels] = IGNORE if region.value is None else region.value
        covered |= region.pixels
        seeds = seeds or region.shape == "keypoint"
    if unlabelled == "background" and not seeds:
        mask[~covered] = 0
    return mask


def encode(
    mask: npt.NDArray[np.uint8],
    config: LabelConfig,
    *,
    channels: Sequence[tuple[str, str]] | None = None,
    scores: Mapping[int, float] | None = None,
    item: int | None = None,
    options: EncodeOptions | None = None,
) -> list[dict[str, Any]]:
    """Say a mask in regions, one for each value, with the tag that carries its label best.

    Background and unknown pixels are no region. Regions of a class, or of an object, have the same
    id in every picture.

    Args:
        mask: (H, W) uint8, 255 = unknown.
        config: What the labelling configuration asks for.
        channels: Label and region id of each value of the mask, from 0; an empty id for a whole
            class. The configuration's classes when not given.
        scores: A score 0..1 of each value, shown in the list of regions.
        item: Which of a task's pictures; None where the task has one.
        options: How masks are written.

    Returns:
        The prediction's ``result``.
    """
    options = options or EncodeOptions()
    if channels is None:
        channels = [(name, "") for name in config.class_names]
    mask = clean(mask, options.min_area)
    height, width = mask.shape
    results: list[dict[str, Any]] = []
    parts: Counter[str] = Counter()
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:IGNORE])
    for index in map(int, present):
        label, identity = channels[index] if index < len(channels) else ("", "")
        control = config.control_for(label)
        if index == 0 or control is None:
            continue
        base = identity or class_id(label)
        if item is not None:
            # The screen keeps one region of each id, also where they are on different pictures.
            base = f"{base}-i{item}"
        for value in MASK_FORMATS[control.shape].encode(mask == index, options):
            region = {
                # Of an object whose label a person changed, both labels may be on a frame.
                "id": f"{base}-{parts[base]}" if parts[base] else base,
                "to_name": config.to_name,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
            }
            if item is not None:
                region["item_index"] = item
            if scores is not None and index in scores:
                region["score"] = scores[index]
            parts[base] += 1
            results += region_results(region, control, value, label)
    return results


def class_id(label: str) -> str:
    """The region id of a class that is not told apart into objects."""
    return hashlib.sha256(label.encode()).hexdigest()[:10]
