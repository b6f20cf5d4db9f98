"""Wrong labels planted in key frames, and how many of them are found.

    python -m benchmarks.spots [--sets camvid,davis,rendered] [--data FOLDER] [--seeds 0,1]

In key frames of each clip connected regions of one class are given another class that the frame
has, at most one in a key frame and none in two neighbouring ones. A plant counts as named where a
spot has its frame, both classes, and a box that overlaps the region's by more than 0.4 of their
union. Any other spot is false, but for those that the labels have without plants: these are listed.
Each seed is a draw of plants, counted by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.annotator import annotator_for
from backend.keyframes import parse_keys
from backend.settings import load_settings
from benchmarks.expected_quality import clips_of
from benchmarks.run import DATA
from model.benchmark import LabelledClip
from model.blend import FrameResult
from model.keyframes import IGNORE
from model.pipeline import ClipAnnotator
from model.quality import reverse_test
from model.spots import Spot, find_spots

KEYS = {"camvid": "every:10", "davis": "every:15", "rendered": "every:5"}
PLANTS = {"camvid": (2, 4), "davis": (1, 1), "rendered": (1, 3)}
"""Times that each clip is gone over, and plants each time."""

SIZES = (0.005, 0.4)
"""Shares of the frame that a planted region has at least and at most."""

Masks = Mapping[int, NDArray[np.uint8]]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Plant:
    """A region of a key frame that was given another class."""

    frame: int
    box: Box
    true: int
    planted: int

    def is_named(self, spot: Spot) -> bool:
        """Whether a spot tells of it."""
        same = (spot.frame, spot.labelled, spot.expected) == (self.frame, self.planted, self.true)
        return same and overlap(spot.box, self.box) > 0.4

    def told(self, clip: LabelledClip) -> str:
        """It in words."""
        classes = " → ".join(clip.class_names[label] for label in (self.true, self.planted))
        return f"{clip.name}, frame {self.frame}, {self.box}, {classes}"


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (area - width * height)


def plant(
    labels: Masks, count: int, rng: np.random.Generator
) -> tuple[dict[int, NDArray[np.uint8]], list[Plant]]:
    """Plant up to `count` wrong labels; the labels with them, and what they are."""
    wrong = {index: mask.copy() for index, mask in labels.items()}
    order = sorted(labels)
    plants: list[Plant] = []
    for place in (int(place) for place in rng.permutation(len(order))):
        near = order[max(0, place - 1) : place + 2]
        if len(plants) == count or any(made.frame in near for made in plants):
            continue
        mask = wrong[order[place]]
        choices = list(_regions(mask))
        if not choices:
            continue
        inside, box, true = choices[int(rng.integers(len(choices)))]
        others = [int(value) for value in np.unique(mask) if value not in (true, IGNORE)]
        if others:
            planted = others[int(rng.integers(len(others)))]
            mask[inside] = planted
            plants.append(Plant(order[place], box, true, planted))
    return wrong, plants


def _regions(mask: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.bool_], Box, int]]:
    for label in (int(value) for value in np.unique(mask) if value != IGNORE):
        count, regions, stats, _ = cv2.connectedComponentsWithStats(
            (mask == label).astype(np.uint8), connectivity=4
        )
        for region in range(1, count):
            left, top, width, height, size = (int(value) for value in stats[region])
            if SIZES[0] <= size / mask.size <= SIZES[1]:
                yield regions == region, (left, top, left + width, top + height), label


class Finder:
    """Finds the spots of a clip, over and over with other wrong labels in it.

    The prediction of a key frame goes by the key frames around it, so a plant changes those of its
    neighbours; all others are predicted once.

    Args:
        annotator: The clip's annotator.
        labels: The key frames' true masks.
    """

    def __init__(self, annotator: ClipAnnotator, labels: Masks) -> None:
        self._annotator = annotator
        self._order = sorted(labels)
        self._right = self._predicted(labels, self._order)

    def _predicted(self, labels: Masks, indices: Collection[int]) -> dict[int, FrameResult]:
        results = reverse_test(
            self._annotator.source,
            labels,
            self._annotator.num_classes,
            flow=self._annotator.flow,
            settings=self._annotator.propagation,
            refinement=self._annotator.refinement,
            indices=indices,
        )
        return {result.index: replace(result, clues=None, image=None) for result in results}

    def predictions(self, labels: Masks, changed: Collection[int] = ()) -> list[FrameResult]:
        """Each key frame from the others, where labels differ from the true ones in some."""
        near = {
            index
            for pair in pairwise(self._order)
            for index, other in (pair, pair[::-1])
            if other in changed
        }
        predictions = {**self._right, **(self._predicted(labels, near) if near else {})}
        return [predictions[index] for index in sorted(predictions)]

    def spots(self, labels: Masks, changed: Collection[int] = ()) -> list[Spot]:
        """The spots with these labels, which differ from the true ones in some key frames."""
        return find_spots(self.predictions(labels, changed), labels, self._annotator.source)


def is_known(spot: Spot, before: Sequence[Spot]) -> bool:
    """Whether a spot was told of without plants."""
    same = (spot.frame, spot.labelled, spot.expected)
    return any(same == (known.frame, known.labelled, known.expected) for known in before)


def told(clip: LabelledClip, spot: Spot) -> str:
    """A spot in words."""
    names = clip.class_names
    return (
        f"{clip.name}, frame {spot.frame}, {spot.box}: {names[spot.labelled]!r}, to the others "
        f"{names[spot.expected]!r} ({spot.share:.0%} of {spot.pixels} pixels)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", default="camvid,davis,rendered")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", default="0,1")
    options = parser.parse_args()
    draws = {seed: np.random.default_rng(int(seed)) for seed in options.seeds.split(",")}
    counts = {seed: {"planted": 0, "named": 0, "false": 0} for seed in draws}
    settings = load_settings(method="maskloop", finetune_seconds=0)
    already = 0
    for name in options.sets.split(","):
        for clip in clips_of(name, options.data):
            annotator = annotator_for(clip.source, clip.class_names, settings)
            indices = parse_keys(KEYS[name]).of(len(clip))
            labels = {index: clip.masks.read(index) for index in indices}
            finder = Finder(annotator, labels)
            before = finder.spots(labels)
            already += len(before)
            for spot in before:
                print("without plants:", told(clip, spot), flush=True)
            times, most = PLANTS[name]
            for seed in sorted(draws) * times:
                wrong, plants = plant(labels, most, draws[seed])
                found = finder.spots(wrong, {item.frame for item in plants})
                for item in plants:
                    hit = any(item.is_named(spot) for spot in found)
                    counts[seed]["planted"] += 1
                    counts[seed]["named"] += hit
                    print("named:" if hit else "missed:", item.told(clip), f"(seed {seed})")
                for spot in found:
                    if not is_known(spot, before) and not any(p.is_named(spot) for p in plants):
                        counts[seed]["false"] += 1
                        print("false:", told(clip, spot), f"(seed {seed})", flush=True)
    for seed, count in counts.items():
        print(f"seed {seed}:", ", ".join(f"{name} {value}" for name, value in count.items()))
    print(f"without plants: {already}")


if __name__ == "__main__":
    main()
