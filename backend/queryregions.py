"""Queries as regions: rectangles that outline what to label, super-pixels with their class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from backend.asked import QUERY_ID
from backend.formats import IGNORE, EncodeOptions
from backend.formats.polygon import PolygonFormat
from backend.formats.regions import region_results
from backend.formats.registry import MASK_FORMATS
from backend.labelconfig import BACKGROUND, Control, LabelConfig
from backend.querylayer import QueryLayer

__all__ = ["rectangles", "superpixels"]

Mask = npt.NDArray[np.uint8]


def rectangles(queries: Mask, config: LabelConfig, layer: QueryLayer) -> list[dict[str, Any]]:
    """A rectangle of the query layer about each sample.

    Args:
        queries: (H, W) uint8, 0 where nothing is asked for, else the sample's number.
        config: What the labelling configuration asks for.
        layer: Its query layer.
    """
    height, width = queries.shape
    results = []
    for number in _numbers(queries):
        rows, columns = np.nonzero(queries == number)
        top, left = int(rows.min()), int(columns.min())
        value = {
            "x": 100 * left / width,
            "y": 100 * top / height,
            "width": 100 * (int(columns.max()) + 1 - left) / width,
            "height": 100 * (int(rows.max()) + 1 - top) / height,
            "rotation": 0,
            "rectanglelabels": [layer.label],
        }
        region = _region(number, config, queries)
        results.append(
            {**region, "from_name": layer.name, "type": "rectanglelabels", "value": value}
        )
    return results


def superpixels(
    queries: Mask,
    predicted: Mask,
    labels: list[str],
    config: LabelConfig,
    options: EncodeOptions,
) -> list[dict[str, Any]]:
    """A region for each super-pixel, with the class that most of its pixels are predicted to be.

    Polygons where the configuration has them: the screen outlines these. One whose class has no
    label in the configuration (a background without one) can't be shown, and is left out.

    Args:
        queries: (H, W) uint8, 0 where nothing is asked for, else the super-pixel's number.
        predicted: (H, W) uint8 of class indices.
        labels: The label of each class index.
        config: What the labelling configuration asks for.
        options: How masks are written.
    """
    results: list[dict[str, Any]] = []
    for number in _numbers(queries):
        pixels = queries == number
        votes = np.bincount(predicted[pixels], minlength=256)
        votes[IGNORE] = 0
        index = int(votes.argmax())
        label = _label(labels[index] if index < len(labels) else "", config)
        control = _outlining(config, label)
        if control is None:
            continue
        # Of a super-pixel in several parts the largest stands for all: one region, one click.
        values = MASK_FORMATS[control.shape].encode(pixels, options)
        value = next(iter(values), None)
        if value is not None:
            results += region_results(_region(number, config, queries), control, value, label)
    return results


def _numbers(queries: Mask) -> list[int]:
    return [int(number) for number in np.unique(queries) if number]


def _region(number: int, config: LabelConfig, queries: Mask) -> dict[str, Any]:
    height, width = queries.shape
    return {
        "id": f"{QUERY_ID}{number}",
        "to_name": config.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }


def _label(name: str, config: LabelConfig) -> str:
    """The label as the configuration writes it: the background may be called Background."""
    if name != BACKGROUND or name in config.labels:
        return name
    return next((label for label in config.labels if config.class_of(label) == 0), name)


def _outlining(config: LabelConfig, label: str) -> Control | None:
    able = [c for c in config.controls if c.shape in MASK_FORMATS and label in c.labels]
    outlines = [control for control in able if control.shape == PolygonFormat.shape]
    return next(iter([*outlines, *able]), None)
