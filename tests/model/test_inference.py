from __future__ import annotations

import numpy as np
import pytest
import torch

from model.inference import embed, feature_map, network_evidence, predict
from model.networks import Segmenter, build
from tests.model.moving import MovingClip


@pytest.fixture
def network() -> Segmenter:
    torch.manual_seed(0)
    return build("compact", 3, widths=[8, 8, 16, 16])


@pytest.mark.parametrize("max_pixels", [10**6, 500])
def test_probabilities_are_of_the_frames_size(network: Segmenter, max_pixels: int) -> None:
    image = MovingClip().read(0)
    probabilities = predict(network, image, max_pixels=max_pixels)
    assert probabilities.shape == (3, 48, 64)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert np.allclose(probabilities.sum(axis=0), 1.0, atol=1e-5)


def test_evidence_is_the_networks_word_and_leaves_it_alone(network: Segmenter) -> None:
    network.train()
    image = MovingClip().read(3)
    evidence = network_evidence(network, max_pixels=10**6)
    assert np.array_equal(evidence(3, image), predict(network, image, max_pixels=10**6))
    assert all(p.grad is None for p in network.parameters())


def test_embeddings_tell_frames_apart_and_not_their_size(network: Segmenter) -> None:
    clip = MovingClip()
    first, again, other = (embed(network, clip.read(i), max_pixels=10**6) for i in (0, 0, 11))
    assert first.ndim == 1
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert embed(network, clip.read(0), max_pixels=1000).shape == first.shape


def test_the_feature_map_averages_to_the_embedding(network: Segmenter) -> None:
    image = MovingClip().read(0)
    places = feature_map(network, image, max_pixels=10**6)
    assert places.ndim == 3
    assert places.shape[1] > 1
    np.testing.assert_allclose(
        places.mean(axis=(1, 2)), embed(network, image, max_pixels=10**6), atol=1e-6
    )


def test_asking_for_probabilities_gives_the_features_too(
    network: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, other = MovingClip().read(0), MovingClip().read(5)
    evidence = network_evidence(network, max_pixels=10**6)
    wanted = feature_map(network, image, max_pixels=10**6)
    evidence(0, image)
    asked: list[int] = []
    encode = network.features
    monkeypatch.setattr(network, "features", lambda x: asked.append(1) or encode(x))
    assert np.array_equal(evidence.feature_map(image), wanted)
    assert asked == []
    assert not np.array_equal(evidence.feature_map(other), wanted)
    assert asked == [1]
