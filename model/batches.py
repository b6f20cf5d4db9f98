"""What a fine-tuning step sees of a clip, at the size it trains at: labelled frames and pairs.

Frames are read when they are needed; only as many bytes of reduced ones stay in memory as
`ClipBatches` is told. Flow is worked out once for all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.augment import Augmentation, Motion, draw_motion, recolour
from model.clip import FrameSource
from model.colours import labels_of
from model.flow import FlowEstimator, forward_backward_check
from model.flowstore import FlowStore
from model.losses import IGNORE
from model.samples import Batch, Neighbours, Pair
from model.selftraining import CarriedLabels, carry_labels

__all__ = ["ClipBatches", "reduced_masks", "to_tensor", "training_size"]


def training_size(shape: tuple[int, ...], max_pixels: int) -> tuple[int, int]:
    """Return (height, width) of an image reduced to at most `max_pixels`, its shape kept."""
    height, width = shape[:2]
    factor = min(1.0, (max_pixels / (height * width)) ** 0.5)
    return max(1, int(height * factor)), max(1, int(width * factor))


def reduced_masks(
    masks: Mapping[int, NDArray[np.uint8]], size: tuple[int, int]
) -> dict[int, NDArray[np.uint8]]:
    """Reduce masks so that each pixel gets the label nearest to its middle, and none is lost.

    A thin stroke or a thing of a few pixels lies between these middles: where a frame's labels, or
    all that there is of a class, would be lost so, each of its pixels is put where it falls.

    Args:
        masks: Frame index → (H, W) uint8 mask, 255 = ignore.
        size: (height, width) of the frames that they are to fit.

    Returns:
        Frame index → (height, width) uint8.
    """
    out = {
        index: np.asarray(
            cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8
        )
        for index, mask in masks.items()
    }
    left = {index: labels_of(small) for index, small in out.items()}
    of_any = {label for labels in left.values() for label in labels}
    for index, mask in masks.items():
        for label in labels_of(mask):
            if label not in of_any or not left[index]:
                y, x = np.nonzero(mask == label)
                height, width = mask.shape
                out[index][y * size[0] // height, x * size[1] // width] = label
    return out


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """Turn (H, W, 3) uint8 into (3, H, W) float32, 0 to 1."""
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1).div_(255.0)


class _Shelf:
    """Arrays by key, the least recently used dropped beyond a number of bytes.

    Several threads may use it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._lock = Lock()
        self._arrays: OrderedDict[object, tuple[NDArray[np.generic], ...]] = OrderedDict()

    def get(self, key: object) -> tuple[NDArray[np.generic], ...] | None:
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
            return self._arrays.get(key)

    def put(self, key: object, *arrays: NDArray[np.generic]) -> None:
        with self._lock:
            replaced = self._arrays.pop(key, ())
            self._arrays[key] = arrays
            self._bytes += _size(arrays) - _size(replaced)
            while self._bytes > self._limit and self._arrays:
                _, dropped = self._arrays.popitem(last=False)
                self._bytes -= _size(dropped)


def _size(arrays: Iterable[NDArray[np.generic]]) -> int:
    return sum(array.nbytes for array in arrays)


class ClipBatches:
    """Random labelled batches and random consecutive pairs of one clip.

    Args:
        source: The clip.
        labels: Frame index → (H, W) uint8 mask, 255 = ignore; at least one with a label.
        num_classes: K.
        flow: Estimates the flow of pairs; a `FlowStore` of the clip at the size that is trained at
            spares what another training has worked out.
        max_pixels: Frames larger than this are reduced to it.
        augmentation: How frames with labels are changed.
        rng: All chance comes from here.
        memory: Bytes of reduced frames that are kept.

    Raises:
        ValueError: The labels do not fit the clip or the classes, or there is none.
        ClipError: A labelled frame cannot be read.
    """

    def __init__(
        self,
        source: FrameSource,
        labels: Mapping[int, NDArray[np.uint8]],
        num_classes: int,
        *,
        flow: FlowEstimator,
        max_pixels: int,
        augmentation: Augmentation,
        rng: np.random.Generator,
        memory: int = 128 * 2**20,
    ) -> None:
        self._source = source
        self._flows = flow if isinstance(flow, FlowStore) else FlowStore(flow)
        self._augmentation = augmentation
        self._rng = rng
        self._aside = np.random.default_rng(int(rng.integers(2**63)))
        self._frames = _Shelf(memory)
        self._size: tuple[int, int] | None = None
        self._max_pixels = max_pixels
        fit = [index for index in sorted(labels) if self._fits(index, labels[index], num_classes)]
        self._masks = reduced_masks({index: labels[index] for index in fit}, self.size)
        self.labelled = list(self._masks)
        if not self.labelled:
            raise ValueError(
                "fine-tuning needs at least one labelled pixel, and no frame of the clip has one"
            )
        self._order: list[int] = []
        self._carried_order: list[int] = []
        self._num_classes = num_classes
        self._carried: dict[int, CarriedLabels] = {}

    def _fits(self, index: int, mask: NDArray[np.uint8], num_classes: int) -> bool:
        """Check a mask and keep its frame; tell whether anything of it is labelled."""
        if not 0 <= index < len(self._source):
            raise ValueError(
                f"frame {index} is labelled, but the clip's frames are 0 to {len(self._source) - 1}"
            )
        image = self._source.read(index)
        if mask.shape != image.shape[:2] or mask.dtype != np.uint8:
            raise ValueError(
                f"the mask of frame {index} must be uint8 of the frame's size {image.shape[:2]};"
                f" got {mask.dtype} {mask.shape}"
            )
        labelled = mask[mask != IGNORE]
        if labelled.size and int(labelled.max()) >= num_classes:
            raise ValueError(
                f"the mask of frame {index} names class {int(labelled.max())}, but there are"
                f" {num_classes} classes, 0 to {num_classes - 1}"
            )
        if labelled.size:
            self._keep(index, image)
        return bool(labelled.size)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of all that is yielded."""
        if self._size is None:
            self._size = training_size(self._source.read(0).shape, self._max_pixels)
        return self._size

    def class_shares(self, num_classes: int) -> NDArray[np.float64]:
        """Return each class's share of the labelled pixels, (K,)."""
        counts = np.zeros(num_classes, np.int64)
        for mask in self._masks.values():
            counts += np.bincount(mask[mask != IGNORE], minlength=num_classes).astype(np.int64)
        return np.asarray(counts / max(counts.sum(), 1))

    def _keep(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = self.size
        small = image
        if image.shape[:2] != (height, width):
            small = np.asarray(
                cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8
            )
        self._frames.put(index, small)
        return small

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index` at the training size, (H, W, 3) uint8."""
        kept = self._frames.get(index)
        if kept is not None:
            return kept[0]  # type: ignore[return-value]
        return self._keep(index, self._source.read(index))

    def carry_labels(self, most: int, enough: Callable[[], bool], *, ahead: bool = True) -> None:
        """Propagate the labels to up to `most` frames, for `batch`; see `selftraining`."""
        self._carried = carry_labels(
            self.frame,
            len(self._source),
            self._masks,
            self._num_classes,
            flow=self._flows,
            most=most,
            enough=enough,
            ahead=ahead,
        )

    def batch(self, count: int, carried: float = 0.0) -> Batch:
        """Draw frames with labels, each as often as the others of its kind; change them at random.

        Args:
            count: How many.
            carried: Probability that a frame is one that labels were carried over to.

        Returns:
            The frames; what comes from outside an image is not labelled, and its weight is 0.
        """
        indices, motions, images, masks, weights = [], [], [], [], []
        for _ in range(count):
            if self._carried and self._rng.random() < carried:
                index = self._next(self._carried, self._carried_order)
                mask, weight = self._carried[index].mask, self._carried[index].weight
            else:
                index = self._next(self._masks, self._order)
                mask, weight = self._masks[index], np.full(self.size, 255, np.uint8)
            motion = draw_motion(self.size, self._augmentation, self._rng)
            indices.append(index)
            motions.append(motion)
            images.append(self._shown(index, motion, self._rng))
            masks.append(motion.map(mask, IGNORE))
            weights.append(motion.map(weight, 0))
        labels = torch.from_numpy(np.stack(masks).astype(np.int64))
        trust = torch.from_numpy(np.stack(weights).astype(np.float32) / np.float32(255))
        return Batch(torch.stack(images), labels, trust, tuple(indices), tuple(motions))

    def _shown(self, index: int, motion: Motion, rng: np.random.Generator) -> Tensor:
        """Return frame `index`, moved so and in colours of its own, (3, H, W) float32."""
        return to_tensor(recolour(motion.picture(self.frame(index)), self._augmentation, rng))

    def _next(self, indices: Iterable[int], order: list[int]) -> int:
        """Take the next of a random order of all, drawn anew when it is used up."""
        if not order:
            order.extend(int(index) for index in self._rng.permutation(list(indices)))
        return order.pop()

    def chance(self) -> dict[str, Any]:
        """Return where chance stands, as JSON values, for `set_chance`."""
        return {
            "rng": self._rng.bit_generator.state,
            "aside": self._aside.bit_generator.state,
            "order": list(self._order),
            "carried_order": list(self._carried_order),
        }

    def set_chance(self, state: Mapping[str, Any]) -> None:
        """Go on drawing as from where `chance` was asked."""
        self._rng.bit_generator.state = state["rng"]
        self._aside.bit_generator.state = state["aside"]
        self._order[:] = state["order"]
        self._carried_order[:] = state["carried_order"]

    @property
    def carries(self) -> bool:
        """Whether labels were carried over."""
        return bool(self._carried)

    def neighbours(self, batch: Batch) -> Neighbours | None:
        """Return the frames beside a batch's; None in a clip of one.

        Of the two beside a frame it is the one nearer to a labelled frame, which networks know
        better. They are shown in their own colours, as they will be in the end.
        """
        if len(self._source) < 2:
            return None
        images, flows, seen = [], [], []
        for index, motion in zip(batch.indices, batch.motions, strict=True):
            beside = self._nearer(index)
            there, back = self._flow_between(index, beside)
            images.append(to_tensor(motion.picture(self.frame(beside))))
            flows.append(torch.from_numpy(motion.flow(there)))
            seen.append(_seen(there, back, motion))
        return Neighbours(torch.stack(images), torch.stack(flows), torch.stack(seen))

    def _nearer(self, index: int) -> int:
        """Return the frame beside `index` that is nearer to a labelled one."""
        beside = [each for each in (index - 1, index + 1) if 0 <= each < len(self._source)]
        return min(beside, key=lambda each: min(abs(each - key) for key in self.labelled))

    def _flow_between(
        self, source: int, target: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the flows between two consecutive frames: there, and back."""
        there, back = self._flows.links(min(source, target), self.frame)
        return (there.flow, back.flow) if source < target else (back.flow, there.flow)

    def pair(self) -> Pair | None:
        """Draw two consecutive frames, with the flow between them; None in a clip of one.

        Both are changed at random as in `batch`: alike in place, so that the flow still fits, and
        each in colour for itself, so that to be consistent is also not to go by the light. Their
        chance is apart: drawing pairs changes nothing about the batches to come.
        """
        if len(self._source) < 2:
            return None
        index = int(self._aside.integers(1, len(self._source)))
        forward, backward = self._flow_between(index - 1, index)
        motion = draw_motion(self.size, self._augmentation, self._aside)
        return Pair(
            torch.stack([self._shown(each, motion, self._aside) for each in (index - 1, index)]),
            torch.from_numpy(motion.flow(forward))[None],
            torch.from_numpy(motion.flow(backward))[None],
            _seen(forward, backward, motion)[None],
            _seen(backward, forward, motion)[None],
        )


def _seen(there: NDArray[np.float32], back: NDArray[np.float32], motion: Motion) -> Tensor:
    """Where a flow passes the forward-backward check, (H, W) bool, moved."""
    checked = forward_backward_check(there, back).astype(np.uint8)
    return torch.from_numpy(motion.map(checked, 0) > 0)
