"""Clips of odd sizes, contents and labels: whatever comes, there are masks and figures."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.pipeline import ClipAnnotator
from model.presets import FinetuneSettings
from model.propagate import PropagationSettings
from model.quality import Calibration, QualityEstimate, reverse_test
from model.spots import SpotFinder


class _Frames:
    """Frames in memory: all black, white, alike, cut in the middle, shaken or noise."""

    def __init__(self, kind: str, count: int, height: int, width: int) -> None:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        large = cv2.blur(rng.integers(0, 256, (height + 20, width + 20, 3), np.uint8), (7, 7))
        places = rng.integers(0, 20, (count, 2))
        self._frames = {
            "black": np.zeros_like(noise),
            "white": np.full_like(noise, 255),
            "still": np.repeat(noise[:1], count, axis=0),
            "cut": np.repeat(noise[:2], -(-count // 2), axis=0)[:count],
            "shaken": np.stack([large[y : y + height, x : x + width] for y, x in places]),
            "noise": noise,
        }[kind]

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> np.ndarray:
        image: np.ndarray = np.ascontiguousarray(self._frames[index])
        return image


def _labels(keys: str, height: int, width: int, classes: int) -> dict[int, np.ndarray]:
    """Masks of random blocks; "3" is whole, "3?" is labelled in points, "3-" in its left half."""
    rng = np.random.default_rng(1)
    labels = {}
    for key in keys.split():
        blocks = rng.integers(0, classes, (-(-height // 8), -(-width // 8))).astype(np.uint8)
        mask = np.kron(blocks, np.ones((8, 8), np.uint8))[:height, :width].copy()
        if key.endswith("?"):
            mask[rng.random(mask.shape) < 0.9] = 255
            mask[0, 0] = 0
        elif key.endswith("-"):
            mask[:, max(width // 2, 1) :] = 255
        labels[int(key.rstrip("?-"))] = mask
    return labels


@pytest.mark.parametrize(
    ("kind", "count", "height", "width", "classes", "keys"),
    [
        ("noise", 1, 1, 1, 1, "0"),
        ("noise", 2, 2, 17, 3, "0 1"),
        ("black", 3, 33, 47, 2, "1"),
        ("white", 5, 48, 64, 5, "0? 4?"),
        ("still", 5, 31, 81, 25, "4"),
        ("cut", 6, 65, 17, 3, "0 5"),
        ("shaken", 6, 48, 64, 60, "2 3"),
        ("shaken", 4, 47, 33, 4, "0 1 2 3"),
        ("noise", 5, 16, 5, 254, "0- 4?"),
        ("shaken", 5, 33, 64, 3, "0- 2? 4-"),
    ],
)
@pytest.mark.parametrize("seconds", [0.0, 1e6], ids=["propagated", "with a network"])
def test_every_clip_gets_masks_and_figures(
    kind: str, count: int, height: int, width: int, classes: int, keys: str, seconds: float
) -> None:
    clip, labels = _Frames(kind, count, height, width), _labels(keys, height, width, classes)
    annotator = ClipAnnotator(
        clip,
        [f"class {number}" for number in range(classes)],
        flow="dis-sharp",
        finetune=FinetuneSettings(seconds=seconds, epochs=1, steps_per_epoch=2),
        propagation=replace(PropagationSettings.best(refine=1.0), ahead=False),
    )
    annotator.finetune(labels)
    if seconds:
        annotator.evidence_weight = 0.75
    finder, estimate = SpotFinder(labels, clip), QualityEstimate(Calibration(tuple(labels)))
    for result in annotator.propagate(labels):
        assert result.probabilities.shape == (classes, height, width)
        assert np.isfinite(result.probabilities).all()
        assert np.isfinite(result.confidence).all()
        assert np.allclose(result.probabilities.sum(axis=0), 1, atol=2e-3)
        mask = labels.get(result.index, np.uint8(255))
        assert ((result.mask == mask) | (mask == 255)).all()
        estimate.add(result)
    settings = annotator.propagation
    for result in reverse_test(clip, labels, classes, flow=annotator.flow, settings=settings):
        finder.add(result)
    assert isinstance(finder.spots(), list)
    assert sorted(estimate.frames) == list(range(count))
    assert all(0 <= value <= 1 for value in (estimate.mean_iou, *estimate.frames.values()))
