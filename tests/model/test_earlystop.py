from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from model.earlystop import HeldOut
from model.networks import Segmenter, build
from tests.model.moving import MovingClip

_CPU = torch.device("cpu")


class _Says(Segmenter):
    """Predicts the clip's true masks, but for some rows."""

    name = "says"
    num_classes = 3

    def __init__(self, clip: MovingClip) -> None:
        super().__init__()
        self.clip = clip
        self.wrong_rows = 0
        self.seen: list[tuple[int, ...]] = []

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        self.seen.append(tuple(images.shape))
        index = next(
            i
            for i in range(len(self.clip))
            if np.allclose(images[0].permute(1, 2, 0).numpy() * 255, self.clip.read(i), atol=0.5)
        )
        mask = self.clip.mask(index)
        mask[: self.wrong_rows] = (mask[: self.wrong_rows] + 1) % 3
        return torch.nn.functional.one_hot(torch.from_numpy(mask).long(), 3).permute(2, 0, 1)[None]

    features = logits

    def classifiers(self) -> list[tuple[torch.nn.Module, str]]:
        return []


def _watch(clip: MovingClip, patience: int = 2) -> HeldOut:
    return HeldOut(clip.read, {i: clip.mask(i) for i in (2, 7)}, 3, patience)


def test_scores_the_frames_and_goes_back_to_training() -> None:
    clip = MovingClip()
    network, watch = _Says(clip), _watch(clip)
    network.train()
    assert watch.look(network, _CPU) == 1.0
    assert network.training
    assert len(network.seen) == 2
    network.wrong_rows = 24
    assert watch.look(network, _CPU) < 0.5


def test_enough_is_said_after_looks_without_a_rise() -> None:
    clip = MovingClip()
    network, watch = _Says(clip), _watch(clip, patience=2)
    said = []
    for wrong in (40, 20, 30, 10, 10, 12):
        network.wrong_rows = wrong
        watch.look(network, _CPU)
        said.append((watch.stale, watch.enough))
    assert said == [(0, False), (0, False), (1, False), (0, False), (1, False), (2, True)]


def test_a_rise_that_hardly_is_one_does_not_count() -> None:
    clip = MovingClip()
    network, watch = _Says(clip), HeldOut(clip.read, {2: clip.mask(2)}, 3, 1)
    watch.best = 0.9985
    assert watch.look(network, _CPU) == 1.0
    assert watch.enough


@pytest.mark.parametrize("size", [(24, 32), (48, 64)])
def test_masks_of_another_size_are_reduced(size: tuple[int, int]) -> None:
    """Frames come at the size of training, masks as they were labelled."""
    clip = MovingClip()

    def read(index: int) -> np.ndarray:
        return np.asarray(cv2.resize(clip.read(index), size[::-1]), dtype=np.uint8)

    torch.manual_seed(0)
    network = build("compact", 3, widths=[8, 8, 8, 8])
    watch = HeldOut(read, {0: clip.mask(0)}, 3, 1)
    assert 0 <= watch.look(network, _CPU) <= 1


def test_nothing_labelled_scores_nothing() -> None:
    clip = MovingClip()
    watch = HeldOut(clip.read, {0: np.full((48, 64), 255, np.uint8)}, 3, 1)
    assert watch.look(_Says(clip), _CPU) == 0.0
