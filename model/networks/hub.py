"""Segmentation networks of the transformers library, by name or from a folder: `hub:<where>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.segmenter import NetworkError, Segmenter

__all__ = ["HubNetwork", "hub"]

_IMAGENET: Mapping[str, Any] = {
    "image_mean": (0.485, 0.456, 0.406),
    "image_std": (0.229, 0.224, 0.225),
}
"""What a checkpoint wants that says nothing."""

_PIXELS = (
    "image_mean",
    "image_std",
    "do_normalize",
    "do_rescale",
    "rescale_factor",
    "do_flip_channel_order",
)
"""Of a checkpoint's `preprocessor_config.json`, what concerns the values of the pixels."""

_SMALLEST = 64
"""Smaller images are padded to this, so that the deepest map has more than one place."""


class HubNetwork(Segmenter):
    """A semantic-segmentation model of transformers.

    Batch normalisation keeps the statistics it came with: batches of a clip's few labelled frames
    are too small for their own. Auxiliary heads are dropped.

    Args:
        model: As `AutoModelForSemanticSegmentation` gives it.
        pixels: How it wants its pixels: the entries of its `preprocessor_config.json` that say
            so (`image_mean`, `do_flip_channel_order`, …). What is not said is as for ImageNet.

    Raises:
        NetworkError: It has no layer with an output for each of its labels, or `pixels` is no
            such thing.
    """

    name = "hub"
    pretrained = True
    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Any, pixels: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.pixels = {key: value for key, value in (pixels or {}).items() if key in _PIXELS}
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
        mean, deviation = _normalisation(self.pixels)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def options(self) -> Mapping[str, Any]:
        """Return the model's configuration, from which it is built again without a download."""
        return {"config": self.model.config.to_dict(), "pixels": self.pixels}

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
        if self.pixels.get("do_flip_channel_order"):
            images = images.flip(1)
        out: Tensor = (images - self.mean) / self.deviation
        below, right = max(0, _SMALLEST - height), max(0, _SMALLEST - width)
        return F.pad(out, (0, right, 0, below), mode="replicate") if below or right else out


def _normalisation(pixels: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """What to take off values of 0 to 1, and to divide them by, (3, 1, 1) each."""
    said = {**_IMAGENET, **pixels}
    try:
        mean, deviation = (
            torch.tensor(said[name], dtype=torch.float32).expand(3)[:, None, None]
            for name in ("image_mean", "image_std")
        )
        if not said.get("do_normalize", True):
            mean, deviation = torch.zeros_like(mean), torch.ones_like(deviation)
        factor = float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0
    except (RuntimeError, TypeError, ValueError) as error:
        raise NetworkError(
            f"its preprocessor_config.json does not say how pixels are normalised ({error})"
        ) from None
    # Of values of 0 to 255 times the factor; ours are 0 to 1.
    return mean / (255 * factor), deviation / (255 * factor)


def _fitted(scores: Tensor, padded: Tensor, images: Tensor) -> Tensor:
    """Enlarge scores to the padded images' size, and cut off the padding."""
    if scores.shape[2:] != padded.shape[2:]:
        scores = F.interpolate(scores, size=padded.shape[2:], mode="bilinear", align_corners=False)
    return scores[:, :, : images.shape[2], : images.shape[3]]


def _deepest(out: Any) -> Tensor:
    deepest: Tensor = [state for state in out.hidden_states if state.ndim == 4][-1]
    return deepest


def hub(
    num_classes: int,
    *,
    variant: str = "",
    config: Mapping[str, Any] | None = None,
    pixels: Mapping[str, Any] | None = None,
) -> HubNetwork:
    """Take a pretrained model, or (with `config`) build an untrained one of the same shape.

    Args:
        num_classes: K; of use only with `config`, else the model comes with its own labels.
        variant: A name on the Hugging Face hub, or a folder that `save_pretrained` wrote.
        config: What `HubNetwork.options` returned.
        pixels: The same; only with `config`, else the checkpoint says it.

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
            return HubNetwork(AutoModelForSemanticSegmentation.from_config(shape), pixels)  # type: ignore[no-untyped-call]
        model = AutoModelForSemanticSegmentation.from_pretrained(variant)
        return HubNetwork(model, _pixels_of(variant))
    except NetworkError as error:
        raise NetworkError(f"hub:{variant}: {error}") from None
    except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise NetworkError(
            f"hub:{variant} could not be loaded ({reason}); check the name and the connection, or"
            " name a folder that holds the checkpoint"
        ) from error


def _pixels_of(variant: str) -> Mapping[str, Any]:
    """How a checkpoint wants its pixels; nothing where it does not say."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        said, _ = ImageProcessingMixin.get_image_processor_dict(variant)
    except OSError:
        return {}
    return dict(said)
