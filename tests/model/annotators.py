"""Annotators of a small made-up clip, with networks that are quick to train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from model.finetune import FinetuneSettings
from model.networks import NETWORKS, Compact
from model.pipeline import ClipAnnotator
from tests.model.moving import CLASS_NAMES, MovingClip

QUICK = FinetuneSettings(epochs=4, steps_per_epoch=4)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compact network with few channels: what is tested here is not how well it sees."""

    def compact(num_classes: int, widths: Sequence[int] = (8, 16, 16, 16)) -> Compact:
        return Compact(num_classes, widths)

    monkeypatch.setitem(NETWORKS, "compact", compact)


def annotator_of(clip: MovingClip, **options: Any) -> ClipAnnotator:
    """Make an annotator that learns quickly."""
    options = {"class_names": CLASS_NAMES, "finetune": QUICK, **options}
    return ClipAnnotator(clip, **options)


def labels_of(clip: MovingClip, *indices: int) -> dict[int, np.ndarray]:
    """The clip's masks of these frames."""
    return {index: clip.mask(index) for index in indices}
