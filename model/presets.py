"""How a network is fine-tuned: the settings, and the presets that have a name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from model.augment import Augmentation
from model.optimizers import OPTIMIZERS

__all__ = ["MOST_SECONDS", "PRESETS", "FinetuneSettings", "seconds_for"]

MOST_SECONDS = 60.0
"""Seconds that a clip is fine-tuned at most, where nobody says."""

_EACH = 0.6
"""Seconds of fine-tuning for each frame of a clip; with propagation it takes less than one."""

_LEAST = 20.0
"""Seconds that a clip gets however short it is: what a network needs to be of use."""


def seconds_for(frames: int) -> float:
    """Return the seconds that the light network gets for a clip of so many frames at most."""
    return min(max(_EACH * frames, _LEAST), MOST_SECONDS)


@dataclass(frozen=True)
class FinetuneSettings:
    """How a network is fine-tuned. The defaults are the preset `fast`.

    Attributes:
        epochs: Reported units of training.
        steps_per_epoch: Steps of the optimiser in each; 0 for as many as pass once over the clip.
        seconds: The most time to take. Where the steps would take longer, fewer are planned, so
            that the learning rate still falls to zero; the result then depends on the machine's
            speed. With time to spare it depends on the seed alone. 0 is no time at all.
        batch: Frames with labels, given or carried over, in a step.
        optimizer: "muon", "adamw" or "sgd".
        learning_rate: At the start; it falls by the "poly" policy, (1 − share done)^0.9.
        weight_decay: As the optimiser understands it.
        warm_up: Steps over which the learning rate rises to its start.
        consistency: λ, the weight of flow consistency; 0 leaves it out.
        consistency_from: Share of the training before it sets in, below 1: what a network does
            not know yet, it is not to be steady in.
        hardest: Share of the labelled pixels that still count at the end of the training, those
            with the largest loss; it falls from 1 (VSPW: 0.15). 1 counts all.
        dice: Weight of Dice beside cross-entropy; 0 leaves it out.
        class_balance: 0 counts every pixel alike, 1 every class alike.
        balance_taken_back: Share of that which is divided out of the finished network's
            probabilities again: balance lets rare classes be learnt, and has them said too often.
        self_training: Share of a batch's frames whose labels were carried over by propagation;
            0 learns from labelled frames alone.
        carried_frames: Frames that labels are carried over to, at most.
        ahead: Whether that has a thread of its own, as in `PropagationSettings`.
        patience: Epochs without a rise in the held-out frames' mIoU that end the training, where
            some are held out; 0 goes on.
        max_pixels: Frames are reduced to this size for the network.
        augmentation: How labelled frames are changed.
        seed: Of all chance.
        device: "cpu", "cuda", "cuda:1", …
    """

    epochs: int = 12
    steps_per_epoch: int = 12
    seconds: float = math.inf
    batch: int = 2
    optimizer: str = "muon"
    learning_rate: float = 0.03
    weight_decay: float = 1e-4
    warm_up: int = 10
    consistency: float = 1.0
    consistency_from: float = 0.8
    hardest: float = 1.0
    dice: float = 0.0
    class_balance: float = 0.5
    balance_taken_back: float = 0.5
    self_training: float = 0.66
    carried_frames: int = 200
    ahead: bool = True
    patience: int = 2
    max_pixels: int = 320 * 240
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what makes no sense; raises `ValueError` with the setting's name."""
        least = {
            "epochs": 1,
            "steps_per_epoch": 0,
            "batch": 1,
            "max_pixels": 64,
            "consistency": 0,
            "dice": 0,
            "weight_decay": 0,
            "warm_up": 0,
            "carried_frames": 0,
            "patience": 0,
            "seconds": 0,
        }
        for name, value in least.items():
            if not getattr(self, name) >= value:
                raise ValueError(f"{name} must be {value} or more, not {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if not 0 < self.hardest <= 1:
            raise ValueError(f"hardest must be above 0, to 1; not {self.hardest}")
        if not 0 <= self.consistency_from < 1:
            raise ValueError(
                f"consistency_from must be 0 or more, below 1; not {self.consistency_from}"
            )
        for name in ("class_balance", "balance_taken_back", "self_training"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, not {getattr(self, name)}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"the optimizer must be one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}"
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> FinetuneSettings:
        """Return the settings that bear a name, with changes.

        Args:
            name: One of `PRESETS`.
            changes: Attributes to set otherwise.

        Raises:
            ValueError: There is no such preset, or a change makes no sense.
        """
        if name not in PRESETS:
            raise ValueError(f"the preset must be one of {', '.join(PRESETS)}, not {name!r}")
        return replace(PRESETS[name], **changes)


PRESETS = {
    "fast": FinetuneSettings(),
    "hvsa": FinetuneSettings(
        epochs=15,
        steps_per_epoch=0,
        optimizer="sgd",
        learning_rate=0.004,
        weight_decay=0.0,
        warm_up=0,
        consistency_from=0.0,
        class_balance=0.0,
        self_training=0.0,
        max_pixels=512 * 512,
        augmentation=Augmentation(flip=0.5, scale=(1.0, 1.0), shift=0.0, rotation=0.0, colour=0.0),
    ),
}
"""`fast`: the compact network on a CPU. `hvsa`: as Qiao et al. (WACV 2023) fine-tune HRNet-W48:
15 passes, SGD with momentum 0.9, learning rate 0.004, batches of 2, no labels carried over."""
