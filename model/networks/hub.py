"""Segmentation networks of the transformers library, by name or from a folder: `hub:<where>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.segmenter import NetworkError, Segmenter

__all__ = ["HubNetwork", "hub"]

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

_SMALLEST = 64
"""Smaller images are padded to this, so that the deepest map has more than one place."""


class HubNetwork(Segmenter):
    """A semantic-segmentation model of transformers.

    Batch normalisation keeps the statistics it came with: batches of a clip's few labelled frames
    are too small for their own. Auxiliary heads are dropped.

    Args:
        model: As `AutoModelForSemanticSegmentation` gives it.

    Raises:
        NetworkError: It has no layer with an output for each of its labels.
    """

    name = "hub"
    pretrained = True
    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        if getattr(model, "auxiliary_head", None) is not None:
            model.auxiliary_head = None
            model.config.use_auxiliary_head = False
        self.model = model
        self.num_classes = int(model.config.num_labels)
        labels = model.config.id2label
        self.known = tuple(str(labels[place]) for place in range(self.num_classes))
        if not self.classifiers():
            raise NetworkError(
                f"{type(model).__name__} has no classifier with an output for each of its"
                f" {self.num_classes} labels; take a semantic-segmentation checkpoint"
            )
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)

    def options(self) -> Mapping[str, Any]:
        """Return the model's configuration, from which it is built again without a download."""
        return {"config": self.model.config.to_dict()}

    def classifiers(self) -> Sequence[tuple[nn.Module, str]]:
        """Return the layers named a classifier that have an output for each class."""
        return [
            (owner, attribute)
            for path, owner in self.model.named_modules()
            for attribute, layer in owner.named_children()
            if "classifier" in f"{path}.{attribute}"
            and isinstance(layer, nn.Conv2d | nn.Linear)
            and layer.weight.shape[0] == self.num_classes
        ]

    def change_classes(self, rows: Sequence[int | None]) -> None:
        """See `Segmenter.change_classes`; the model's configuration follows."""
        super().change_classes(rows)
        self.model.config.id2label = {place: str(place) for place in range(len(rows))}
        self.model.config.label2id = {str(place): place for place in range(len(rows))}

    def train(self, mode: bool = True) -> HubNetwork:
        """Switch training on or off; batch normalisation stays as it was learnt."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def logits(self, images: Tensor) -> Tensor:
        """See `Segmenter.logits`."""
        padded = self._prepare(images)
        return _fitted(self.model(pixel_values=padded).logits, padded, images)

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Segmenter.logits_and_features`."""
        padded = self._prepare(images)
        out = self.model(pixel_values=padded, output_hidden_states=True)
        return _fitted(out.logits, padded, images), _deepest(out)

    def features(self, images: Tensor) -> Tensor:
        """Return the backbone's deepest map."""
        out = self.model(pixel_values=self._prepare(images), output_hidden_states=True)
        return _deepest(out)

    def _prepare(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        out: Tensor = (images - self.mean) / self.deviation
        below, right = max(0, _SMALLEST - height), max(0, _SMALLEST - width)
        return F.pad(out, (0, right, 0, below), mode="replicate") if below or right else out


def _fitted(scores: Tensor, padded: Tensor, images: Tensor) -> Tensor:
    """Enlarge scores to the padded images' size, and cut off the padding."""
    if scores.shape[2:] != padded.shape[2:]:
        scores = F.interpolate(scores, size=padded.shape[2:], mode="bilinear", align_corners=False)
    return scores[:, :, : images.shape[2], : images.shape[3]]


def _deepest(out: Any) -> Tensor:
    deepest: Tensor = [state for state in out.hidden_states if state.ndim == 4][-1]
    return deepest


def hub(
    num_classes: int, *, variant: str = "", config: Mapping[str, Any] | None = None
) -> HubNetwork:
    """Take a pretrained model, or (with `config`) build an untrained one of the same shape.

    Args:
        num_classes: K; of use only with `config`, else the model comes with its own labels.
        variant: A name on the Hugging Face hub, or a folder that `save_pretrained` wrote.
        config: What `HubNetwork.options` returned.

    Raises:
        NetworkError: transformers is missing, or the model cannot be had or is none that segments.
    """
    try:
        from transformers import AutoConfig, AutoModelForSemanticSegmentation
    except ImportError:
        raise NetworkError(
            f"hub:{variant} needs the transformers library: pip install 'maskloop[hub]'"
        ) from None
    if not variant:
        raise NetworkError(
            "hub: needs a name or a folder, as in hub:nvidia/segformer-b0-finetuned-ade-512-512"
        )
    try:
        if config is not None:
            rest = {key: value for key, value in config.items() if key != "model_type"}
            shape = AutoConfig.for_model(config["model_type"], **rest)
            return HubNetwork(AutoModelForSemanticSegmentation.from_config(shape))  # type: ignore[no-untyped-call]
        return HubNetwork(AutoModelForSemanticSegmentation.from_pretrained(variant))
    except NetworkError as error:
        raise NetworkError(f"hub:{variant}: {error}") from None
    except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise NetworkError(
            f"hub:{variant} could not be loaded ({reason}); check the name and the connection, or"
            " name a folder that holds the checkpoint"
        ) from error
