"""Labels for unlabelled frames, carried over from the labelled ones, to learn from as well.

They are wrong here and there, and say so: each pixel has a weight, how far propagation trusts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.chain import Link
from model.flow import FlowEstimator
from model.flowstore import FlowStore
from model.propagate import PropagationSettings, propagate

__all__ = ["CarriedLabels", "carry_labels", "windows"]

_FEW = 2
"""With so many key frames at most, the best propagation is worth its time."""


@dataclass(frozen=True)
class CarriedLabels:
    """One frame's labels as propagation has them.

    Attributes:
        index: The frame.
        mask: (H, W) uint8 class indices.
        weight: (H, W) uint8, 0 (not to be trusted) to 255.
    """

    index: int
    mask: NDArray[np.uint8]
    weight: NDArray[np.uint8]


class _Window:
    """Frames `start` to `stop` of a clip as a clip of its own."""

    def __init__(self, read: Callable[[int], NDArray[np.uint8]], start: int, stop: int) -> None:
        self._read = read
        self._start = start
        self._length = stop - start

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> NDArray[np.uint8]:
        return self._read(self._start + index)


class _WindowFlow(FlowStore):
    """The flow of a clip, by the numbers that frames have in a window of it."""

    def __init__(self, clip: FlowStore, start: int) -> None:
        super().__init__(clip, limit=0)
        self._clip = clip
        self._start = start

    def links(self, index: int, read: Callable[[int], NDArray[np.uint8]]) -> tuple[Link, Link]:
        return self._clip.links(self._start + index, lambda each: read(each - self._start))


def windows(keys: Iterable[int], length: int, most: int) -> list[tuple[int, int]]:
    """Choose stretches around the key frames, of about `most` frames in all.

    Args:
        keys: Labelled frames.
        length: The clip's length.
        most: Frames that there may be; as many are taken on each side of every key frame.

    Returns:
        (start, stop) of each stretch, in order and not touching; the whole clip where it fits.
    """
    ordered = sorted(keys)
    if length <= most:
        return [(0, length)]
    reach = max(1, most // (2 * len(ordered)))
    found: list[tuple[int, int]] = []
    for key in ordered:
        start, stop = max(0, key - reach), min(length, key + reach + 1)
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found


def carry_labels(
    read: Callable[[int], NDArray[np.uint8]],
    length: int,
    masks: Mapping[int, NDArray[np.uint8]],
    num_classes: int,
    *,
    flow: FlowEstimator,
    most: int,
    enough: Callable[[], bool] = lambda: False,
    ahead: bool = True,
) -> dict[int, CarriedLabels]:
    """Propagate masks to the frames around them.

    Args:
        read: Gives a frame, of the masks' size.
        length: Frames of the clip.
        masks: Frame index → (H, W) uint8, 255 = ignore.
        num_classes: K.
        flow: The flow estimator; a `FlowStore` of the frames that `read` gives spares what was
            worked out before.
        most: Frames to label at most, the ones nearest to the labelled.
        enough: Asked after each frame; once it says so, the rest is left.
        ahead: Whether a thread works ahead, as in `PropagationSettings`.

    Returns:
        Frame index → its labels.
    """
    carried: dict[int, CarriedLabels] = {}
    flows = flow if isinstance(flow, FlowStore) else FlowStore(flow, limit=0)
    for start, stop in windows(masks, length, most):
        keys = {index - start: mask for index, mask in masks.items() if start <= index < stop}
        # Between two key frames plain flow does nearly as well in a third of the time.
        how = PropagationSettings.best() if len(keys) <= _FEW else PropagationSettings()
        how = replace(how, ahead=ahead)
        window = _Window(read, start, stop)
        of_window = _WindowFlow(flows, start)
        with closing(propagate(window, keys, num_classes, flow=of_window, settings=how)) as results:
            for result in results:
                sure = result.probabilities.max(axis=0) * result.confidence
                index = start + result.index
                carried[index] = CarriedLabels(
                    index, result.mask, np.asarray(np.rint(sure * 255), dtype=np.uint8)
                )
                if enough():
                    return carried
    return carried
