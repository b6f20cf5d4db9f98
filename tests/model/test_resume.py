from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.networks import Segmenter, build
from model.resume import TrainingFile, fingerprint


def _network(seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    return build("compact", 2, widths=[8, 8, 8, 8])


def _optimizer(network: Segmenter) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)


_LABELS = {3: np.zeros((4, 6), np.uint8)}


def test_the_same_training_has_the_same_fingerprint() -> None:
    assert fingerprint(_network(), _LABELS, "a") == fingerprint(_network(), dict(_LABELS), "a")


@pytest.mark.parametrize(
    ("seed", "labels", "settings"),
    [
        (1, _LABELS, "a"),
        (0, _LABELS, "b"),
        (0, {4: _LABELS[3]}, "a"),
        (0, {3: np.ones((4, 6), np.uint8)}, "a"),
        (0, {3: np.zeros((6, 4), np.uint8)}, "a"),
        (0, {**_LABELS, 5: _LABELS[3]}, "a"),
    ],
)
def test_another_training_has_another(
    seed: int, labels: dict[int, np.ndarray], settings: str
) -> None:
    before = fingerprint(_network(), _LABELS, "a")
    assert fingerprint(_network(seed), labels, settings) != before


def test_what_is_written_is_taken_up(tmp_path: Path) -> None:
    network = _network()
    optimizer = _optimizer(network)
    network.logits(torch.rand(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    TrainingFile(tmp_path / "state", "one").write(network, optimizer, {"order": [2, 1]}, step=5)
    expected = torch.rand(3)
    other = _network(1)
    taken = TrainingFile(tmp_path / "state", "one").take_up(other, _optimizer(other))
    assert taken == ({"order": [2, 1]}, {"step": 5})
    assert torch.equal(torch.rand(3), expected)
    for first, second in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("training", ["two", "one"])
def test_nothing_of_another_training_or_of_none_is_taken_up(training: str, tmp_path: Path) -> None:
    network = _network()
    if training == "two":
        TrainingFile(tmp_path / "state", "one").write(network, _optimizer(network), {}, step=5)
    before = [value.clone() for value in network.parameters()]
    assert TrainingFile(tmp_path / "state", training).take_up(network, _optimizer(network)) is None
    for first, second in zip(network.parameters(), before, strict=True):
        assert torch.equal(first, second)
