from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from model.networks import Segmenter, build
from model.optimizers import OPTIMIZERS, Muon, make_optimizer, orthogonalise


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 99))
def test_orthogonalise_evens_out_the_singular_values(rows: int, columns: int, seed: int) -> None:
    """Whatever the matrix: those that are not tiny come to about 1, with the same directions."""
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    left, before, right = torch.linalg.svd(matrix, full_matrices=False)
    out = orthogonalise(matrix * 37.0)
    after = (left.T @ out @ right.T).diagonal()
    large = before > 0.1 * before.max()
    assert out.shape == matrix.shape
    assert ((after > 0.5) & (after < 1.35))[large].all()


def test_orthogonalise_leaves_zero_alone() -> None:
    assert not orthogonalise(torch.zeros(3, 5)).any()


def _network() -> Segmenter:
    torch.manual_seed(0)
    return build("compact", 3, widths=[8, 16, 16, 16])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_loss_and_moves_every_weight(name: str) -> None:
    network = _network()
    before = {key: value.clone() for key, value in network.named_parameters()}
    optimizer = make_optimizer(name, network, 0.01, 1e-4)
    assert all("share" in group for group in optimizer.param_groups)
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    labels = (images[:, 0] > 0.5).long()
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(network.logits(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    still = [key for key, value in network.named_parameters() if torch.equal(value, before[key])]
    assert not still


def test_muon_learns_in_fewer_steps_than_adam() -> None:
    """What it is there for: a detailed pattern within a few steps, each at its best rate."""

    def loss_after(name: str, rate: float) -> float:
        network = _network()
        optimizer = make_optimizer(name, network, rate, 0.0)
        generator = torch.Generator().manual_seed(1)
        images = torch.rand(1, 3, 48, 48, generator=generator)
        labels = nn.functional.avg_pool2d(images.sum(1), 5, 1, 2).mul(7).long() % 3
        for _ in range(25):
            loss = nn.functional.cross_entropy(network.logits(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    best = min(loss_after("adamw", rate) for rate in (1e-3, 3e-3, 1e-2))
    assert loss_after("muon", 0.03) < best


def test_each_weight_is_in_one_group_and_the_ends_are_plain() -> None:
    network = _network()
    optimizer = make_optimizer("muon", network, 0.03, 0.0)
    assert isinstance(optimizer, Muon)
    matrices, plain = (group["params"] for group in optimizer.param_groups)
    together = [id(parameter) for parameter in [*matrices, *plain]]
    assert sorted(together) == sorted(id(parameter) for parameter in network.parameters())
    assert id(network.get_parameter("head.weight")) in [id(p) for p in plain]
    assert id(network.get_parameter("stem.0.weight")) in [id(p) for p in plain]


def test_muon_goes_on_from_its_state() -> None:
    def steps(optimizer: torch.optim.Optimizer, network: Segmenter, count: int) -> None:
        images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        for _ in range(count):
            optimizer.zero_grad()
            network.logits(images).square().mean().backward()
            optimizer.step()

    straight = _network()
    steps(Muon(straight, 0.01), straight, 4)
    broken = _network()
    first = Muon(broken, 0.01)
    steps(first, broken, 2)
    second = Muon(broken, 0.01)
    second.load_state_dict(first.state_dict())
    steps(second, broken, 2)
    for a, b in zip(straight.parameters(), broken.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="one of muon, adamw, sgd, not 'lion'"):
        make_optimizer("lion", _network(), 0.1, 0.0)
