"""Warp-Refine: masks are warped geometrically, and then put right by a network.

The idea is of Warp-Refine Propagation (Ganeshan et al., ICCV 2021): labels are warped from the
labelled frames, a network refines them, and it is taught by cycles that end at a labelled frame.
Here the network is small and looks at one class at a time, with the same weights for each: it sees
what each source says about a class, how far each can be trusted and the frame's colours, and
answers with a correction δ_c of the fused probabilities,

    p'_c ∝ (p_c + ε) · exp(δ_c),

mixed with p by a share. It is taught in advance on rendered clips (`model.refine_training`) and, in
the time there is, on the key frames of the clip at hand (`model.refine_adapt`), each predicted from
the others.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from model.blend import FrameResult
from model.cells import CORE, Cells, Looks
from model.clues import Clues
from model.windows import CLASS_CHANNELS, SHARED_CHANNELS, Window

__all__ = ["RefineNet", "Refinement", "corrected", "load_refiner", "refined"]

WEIGHTS = Path(__file__).parent / "weights" / "refine.pt"

_FLOOR = 0.01
"""ε: what a class that no source names can be raised from."""


class RefineNet(nn.Module):
    """Corrects the log-probability of one class; sees 7 × 7 pixels around each.

    Args:
        width: Channels.
    """

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.by_class = nn.Conv2d(CLASS_CHANNELS, width, 3, padding=1)
        self.shared = nn.Conv2d(SHARED_CHANNELS, width, 3, padding=1, bias=False)
        self.around = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.mixed = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, 1, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, by_class: Tensor, shared: Tensor, of: Tensor) -> Tensor:
        """Return corrections.

        Args:
            by_class: (N, `CLASS_CHANNELS`, h, w), a class of a window each.
            shared: (M, `SHARED_CHANNELS`, h, w), a window each.
            of: (N,) int64, the window that each class belongs to.

        Returns:
            (N, h, w), in units of log-probability. 0 before training.
        """
        x = F.relu_(self.by_class(by_class) + self.shared(shared)[of])
        x = x + F.relu_(self.around(x))
        out: Tensor = self.out(F.relu_(self.mixed(x)))[:, 0]
        return out

    def within(self, looks: Looks) -> Tensor:
        """Return corrections as `forward` does, of cells that are seen with what is around them.

        Nothing is worked out beyond the cells but what they depend on.

        Returns:
            (N, `CORE`, `CORE`), in units of log-probability.
        """
        device = self.out.weight.device
        of = looks.of.to(device)
        x = F.conv2d(looks.by_class.to(device), self.by_class.weight, self.by_class.bias)
        x += F.conv2d(looks.shared.to(device), self.shared.weight)[of]
        F.relu_(x)
        if looks.inside is not None:  # As beyond the border of a frame that is seen as a whole.
            x *= looks.inside[:, 1:-1, 1:-1].to(device)[of][:, None]
        around = F.conv2d(x, self.around.weight, self.around.bias, dilation=2)
        around = F.relu_(around)
        around += x[:, :, 2:-2, 2:-2]
        out: Tensor = self.out(F.relu_(self.mixed(around)))[:, 0]
        return out


@lru_cache(maxsize=1)
def _state() -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(WEIGHTS, map_location="cpu", weights_only=True)
    return state


def load_refiner(device: str = "cpu") -> RefineNet:
    """Return a refiner with the weights that the package brings, ready for use."""
    with torch.random.fork_rng(devices=[]):
        network = RefineNet()
    network.load_state_dict(_state())
    return network.to(device).eval()


def corrected(network: RefineNet, batch: Iterable[Window]) -> list[Tensor]:
    """Return the corrected log-probabilities (not normalised) of some windows, (K', h, w) each."""
    cut = list(batch)
    device = next(network.parameters()).device
    counts = [len(window.classes) for window in cut]
    of = torch.repeat_interleave(torch.arange(len(cut)), torch.tensor(counts))
    by_class = torch.cat([window.by_class for window in cut]).to(device, torch.float32)
    shared = torch.stack([window.shared for window in cut]).to(device, torch.float32)
    # A third faster with few channels.
    by_class, shared = (x.contiguous(memory_format=torch.channels_last) for x in (by_class, shared))
    delta = network(by_class, shared, of.to(device))
    return [
        torch.log(window.probabilities.to(device, torch.float32) + _FLOOR) + part
        for window, part in zip(cut, delta.split(counts), strict=True)
    ]


@torch.inference_mode()
def refined(
    network: RefineNet,
    clues: Clues,
    probabilities: NDArray[np.float32],
    evidence: NDArray[np.float32] | None = None,
    weight: float = 0.0,
    share: float = 1.0,
) -> NDArray[np.float32]:
    """Put a frame's probabilities right on its contested pixels.

    Args:
        network: The refiner.
        clues: What was found out while the frame was labelled.
        probabilities: (K, H, W) float32, as fused so far.
        evidence: (K, H, W) float32, a network's word.
        weight: How much it counted in fusion, 0 to 1.
        share: 0 to 1, how much of the correction is made.

    Returns:
        (K, H, W) float32, summing to 1 over the classes.
    """
    if share == 0.0 or len(probabilities) == 1:
        return probabilities
    cells = Cells(clues, probabilities, evidence, weight)
    if not len(cells):
        return probabilities
    corrections = np.empty((len(cells), CORE, CORE), np.float32)
    for looks in cells.looks():
        corrections[looks.pairs] = network.within(looks).cpu().numpy()
    change = cells.decided(corrections, _FLOOR)
    change *= np.float32(share)
    change += cells.fused
    out = probabilities.copy()
    for plane, new in zip(out.reshape(len(out), -1), change, strict=True):
        plane[cells.places] = new
    return out


def _numbers(text: str) -> Tensor:
    data = base64.b64decode(text)
    return torch.from_numpy(np.frombuffer(data[: len(data) // 4 * 4], np.float32).copy())


@dataclass(frozen=True)
class Refinement:
    """A refiner, and how much of its correction is made.

    Attributes:
        network: The refiner.
        share: 0 to 1.
        weight: The weight of the network's evidence in the frames that are refined.
    """

    network: RefineNet
    share: float
    weight: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The share and the weights as JSON, to be kept beside a fine-tuned network."""
        weights = {
            name: base64.b64encode(value.detach().cpu().float().numpy().tobytes()).decode()
            for name, value in self.network.state_dict().items()
        }
        return {"share": self.share, "weights": weights}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any] | None) -> Refinement | None:
        """Read what `to_json` wrote; None where nothing was, or by a package of other weights."""
        network = load_refiner()
        state = network.state_dict()
        weights = kept["weights"] if kept else {}
        read = {name: _numbers(weights.get(name, "")) for name in state}
        if kept is None or any(read[name].numel() != state[name].numel() for name in state):
            return None
        network.load_state_dict({name: read[name].reshape(state[name].shape) for name in state})
        return cls(network, float(kept["share"]))

    def __call__(
        self, result: FrameResult, evidence: NDArray[np.float32] | None = None
    ) -> FrameResult:
        """Refine a frame that has clues; others are returned as they are.

        Args:
            result: The frame, with the network's evidence mixed in if there is any.
            evidence: (K, H, W) float32, that evidence.
        """
        if result.clues is None:
            return result
        new = refined(
            self.network, result.clues, result.probabilities, evidence, self.weight, self.share
        )
        return replace(result, probabilities=new)
