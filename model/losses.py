"""Losses of a segmenter, one pure function each.

Logits are (B, K, H, W), labels (B, H, W) int64 with 255 where nobody labelled, probabilities
(B, K, H, W) summing to 1 over the classes. Every loss is a scalar; where there is nothing to
learn from (no pixel labelled, none in sight) it is 0, with zero gradients, and never NaN.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "IGNORE",
    "bootstrapped_cross_entropy",
    "cross_entropy",
    "dice",
    "flicker",
    "flow_consistency",
    "temporal_overlap",
    "warp",
]

IGNORE = 255
"""The label of pixels that do not count."""

_LEAST = 10.0
"""So many pixels of a class at most say nothing about how steady it is."""


def cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, averaged over the labelled pixels (any part of an image may be labelled).

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64, 255 = ignore.
        class_weights: (K,), what a pixel of each class counts; the average is weighted by it.

    Returns:
        A scalar, 0 where no pixel is labelled.
    """
    losses = F.cross_entropy(
        logits, labels, weight=class_weights, ignore_index=IGNORE, reduction="sum"
    )
    labelled = labels != IGNORE
    if class_weights is None:
        count = labelled.sum().to(losses.dtype)
    else:
        count = class_weights[labels.clamp(max=logits.shape[1] - 1)][labelled].sum()
    return losses / count.clamp(min=1e-6)


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy on labels that are trusted more in one place than in another.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64, 255 = ignore.
        weights: (B, H, W), 0 to 1.
        class_weights: (K,), what a pixel of each class counts besides.

    Returns:
        A scalar, the mean over the pixels by weight; 0 where no weight is left.
    """
    losses = F.cross_entropy(
        logits, labels, weight=class_weights, ignore_index=IGNORE, reduction="none"
    )
    counts = weights * (labels != IGNORE)
    if class_weights is not None:
        counts = counts * class_weights[labels.clamp(max=logits.shape[1] - 1)]
    return (losses * weights).sum() / counts.sum().clamp(min=1e-6)


def bootstrapped_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    share: float,
    weights: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy on the hardest pixels only (VSPW, CVPR 2021, lets the share fall to 0.15).

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64, 255 = ignore.
        share: Of the labelled pixels, how many count; above 0, to 1 for all.
        weights: (B, H, W), 0 to 1, how far the labels can be trusted: what counts as hard, too.
        class_weights: (K,), what a pixel of each class counts besides.

    Returns:
        A scalar, the mean over those with the largest loss; 0 where no pixel is labelled.

    Raises:
        ValueError: The share is not as above.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of the hardest pixels must be above 0, to 1; not {share}")
    losses = F.cross_entropy(
        logits, labels, weight=class_weights, ignore_index=IGNORE, reduction="none"
    )
    if weights is not None:
        losses = losses * weights
    labelled = losses[labels != IGNORE]
    if labelled.numel() == 0:
        return losses.sum() * 0.0
    return labelled.topk(max(1, round(share * labelled.numel()))).values.mean()


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """One less the Dice coefficient, averaged over the classes that are labelled in the batch,

        L = 1 − mean_k 2 Σ p_k y_k / (Σ p_k + Σ y_k),

    sums over the labelled pixels of all images (Milletari et al., 3DV 2016).

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64, 255 = ignore.

    Returns:
        A scalar, 0 to 1; 0 where no pixel is labelled.
    """
    classes = logits.shape[1]
    labelled = (labels != IGNORE)[:, None]
    probabilities = logits.softmax(dim=1) * labelled
    truth = F.one_hot(labels.clamp(max=classes - 1), classes).permute(0, 3, 1, 2) * labelled
    area = truth.sum(dim=(0, 2, 3))
    overlap = 2 * (probabilities * truth).sum(dim=(0, 2, 3))
    scores = overlap / (probabilities.sum(dim=(0, 2, 3)) + area).clamp(min=1e-6)
    present = (area > 0).to(scores.dtype)
    return ((1 - scores) * present).sum() / present.sum().clamp(min=1.0)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Look up `image` where `flow` points, bilinearly; outside, the nearest border pixel.

    Args:
        image: (B, C, H, W).
        flow: (B, H, W, 2), x first, in pixels: the output at x is `image` at x + flow(x).

    Returns:
        (B, C, H, W).
    """
    height, width = flow.shape[1:3]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) + flow
    scale = torch.tensor(
        [2.0 / max(width - 1, 1), 2.0 / max(height - 1, 1)], device=flow.device, dtype=flow.dtype
    )
    return F.grid_sample(
        image, places * scale - 1.0, mode="bilinear", padding_mode="border", align_corners=True
    )


def flow_consistency(
    previous: Tensor,
    current: Tensor,
    forward: Tensor,
    backward: Tensor,
    seen_forward: Tensor,
    seen_backward: Tensor,
) -> Tensor:
    """How much predictions change along the flow between consecutive frames (HVSA, WACV 2023).

    The mean, over the pixels that pass the forward-backward check, of the squared difference
    between the probabilities at t and those at t−1 warped to t,

        L = 1/|M| Σ_{x ∈ M} ‖p_t(x) − p_{t−1}(x + w_{t→t−1}(x))‖² / 2,

    and the same from t−1 to t; their average. Gradients reach both frames.

    Args:
        previous: (B, K, H, W) probabilities at t−1.
        current: (B, K, H, W) probabilities at t.
        forward: (B, H, W, 2) flow t−1 → t, in pixels.
        backward: (B, H, W, 2) flow t → t−1.
        seen_forward: (B, H, W) bool, pixels of t−1 whose forward flow passes the check.
        seen_backward: (B, H, W) bool, pixels of t whose backward flow passes.

    Returns:
        A scalar, 0 (all agree) to 1; 0 where no pixel passes.
    """
    there = _difference(previous, warp(current, forward), seen_forward)
    back = _difference(current, warp(previous, backward), seen_backward)
    return (there + back) / 2


def _difference(first: Tensor, second: Tensor, seen: Tensor) -> Tensor:
    distance = (first - second).square().sum(dim=1) / 2
    mask = seen.to(distance.dtype)
    return (distance * mask).sum() / mask.sum().clamp(min=1.0)


def temporal_overlap(
    logits: Tensor,
    beside: Tensor,
    flow: Tensor,
    seen: Tensor,
    known: tuple[Tensor, Tensor],
    *,
    rely: float = 0.5,
    stride: int = 1,
) -> Tensor:
    """How far predictions are from overlapping with those of the frame beside, along the flow.

    What TC (`metrics.TemporalConsistency`) counts of masks, here of probabilities, class by class,

        L = mean_k (1 − J_k)²,  J_k = (Σ p_k o_k + 1) / (Σ (p_k + o_k − p_k o_k) + 1),
        o(x) = r τ(x) e_y(x) + (1 − r τ(x)) p_u(x + w_{t→u}(x)),

    sums over the pixels of all frames that pass the forward-backward check. By the difference of
    pixels (`flow_consistency`) thin things fade, as they hardly ever overlap with themselves a
    frame later; by the overlap each class counts alike, however small, and is drawn to where it
    was or is labelled. It is squared, as a class that overlaps well only loses by being made
    surer. Classes of fewer than 10 such pixels in o are left out. No gradient reaches o.

    Args:
        logits: (B, K, H, W), of the frames t that are to learn.
        beside: (B, K, H, W) logits of the frames u beside them.
        flow: (B, H, W, 2) from t to u, in pixels.
        seen: (B, H, W) bool, pixels of t whose flow passes the check.
        known: (B, H, W) int64 labels y of t, 255 where there is none, and (B, H, W) τ, how far
            each can be trusted, 0 to 1.
        rely: r, what a fully trusted label counts against the frame beside, 0 to 1.
        stride: Every so many pixels one counts, each way.

    Returns:
        A scalar, 0 (all agree, and are sure) to 1; 0 where no class is left.
    """
    own = logits[:, :, ::stride, ::stride].softmax(dim=1)
    with torch.no_grad():
        other = _told(beside, flow, stride)
        labels, trust = (each[:, ::stride, ::stride] for each in known)
        share = (rely * trust * (labels != IGNORE))[:, None]
        other = share * _one_hot(labels, logits.shape[1]) + (1 - share) * other
    apart, there = _apart(own, other, seen[:, ::stride, ::stride])
    return (apart.square() * there).sum() / there.sum().clamp(min=1.0)


def flicker(
    logits: Tensor,
    beside: Tensor,
    flow: Tensor,
    seen: Tensor,
    *,
    little: float = 0.005,
    stride: int = 1,
) -> Tensor:
    """How much of what is said in a frame is not said in the frame beside, along the flow.

    As `temporal_overlap`, class by class with o = p_u alone, but nothing is asked of a pixel that
    keeps its class: it counts as sure. That is TC, with a slope where classes change. Where a
    clip is steady already, sureness is all that an overlap of probabilities would still win.

        L = ε log(1 + mean_k (1 − J_k) / ε),

    so that steady clips, of which little flickers, learn of it as well, and it does not rule
    where much does.

    A pixel keeps its class where any of the four pixels around the flow's end has it, as in TC.

    Args:
        logits: (B, K, H, W), of the frames t that are to learn.
        beside: (B, K, H, W) logits of the frames u beside them; no gradient reaches these.
        flow: (B, H, W, 2) from t to u, in pixels.
        seen: (B, H, W) bool, pixels of t whose flow passes the check.
        little: ε, above 0, the share that is little.
        stride: Every so many pixels one counts, each way.

    Returns:
        A scalar, 0 (no pixel changes its class) to ε log(1 + 1 / ε).
    """
    own = logits[:, :, ::stride, ::stride].softmax(dim=1)
    with torch.no_grad():
        said = own.argmax(dim=1)
        keeps = _found(said, beside.argmax(dim=1), flow, stride)[:, None]
        sure = _one_hot(said, logits.shape[1]).to(own.dtype)
        other = torch.where(keeps, sure, _told(beside, flow, stride))
    apart, there = _apart(torch.where(keeps, sure, own), other, seen[:, ::stride, ::stride])
    mean = (apart * there).sum() / there.sum().clamp(min=1.0)
    return little * torch.log1p(mean / little)


def _told(beside: Tensor, flow: Tensor, stride: int) -> Tensor:
    """Probabilities of the frame beside at the ends of the flow, on every `stride`-th pixel."""
    told = beside[:, :, ::stride, ::stride].softmax(dim=1)
    return warp(told, flow[:, ::stride, ::stride] / stride)


def _found(said: Tensor, beside: Tensor, flow: Tensor, stride: int) -> Tensor:
    """Where the flow from every `stride`-th pixel ends beside a pixel of the class `said` there.

    Args:
        said: (B, h, w) int64, the classes of every `stride`-th pixel.
        beside: (B, H, W) int64, those of the frame beside.
        flow: (B, H, W, 2), in pixels.
        stride: As above.

    Returns:
        (B, h, w) bool.
    """
    height, width = beside.shape[1:]
    y = torch.arange(0, height, stride, device=flow.device, dtype=flow.dtype)
    x = torch.arange(0, width, stride, device=flow.device, dtype=flow.dtype)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    columns, rows = (grid + flow[:, ::stride, ::stride]).unbind(dim=-1)
    columns, rows = columns.clamp(0, width - 1), rows.clamp(0, height - 1)
    found = torch.zeros_like(said, dtype=torch.bool)
    for row in (rows.floor(), rows.ceil()):
        for column in (columns.floor(), columns.ceil()):
            place = (row * width + column).long().flatten(1)
            found |= beside.flatten(1).gather(1, place).view_as(said) == said
    return found


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels.clamp(max=classes - 1), classes).permute(0, 3, 1, 2)


def _apart(own: Tensor, other: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """One less the soft IoU of each class, (K,), and 1 where there is enough of it, else 0."""
    counts = seen[:, None].to(own.dtype)
    there = ((other * counts).sum(dim=(0, 2, 3)) > _LEAST).to(own.dtype)
    overlap = (own * other * counts).sum(dim=(0, 2, 3))
    union = ((own + other) * counts).sum(dim=(0, 2, 3)) - overlap
    return 1 - (overlap + 1) / (union + 1), there
