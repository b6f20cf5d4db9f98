"""One pass over a clip: its masks, and what selection needs to know of each frame.

A round and the simulated annotator both walk a clip through here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.clip import FrameSource
from model.pipeline import ClipAnnotator
from model.propagate import FrameResult, Progress

__all__ = ["FrameSummary", "appearances", "propagated", "uncertainty_map"]


@dataclass(frozen=True, slots=True)
class FrameSummary:
    """What selection and the screen need to know of one frame.

    Attributes:
        uncertainty: Mean over the pixels of what is missing from certainty, 1 − confidence ×
            probability of the chosen class, 0..1; 0 where a person labelled every pixel.
        confidence: Mean probability of the chosen class over the frame, 0..1.
        confidences: The same over each class's region, by class index.
        feature: (C,) float32, for diversity.
    """

    uncertainty: float
    confidence: float
    confidences: dict[int, float]
    feature: npt.NDArray[np.float32]


def propagated(
    annotator: ClipAnnotator,
    source: FrameSource,
    labels: Mapping[int, npt.NDArray[np.uint8]],
    progress: Progress | None = None,
) -> Iterator[tuple[FrameResult, FrameSummary]]:
    """Propagate a clip's labels to every frame.

    Args:
        annotator: The clip's annotator, fine-tuned where its method wants that.
        source: The clip's frames.
        labels: Masks (H, W) of the key frames by index.
        progress: Called with (frames done, frames in all).

    Yields:
        Each frame's masks and summary, in the clip's order.
    """
    for result in annotator.propagate(labels, progress=progress):
        image = source.read(result.index) if result.image is None else result.image
        feature = annotator.embed(image)
        yield result, _summarise(result, feature)


def appearances(annotator: ClipAnnotator, source: FrameSource) -> npt.NDArray[np.float32]:
    """Features (N, C) of every frame before there is a label."""
    return np.stack([annotator.embed(source.read(index)) for index in range(len(source))])


def uncertainty_map(result: FrameResult) -> npt.NDArray[np.float32]:
    """What is missing from certainty in each pixel, (H, W) 0..1; 0 where a person labelled it.

    Not entropy: with one source left, as beyond the last key frame, the probabilities are nearly
    one-hot, and sure of themselves just where the masks are worst.
    """
    best = result.probabilities.max(axis=0)
    return np.asarray(1 - result.confidence * best, dtype=np.float32)


def _summarise(result: FrameResult, feature: npt.NDArray[np.float32]) -> FrameSummary:
    best = result.probabilities.max(axis=0)
    mask = result.mask
    classes = result.probabilities.shape[0]
    pixels = np.bincount(mask.ravel(), minlength=classes)
    sums = np.bincount(mask.ravel(), weights=best.ravel(), minlength=classes)
    return FrameSummary(
        uncertainty=float(uncertainty_map(result).mean()),
        confidence=float(best.mean()),
        confidences={int(k): float(sums[k] / pixels[k]) for k in np.flatnonzero(pixels)},
        feature=feature,
    )
