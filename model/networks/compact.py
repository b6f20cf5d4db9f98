"""A small multi-scale network that learns a clip from a handful of labelled frames on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.segmenter import Segmenter

__all__ = ["Compact"]

_GROUP = 8
"""Channels in a group of the group normalisation."""


class _Convolution(nn.Sequential):
    """3 × 3 convolution, group normalisation (batches are too small for batch statistics), ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.GroupNorm(outputs // _GROUP, outputs),
            nn.ReLU(inplace=True),
        )


class _Residual(nn.Module):
    """Two 3 × 3 convolutions around which the input is added, in float32."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _Convolution(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(channels // _GROUP, channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x.float() + self.norm(self.second(self.first(x))))


class _Context(nn.Module):
    """What the whole image holds, added to every place of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.mix(x.mean(dim=(2, 3), keepdim=True))
        return out


class _Fuse(nn.Module):
    """Bring a coarse map to a finer one's size and merge the two."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(coarse, fine, 1, bias=False)
        self.merge = _Convolution(fine, fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        enlarged = _resize(self.narrow(coarse), fine.shape[2:])
        out: Tensor = self.merge(enlarged + fine)
        return out


class Compact(Segmenter):
    """Encoder and decoder at strides 2, 4, 8 and 16 with the places of pixels as input.

    Besides colour it sees where in the image a pixel is: within one clip, that tells a lot. Where
    it runs in bfloat16 (`model.devices.precision`), stride 2 and what residuals add up stay
    float32: bfloat16 has fewer numbers between −1 and 1 than an image has columns, and there is
    little to win in so few channels.

    Args:
        num_classes: K.
        widths: Channels at strides 2, 4, 8 and 16, multiples of 8.
    """

    name = "compact"

    def __init__(self, num_classes: int, widths: Sequence[int] = (24, 48, 96, 128)) -> None:
        super().__init__()
        if len(widths) != 4 or any(width < _GROUP or width % _GROUP for width in widths):
            raise ValueError(f"widths must be four multiples of {_GROUP}; got {tuple(widths)}")
        self.num_classes = num_classes
        self.widths = tuple(widths)
        self.stem = _Convolution(5, widths[0], stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(_Convolution(before, after, stride=2), _Residual(after), _Residual(after))
            for before, after in pairwise(widths)
        )
        self.context = _Context(widths[-1])
        self.fuses = nn.ModuleList(
            _Fuse(coarse, fine) for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], num_classes, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def options(self) -> dict[str, object]:
        """Return the widths."""
        return {"widths": list(self.widths)}

    def classifiers(self) -> Sequence[tuple[nn.Module, str]]:
        """Return the one head."""
        return [(self, "head")]

    def logits(self, images: Tensor) -> Tensor:
        """See `Segmenter.logits`."""
        return self._decode(self._encode(images), images.shape[2:])

    def features(self, images: Tensor) -> Tensor:
        """Return the maps of strides 4, 8 and 16, at stride 16; (B, C, h, w)."""
        return _together(self._encode(images))

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Segmenter.logits_and_features`."""
        maps = self._encode(images)
        return self._decode(maps, images.shape[2:]), _together(maps)

    def _decode(self, maps: list[Tensor], size: torch.Size) -> Tensor:
        finest, *finer, deepest = maps
        *fuses, last = self.fuses
        x = self.context(deepest)
        for fuse, skip in zip(fuses, reversed(finer), strict=True):
            x = fuse(x, skip)
        with torch.autocast(x.device.type, enabled=False):
            scores = self.head(last(x.float(), finest)).contiguous()
            return _resize(scores, size)

    def _encode(self, images: Tensor) -> list[Tensor]:
        batch, _, height, width = images.shape
        y = torch.linspace(-1, 1, height, device=images.device, dtype=images.dtype)
        x = torch.linspace(-1, 1, width, device=images.device, dtype=images.dtype)
        places = torch.stack(torch.meshgrid(y, x, indexing="ij")).expand(batch, -1, -1, -1)
        inputs = torch.cat([(images - 0.45) * 4.0, places], dim=1)
        with torch.autocast(images.device.type, enabled=False):
            maps = [self.stem(inputs.contiguous(memory_format=torch.channels_last))]
        for stage in self.stages:
            # Steps of two that end in a single column read memory that nothing was written to, in
            # bfloat16 on a processor (PyTorch 2.13): their scores were chance, or no numbers.
            narrow = maps[-1].shape[3] <= 2
            with torch.autocast(images.device.type, enabled=False) if narrow else nullcontext():
                maps.append(stage(maps[-1].float() if narrow else maps[-1]))
        return maps


def _together(maps: list[Tensor]) -> Tensor:
    _, *deeper = maps
    height, width = deeper[-1].shape[2:]
    return torch.cat([F.adaptive_avg_pool2d(x, (height, width)) for x in deeper], dim=1)


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
