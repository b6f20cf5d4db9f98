"""What propagation carries through a clip: classes, or objects under one region id each.

A clip's masks hold *channels*: 0 is background, and each other channel is a class, or one object of
a class where the project asks for objects. An object keeps its region id through all frames, so
that a person's correction of a prediction is the same object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from backend.formats import IGNORE
from backend.formats.regions import Drawn
from backend.labelconfig import BACKGROUND

__all__ = ["Channel", "ClipObjects", "base_id"]

Mask = npt.NDArray[np.uint8]

_SUFFIX = re.compile(r"(-i[0-9]+)?(-[0-9]+)?$")
_MOST_CHANNELS = 200
# Below this overlap with a predicted object, what a person drew is another one.
_SAME_OBJECT = 0.25


@dataclass(frozen=True, slots=True)
class Channel:
    """What one value of a clip's masks stands for.

    Attributes:
        label: The class's name.
        identity: The object's region id; empty for a whole class.
    """

    label: str
    identity: str = ""


class ClipObjects:
    """The channels of a clip, found while its labels are read one after another.

    Args:
        class_names: The configuration's classes, background first.
        whole: The labels that occur in the clip; None for all.
        objects: Whether regions are objects; else a class is one channel.
        known: Channels of the round before, whose ids and order go on.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        whole: Iterable[str] | None = None,
        objects: bool = False,
        known: Sequence[Channel] = (),
    ) -> None:
        self._class_names = list(class_names)
        self._objects = objects
        self._left_out: set[Channel] = set()
        allowed = set(class_names) if whole is None else set(whole)
        self.channels = [Channel(BACKGROUND)]
        if objects:
            self.channels += [
                channel
                for channel in known[1:]
                if channel.label in class_names and channel.identity
            ]
        else:
            self.channels += [Channel(name) for name in class_names[1:] if name in allowed]

    @property
    def names(self) -> list[str]:
        """A name for each channel, no two alike: ``car``, ``car #2``."""
        seen: dict[str, int] = {}
        names = []
        for channel in self.channels:
            seen[channel.label] = seen.get(channel.label, 0) + 1
            number = seen[channel.label]
            names.append(channel.label if number == 1 else f"{channel.label} #{number}")
        return names

    @property
    def problem(self) -> str | None:
        """What was drawn in vain, in a sentence; None where nothing was."""
        if not self._left_out:
            return None
        return (
            f"has {len(self._left_out)} objects beyond the {_MOST_CHANNELS - 1} that can be told "
            'apart in a clip; their pixels are unknown. Give a part of its tasks another "clip", '
            "or set MASKLOOP_OBJECTS=off, with which each label is one mask."
        )

    def paint(
        self,
        drawn: Iterable[Drawn],
        size: tuple[int, int],
        *,
        uncovered: int,
        predicted: tuple[Mask, Sequence[Channel]] | None = None,
        before: Mask | None = None,
    ) -> Mask:
        """A frame's label as a mask of channels; the region drawn last wins.

        A region whose id is known is that object. Another one is the object of its class that was
        predicted where it is; without a prediction, the one that is nearest in the labelled frame
        before; else a new one.

        Args:
            drawn: The frame's regions in the order drawn.
            size: ``(height, width)`` of the frame.
            uncovered: What pixels under no region are: 0 or 255.
            predicted: The mask of channels that the person was shown, with its channels.
            before: The labelled frame before, as a mask of these channels.

        Returns:
            (H, W) uint8 of channels, 255 where unknown.
        """
        mask = np.full(size, IGNORE, dtype=np.uint8)
        covered = np.zeros(size, dtype=bool)
        seeds = False
        regions = list(drawn)
        channels = self._assign(regions, predicted, before) if self._objects else None
        for number, region in enumerate(regions):
            channel = self._class_channel(region) if channels is None else channels[number]
            mask[region.pixels] = channel
            covered |= region.pixels
            seeds = seeds or region.shape == "keypoint"
        if not seeds:
            mask[~covered] = uncovered
        return mask

    def _class_channel(self, region: Drawn) -> int:
        if region.value is None:
            return IGNORE
        channel = Channel(self._class_names[region.value] if region.value else BACKGROUND)
        # What a person drew outranks the list of labels that occur.
        return self._index(channel)

    def _assign(
        self,
        regions: list[Drawn],
        predicted: tuple[Mask, Sequence[Channel]] | None,
        before: Mask | None,
    ) -> list[int]:
        """The channel of each region."""
        found: list[int | None] = []
        for region in regions:
            if not region.value:
                found.append(IGNORE if region.value is None else 0)
                continue
            label = self._class_names[region.value]
            channel = Channel(label, base_id(region.id, self._identities))
            found.append(self.channels.index(channel) if channel in self.channels else None)
        new = {r.value for r, c in zip(regions, found, strict=True) if c is None and r.value}
        for value in sorted(new):
            self._match(value, regions, found, predicted, before)
        return [
            self._index(Channel(self._class_names[region.value or 0], region.id))
            if channel is None
            else channel
            for region, channel in zip(regions, found, strict=True)
        ]

    def _match(
        self,
        value: int,
        regions: list[Drawn],
        found: list[int | None],
        predicted: tuple[Mask, Sequence[Channel]] | None,
        before: Mask | None,
    ) -> None:
        """Give new regions of a class the objects that they most likely are."""
        label = self._class_names[value]
        new = [i for i, r in enumerate(regions) if found[i] is None and r.value == value]
        free = [
            index
            for index, channel in enumerate(self.channels)
            if channel.label == label and index not in found
        ]
        if predicted is not None:
            pixels = {
                self.channels.index(channel): predicted[0] == number
                for number, channel in enumerate(predicted[1])
                if channel in self.channels
            }
            cost = [[1 - _overlap(regions[i].pixels, pixels.get(c)) for c in free] for i in new]
            worst = 1 - _SAME_OBJECT
        elif before is not None and before.shape == regions[new[0]].pixels.shape:
            cost = [[_distance(regions[i].pixels, before == c) for c in free] for i in new]
            worst = 1.0
        else:
            return
        if not free:
            return
        matrix = np.array(cost)
        for row, column in zip(*linear_sum_assignment(matrix), strict=True):
            if matrix[row, column] <= worst:
                found[new[row]] = free[column]

    def _index(self, channel: Channel) -> int:
        if channel not in self.channels:
            if len(self.channels) >= _MOST_CHANNELS:
                self._left_out.add(channel)
                return IGNORE
            self.channels.append(channel)
        return self.channels.index(channel)

    @property
    def _identities(self) -> set[str]:
        return {channel.identity for channel in self.channels if channel.identity}


def base_id(region_id: str, known: Iterable[str]) -> str:
    """The object of a region id: parts of an object, and pictures of a task, have suffixes."""
    base = _SUFFIX.sub("", region_id)
    return base if base in set(known) else region_id


def _overlap(one: npt.NDArray[np.bool_], two: npt.NDArray[np.bool_] | None) -> float:
    if two is None or one.shape != two.shape:
        return 0.0
    union = int((one | two).sum())
    return int((one & two).sum()) / union if union else 0.0


def _distance(one: npt.NDArray[np.bool_], two: npt.NDArray[np.bool_]) -> float:
    """Distance of the centres as a share of the diagonal; 2 where one is empty."""
    if not one.any() or not two.any():
        return 2.0
    centres = [np.argwhere(pixels).mean(axis=0) for pixels in (one, two)]
    return float(np.linalg.norm(centres[0] - centres[1]) / np.linalg.norm(one.shape))
