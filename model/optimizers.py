"""Optimisers of fine-tuning: Muon for networks that start from nothing, and the usual ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from model.networks import Segmenter

__all__ = ["OPTIMIZERS", "Muon", "make_optimizer", "orthogonalise"]

OPTIMIZERS = ("muon", "adamw", "sgd")
"""Names that `make_optimizer` knows."""


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Bring all singular values of a matrix near 1 (0.7 to 1.2), its directions kept.

    A quintic Newton-Schulz iteration, X ← P(XXᵀ)X with P(A) = aI + bA + cA², whose coefficients
    are those of Jordan et al. (2024): steep at zero, so that five steps are enough. All of its
    factors commute, so the products of P are taken among (M, M) matrices, A ← PAP beside them, and
    X, several times as wide, is touched at the ends alone: half of the time for `Compact`.

    Args:
        matrix: (M, N).
        steps: Iterations.

    Returns:
        (M, N); zero for a matrix of zeros.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.float()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    gram = x @ x.T
    product: Tensor | None = None
    for step in range(steps):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if step < steps - 1:
            gram = factor @ gram @ factor
    out = x if product is None else product @ x
    evened: Tensor = (out.T if tall else out).to(matrix.dtype)
    return evened


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is orthogonalised (Jordan et al., "Muon", 2024).

    A small network that is to learn a clip in a minute takes steps of equal size in all
    directions this way, where Adam spends most of them on the few directions in which gradients
    are large. Weights of convolutions count as matrices, a row an output. What is no matrix, and
    the layers named in `plain` (the first and the last), take Adam's steps.

    Args:
        network: The network.
        learning_rate: Of the matrices; the others' is a fifth of it.
        weight_decay: Of the matrices.
        plain: Parameters that take Adam's steps though they are matrices.
        momentum: Share of the gradient that is carried on.
    """

    def __init__(
        self,
        network: nn.Module,
        learning_rate: float,
        weight_decay: float = 0.0,
        *,
        plain: Iterable[nn.Parameter] = (),
        momentum: float = 0.9,
    ) -> None:
        apart = {id(parameter) for parameter in plain}
        learning = [p for p in network.parameters() if p.requires_grad]
        matrices = [p for p in learning if p.ndim >= 2 and id(p) not in apart]
        taken = {id(parameter) for parameter in matrices}
        groups = [
            {"params": matrices, "matrices": True, "share": 1.0},
            {
                "params": [p for p in learning if id(p) not in taken],
                "matrices": False,
                "share": 0.2,
            },
        ]
        super().__init__(
            [group for group in groups if group["params"]],
            {"lr": learning_rate, "weight_decay": weight_decay, "momentum": momentum},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step; `closure` is not called."""
        for group in self.param_groups:
            update = _muon_update if group["matrices"] else _adam_update
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, self.state[parameter], group)


def _muon_update(parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    gradient = parameter.grad
    if gradient is None:
        return
    if "momentum" not in state:
        state["momentum"] = torch.zeros_like(parameter)
    momentum = state["momentum"].mul_(group["momentum"]).add_(gradient)
    ahead = gradient + group["momentum"] * momentum
    rows = ahead.reshape(ahead.shape[0], -1)
    scale = max(1.0, rows.shape[0] / rows.shape[1]) ** 0.5
    parameter.mul_(1 - group["lr"] * group["weight_decay"])
    parameter.add_(orthogonalise(rows).reshape(parameter.shape), alpha=-group["lr"] * scale)


def _adam_update(parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    first, second = 0.9, 0.95
    gradient = parameter.grad
    if gradient is None:
        return
    if "step" not in state:
        state["step"] = torch.zeros(())
        state["mean"] = torch.zeros_like(parameter)
        state["square"] = torch.zeros_like(parameter)
    state["step"] += 1
    count = float(state["step"])
    mean = state["mean"].lerp_(gradient, 1 - first) / (1 - first**count)
    square = state["square"].lerp_(gradient.square(), 1 - second) / (1 - second**count)
    parameter.addcdiv_(mean, square.sqrt_().add_(1e-8), value=-group["lr"])


def make_optimizer(
    name: str, network: Segmenter, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Make an optimiser of a network's parameters.

    Each parameter group has a `share`: what part of the learning rate is its own. Muon would
    undo what a pretrained network knows, so such a one takes AdamW's steps instead, of a
    hundredth of the rate, and of a tenth of it in the layers whose outputs are the classes.

    Args:
        name: One of `OPTIMIZERS`.
        network: The network.
        learning_rate: At the start.
        weight_decay: As the optimiser understands it.

    Raises:
        ValueError: There is no optimiser of this name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"the optimizer must be one of {', '.join(OPTIMIZERS)}, not {name!r}")
    ends = [getattr(owner, attribute) for owner, attribute in network.classifiers()]
    if name == "muon" and network.pretrained:
        heads = [parameter for layer in ends for parameter in layer.parameters()]
        apart = {id(parameter) for parameter in heads}
        body = [p for p in network.parameters() if p.requires_grad and id(p) not in apart]
        careful = [{"params": body, "share": 0.01}, {"params": heads, "share": 0.1}]
        return torch.optim.AdamW(careful, lr=learning_rate, weight_decay=weight_decay)
    if name == "muon":
        ends.append(next(network.children()))
        plain = [parameter for layer in ends for parameter in layer.parameters()]
        return Muon(network, learning_rate, weight_decay, plain=plain)
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [{"params": parameters, "share": 1.0}]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, weight_decay=weight_decay)
