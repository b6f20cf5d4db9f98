from __future__ import annotations

import numpy as np
import pytest
import torch

from model.inference import NetworkEvidence
from model.networks import Segmenter, build
from tests.model.moving import MovingClip


@pytest.fixture
def network() -> Segmenter:
    torch.manual_seed(0)
    return build("compact", 3, widths=[8, 8, 16, 16])


@pytest.mark.parametrize("max_pixels", [10**6, 500])
def test_probabilities_are_of_the_frames_size(network: Segmenter, max_pixels: int) -> None:
    probabilities = NetworkEvidence(network, max_pixels=max_pixels)(0, MovingClip().read(0))
    assert probabilities.shape == (3, 48, 64)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert np.allclose(probabilities.sum(axis=0), 1.0, atol=1e-5)


def test_a_network_is_heard_as_it_is_and_left_alone(network: Segmenter) -> None:
    image = MovingClip().read(3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    first = NetworkEvidence(network, max_pixels=10**6)(3, image)
    network.eval()
    assert np.array_equal(first, NetworkEvidence(network, max_pixels=10**6)(3, image))
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_features_tell_frames_apart(network: Segmenter) -> None:
    clip, evidence = MovingClip(), NetworkEvidence(network, max_pixels=10**6)
    first, again, other = (evidence.feature_map(clip.read(i)) for i in (0, 0, 11))
    assert first.ndim == 3
    assert first.dtype == np.float32
    assert 1 < first.shape[1] < 48
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_features_are_as_many_at_any_size(network: Segmenter) -> None:
    image = MovingClip().read(0)
    large = NetworkEvidence(network, max_pixels=10**6).feature_map(image)
    small = NetworkEvidence(network, max_pixels=1000).feature_map(image)
    assert len(small) == len(large)
    assert small[0].size < large[0].size


def test_asking_for_probabilities_gives_the_features_too(
    network: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, other = MovingClip().read(0), MovingClip().read(5)
    wanted = NetworkEvidence(network, max_pixels=10**6).feature_map(image)
    evidence = NetworkEvidence(network, max_pixels=10**6)
    evidence(0, image)
    asked: list[int] = []
    encode = network.features
    monkeypatch.setattr(network, "features", lambda x: asked.append(1) or encode(x))
    assert np.array_equal(evidence.feature_map(image), wanted)
    assert asked == []
    assert not np.array_equal(evidence.feature_map(other), wanted)
    assert asked == [1]


def test_features_are_worked_out_once(network: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence, image = NetworkEvidence(network, max_pixels=10**6), MovingClip().read(0)
    first = evidence.feature_map(image)
    monkeypatch.setattr(network, "features", None)
    assert evidence.feature_map(image) is first
    with pytest.raises(TypeError, match="not callable"):
        evidence.feature_map(image.copy())


def test_features_of_the_last_two_frames_are_there(
    network: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [MovingClip().read(index) for index in range(3)]
    evidence = NetworkEvidence(network, max_pixels=10**6)
    wanted = [evidence.feature_map(image) for image in images]
    for index, image in enumerate(images):
        evidence(index, image)
    monkeypatch.setattr(network, "features", None)
    for index in (1, 2):
        assert np.array_equal(evidence.feature_map(images[index]), wanted[index])
    with pytest.raises(TypeError, match="not callable"):
        evidence.feature_map(images[0])
