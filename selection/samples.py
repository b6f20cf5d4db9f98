"""Samples of a frame: what each is worth, looks like and costs, pooled over its pixels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selection.clicks import SUPERPIXEL_CLICKS, boundary_clicks, rectangle_clicks
from selection.granularity import Granularity

__all__ = ["FrameSamples", "describe", "pool", "query_mask"]


def pool(partition: NDArray[np.integer], values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Average a map over each sample.

    Args:
        partition: (H, W) sample numbers, 0 to R − 1.
        values: (H, W), or (C, h, w) at any size: each pixel takes the nearest value.

    Returns:
        (R,) or (R, C) float64; NaN where a pixel of the sample is not finite.

    Raises:
        ValueError: `values` has another number of axes, or (H, W) are not the partition's.
    """
    if values.ndim == 2 and values.shape != partition.shape:
        raise ValueError(f"the map must be {partition.shape}, as the partition; got {values.shape}")
    if values.ndim not in (2, 3):
        raise ValueError(f"values must be (H, W) or (C, h, w); got {values.shape}")
    layers = values[None] if values.ndim == 2 else values
    height, width = partition.shape
    rows = np.arange(height) * layers.shape[1] // height
    columns = np.arange(width) * layers.shape[2] // width
    # A cell of the map and a sample meet in so many pixels: count these once for all channels.
    cells = (rows[:, None] * layers.shape[2] + columns).ravel()
    samples = int(partition.max()) + 1
    pairs, pixels = np.unique(
        partition.ravel().astype(np.int64) * layers[0].size + cells, return_counts=True
    )
    owner, cell = np.divmod(pairs, layers[0].size)
    areas = np.bincount(owner, weights=pixels, minlength=samples)
    flat = layers.reshape(len(layers), -1)
    sums = np.array(
        [np.bincount(owner, weights=pixels * layer[cell], minlength=samples) for layer in flat],
        dtype=np.float64,
    )
    means = np.where(np.isfinite(sums), sums, np.nan) / areas
    return np.asarray(means[0] if values.ndim == 2 else means.T, dtype=np.float64)


@dataclass(frozen=True)
class FrameSamples:
    """The samples of one frame, R of them.

    Attributes:
        frame: The frame's index.
        boxes: (R, 4) int32: top, left, height, width.
        areas: (R,) int64, pixels.
        clicks: (R,) int64, what labelling each is expected to cost, from the mask so far.
        uncertainty: (R,) float64, the mean over the sample's pixels.
        features: (R, C) float32.
    """

    frame: int
    boxes: NDArray[np.int32]
    areas: NDArray[np.int64]
    clicks: NDArray[np.int64]
    uncertainty: NDArray[np.float64]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.areas)


def describe(
    frame: int,
    granularity: Granularity,
    partition: NDArray[np.int32],
    *,
    uncertainty: NDArray[np.floating],
    features: NDArray[np.floating],
    mask: NDArray[np.uint8],
    free: Collection[int] = (),
) -> FrameSamples:
    """Say what each sample of a frame is worth, looks like and costs.

    Args:
        frame: The frame's index.
        granularity: What a sample is.
        partition: (H, W), as `partition` gives it.
        uncertainty: (H, W), 0..1.
        features: (C, h, w), of the network's backbone or of any size.
        mask: (H, W) uint8: the label where it is known, else the mask so far.
        free: Classes that nobody draws (`selection.clicks`).

    Raises:
        ValueError: Shapes don't fit.
    """
    if mask.shape != partition.shape:
        raise ValueError(f"the mask must be {partition.shape}, as the partition; got {mask.shape}")
    boxes = _boxes(partition)
    if granularity.kind == "frame":
        clicks = [boundary_clicks(mask, free)]
    elif granularity.kind == "rectangle":
        clicks = [
            rectangle_clicks(mask, (top, left, height, width), free)
            for top, left, height, width in boxes.tolist()
        ]
    else:
        clicks = [SUPERPIXEL_CLICKS] * len(boxes)
    return FrameSamples(
        frame=frame,
        boxes=boxes,
        areas=np.bincount(partition.ravel(), minlength=len(boxes)),
        clicks=np.array(clicks, dtype=np.int64),
        uncertainty=pool(partition, uncertainty),
        features=pool(partition, features).astype(np.float32),
    )


def query_mask(partition: NDArray[np.integer], chosen: Collection[int]) -> NDArray[np.bool_]:
    """The pixels that are asked for: what lies outside is unknown, not background.

    Args:
        partition: (H, W) sample numbers.
        chosen: Numbers of the queried samples.

    Returns:
        (H, W) bool.
    """
    return np.isin(partition, np.fromiter(chosen, dtype=np.int64, count=len(chosen)))


def _boxes(partition: NDArray[np.integer]) -> NDArray[np.int32]:
    """(R, 4) bounding boxes: top, left, height, width."""
    height, width = partition.shape
    numbers = partition.ravel()
    count = int(numbers.max()) + 1
    low = np.full((2, count), max(height, width), dtype=np.int64)
    high = np.zeros((2, count), dtype=np.int64)
    for axis, places in enumerate(np.divmod(np.arange(numbers.size), width)):
        np.minimum.at(low[axis], numbers, places)
        np.maximum.at(high[axis], numbers, places)
    return np.stack([*low, *(high - low + 1)], axis=1).astype(np.int32)
