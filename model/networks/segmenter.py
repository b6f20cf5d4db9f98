"""What every segmentation network offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["NetworkError", "Segmenter", "class_rows"]


class NetworkError(ValueError):
    """A network that cannot be built; the message says why and what to do."""


class Segmenter(nn.Module, ABC):
    """A network from images to class scores, whose classes can change.

    Attributes:
        name: The name `model.networks.build` makes it by.
        num_classes: K.
        known: Names of the classes that it comes with, where it was trained before.
        pretrained: Whether its weights are worth keeping near: it then takes smaller steps.
        lowered: What `lower` took off each class's score, K values; empty for nothing.
    """

    name: str
    num_classes: int
    known: tuple[str, ...] = ()
    pretrained: bool = False
    lowered: tuple[float, ...] = ()

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Score every pixel.

        Args:
            images: (B, 3, H, W) float32 RGB, 0 to 1, of any size.

        Returns:
            (B, K, H, W) float32, unbounded.
        """

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Describe images by what the backbone sees, before the head.

        Args:
            images: (B, 3, H, W) float32 RGB, 0 to 1.

        Returns:
            (B, C, h, w) float32; C does not depend on the classes.
        """

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return `logits` and `features` of the same images, in one go where that is possible."""
        return self.logits(images), self.features(images)

    @abstractmethod
    def classifiers(self) -> Sequence[tuple[nn.Module, str]]:
        """Name the layers whose outputs are the classes, as (owner, attribute).

        Each is an `nn.Conv2d` or `nn.Linear` with K outputs.
        """

    def options(self) -> Mapping[str, Any]:
        """Return what `build` needs besides the name and the classes, as JSON values."""
        return {}

    def forward(self, images: Tensor) -> Tensor:
        """Return `logits(images)`."""
        return self.logits(images)

    @torch.no_grad()
    def lower(self, by: Sequence[float]) -> None:
        """Take so much off each class's score, instead of what was taken off before.

        Biases of the classifiers carry it; a classifier that has none goes on as it is.

        Args:
            by: K values, in the units of `logits`; empty for the scores as they were learnt.

        Raises:
            ValueError: There are not as many values as classes.
        """
        if by and len(by) != self.num_classes:
            raise ValueError(f"{len(by)} values cannot lower {self.num_classes} classes' scores")
        nothing = (0.0,) * self.num_classes
        change = torch.tensor(self.lowered or nothing) - torch.tensor(tuple(by) or nothing)
        for owner, attribute in self.classifiers():
            bias = getattr(owner, attribute).bias
            if bias is not None:
                bias += change.to(bias)
        self.lowered = tuple(by)

    @torch.no_grad()
    def change_classes(self, rows: Sequence[int | None]) -> None:
        """Give the head `len(rows)` classes; class i keeps what class `rows[i]` had learnt.

        Args:
            rows: For each new class the index of the old one, or None for one not seen before.

        Raises:
            ValueError: No class, or an index that is no class of this network.
        """
        if not rows:
            raise ValueError("a network needs at least one class")
        for row in rows:
            if row is not None and not 0 <= row < self.num_classes:
                raise ValueError(f"class {row} is none of the {self.num_classes} classes there are")
        for owner, attribute in self.classifiers():
            setattr(owner, attribute, _with_rows(getattr(owner, attribute), rows))
        self.num_classes = len(rows)
        if self.lowered:
            before = self.lowered
            self.lowered = tuple(0.0 if row is None else before[row] for row in rows)


def _with_rows(layer: nn.Module, rows: Sequence[int | None]) -> nn.Module:
    new: nn.Conv2d | nn.Linear
    if isinstance(layer, nn.Conv2d):
        new = nn.Conv2d(
            layer.in_channels,
            len(rows),
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            bias=layer.bias is not None,
        )
    elif isinstance(layer, nn.Linear):
        new = nn.Linear(layer.in_features, len(rows), bias=layer.bias is not None)
    else:
        raise TypeError(f"a classifier is a Conv2d or Linear layer, not {type(layer).__name__}")
    new = new.to(layer.weight.device, layer.weight.dtype)
    for place, row in enumerate(rows):
        if row is not None:
            new.weight[place] = layer.weight[row]
            if layer.bias is not None and new.bias is not None:
                new.bias[place] = layer.bias[row]
    return new


def class_rows(old: Sequence[str], new: Sequence[str]) -> list[int | None]:
    """For each new class name tell which old class bore it, for `Segmenter.change_classes`."""
    places = {name: place for place, name in enumerate(old)}
    return [places.get(name) for name in new]
