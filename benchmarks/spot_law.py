"""Fit the weights by which spots are told, on wrong labels planted in key frames.

    python -m benchmarks.spot_law

Plants are those of `benchmarks.spots` on its rendered clips, draws 0 to 3, and draws 0 and 1 of six
more; real clips are for measuring only. Every region that `model.regions` finds in the key frames
is looked at for every other class (`model.spotlaw`): right where it is the plant and the class is
the true one, left out where it is a part of a plant or mirrors one in the key frame beside it,
wrong otherwise. The weight of size is not fitted, as no plant is smaller than the size from which
it counts.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from backend.annotator import annotator_for
from backend.keyframes import parse_keys
from backend.settings import load_settings
from benchmarks.expected_quality import MEASURED, rendered
from benchmarks.spots import KEYS, PLANTS, Finder, Masks, Plant, overlap, plant
from model.benchmark import LabelledClip
from model.colours import Colours
from model.regions import regions_of
from model.spotlaw import Evidence, SpotLaw, evidence_of

MORE = (
    ("hard", 111, 1),
    ("hard", 112, 2),
    ("easy", 113, 2),
    ("hard", 114, 2),
    ("easy", 115, 3),
    ("hard", 116, 3),
)
"""Rendered clips beside those of `benchmarks.spots`, gone over twice a draw, three plants each."""

_HOPELESS = -1.0
"""Colours' log-odds below which a class that is not predicted either is not worth a row."""

_RIDGE = 0.1
"""Weights are drawn to 0 by this."""

_SIZE = 4
"""Which of `SpotLaw`'s weights is given."""

Key = tuple[str, int, tuple[int, int, int, int], int, int]
Row = tuple[Key, tuple[float, ...], bool]
"""What it is about (the same in several passes), the terms, and whether it is misnamed."""


def is_misnamed(
    evidence: Evidence, frame: int, plants: Sequence[Plant], wrong: Masks, right: Masks
) -> bool | None:
    """Whether a region is a plant, and the class its true one; None where that is not asked.

    Args:
        evidence: A region of a key frame, and another class.
        frame: The key frame.
        plants: The plants of this pass.
        wrong: The key frames' masks with them.
        right: The same without.
    """
    region, order = evidence.region, sorted(right)
    for item in plants:
        named = (item.frame, item.planted, item.true) == (frame, region.label, evidence.other)
        if named and overlap(region.box, item.box) > 0.4:
            return True
        apart = abs(order.index(item.frame) - order.index(frame))
        if apart == 1 and (item.true, item.planted) == (region.label, evidence.other):
            return None
    changed = (wrong[frame] != right[frame])[region.window] & region.inside
    return None if changed.sum() > 0.3 * region.inside.sum() else False


def rows_of(
    clip: LabelledClip, keys: str, times: int, most: int, draws: Sequence[np.random.Generator]
) -> Iterator[Row]:
    """What is found in one clip, without plants and with them.

    Args:
        clip: The clip.
        keys: Which frames are labelled.
        times: Passes with plants in each draw.
        most: Plants in each.
        draws: Where the plants come from.
    """
    settings = load_settings(method="maskloop", finetune_seconds=0)
    annotator = annotator_for(clip.source, clip.class_names, settings)
    right = {index: clip.masks.read(index) for index in parse_keys(keys).of(len(clip))}
    finder = Finder(annotator, right)
    passes: list[tuple[Masks, list[Plant]]] = [(right, [])]
    passes += [plant(right, most, draw) for _ in range(times) for draw in draws]
    for wrong, plants in passes:
        colours = Colours(wrong, clip.source)
        for result in finder.predictions(wrong, {item.frame for item in plants}):
            frame = result.index
            for region in regions_of(wrong[frame], result, colours):
                for evidence in evidence_of(region, result, colours):
                    truth = is_misnamed(evidence, frame, plants, wrong, right)
                    hopeless = evidence.share < 0.5 and evidence.terms[2] < _HOPELESS
                    if truth is not None and not hopeless:
                        key = (clip.name, frame, region.box, region.label, evidence.other)
                        yield key, evidence.terms, truth


def fit(rows: Sequence[Row], size: float = SpotLaw().size) -> NDArray[np.float64]:
    """Logistic regression by Newton's method; what is in several passes weighs as the root of them.

    Args:
        rows: From `rows_of`.
        size: The weight that is given.

    Returns:
        (6,) the weights of `SpotLaw`.
    """
    often = Counter(key for key, _, _ in rows)
    weight = np.array([often[key] ** -0.5 for key, _, _ in rows])
    terms = np.array([found for _, found, _ in rows])
    y = np.array([truth for _, _, truth in rows], np.float64)
    given = size * terms[:, _SIZE]
    x = np.delete(terms, _SIZE, axis=1)
    found: NDArray[np.float64] = np.zeros(x.shape[1])
    for _ in range(60):
        share = 1 / (1 + np.exp(-np.clip(x @ found + given, -30, 30)))
        curve = (x * (weight * share * (1 - share))[:, None]).T @ x + _RIDGE * np.eye(len(found))
        found = found + np.linalg.solve(curve, x.T @ (weight * (y - share)) - _RIDGE * found)
    return np.insert(found, _SIZE, size)


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    rows: list[Row] = []
    for clips, seeds, (times, most) in (
        (rendered(MEASURED), range(4), PLANTS["rendered"]),
        (rendered(MORE), range(2), (2, 3)),
    ):
        draws = [np.random.default_rng(seed) for seed in seeds]
        for clip in clips:
            rows += rows_of(clip, KEYS["rendered"], times, most, draws)
            print(f"{clip.name}: {len(rows)} rows so far", flush=True)
    for field, value in zip(fields(SpotLaw), fit(rows), strict=True):
        print(f"{field.name} {value:.2f}")


if __name__ == "__main__":
    main()
