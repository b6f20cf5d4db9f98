"""Blend what several key frames say about a frame, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.chain import Chain, Link
from model.clues import Clues
from model.flow import FlowEstimator, forward_backward_confidence, get_flow
from model.keyframes import KeyFrame, lab
from model.match import MatchSettings, Source, vote
from model.ranking import lead, most_probable
from model.settings import PropagationSettings
from model.side import Joined, Side, Way, colour_similarity
from model.warp import identity_map, sample

__all__ = ["Blender", "FrameResult", "Recalled", "colour_similarity", "weigh"]

_DIRECT = "dis-quick"
"""The flow between a frame and a key frame far off: rough, as matching goes on from there."""

Recalled = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]
"""(H, W) mask, (H, W) lead of its classes and (H, W, 3) Lab of a frame that was labelled."""


@dataclass(frozen=True)
class FrameResult:
    """One frame's labels.

    Attributes:
        index: The frame.
        probabilities: (K, H, W) float32, summing to 1 over the classes.
        confidence: (H, W) float32, 0 to 1: how far the best source can be trusted. 1 where a
            person labelled the pixel.
        is_key: Whether a person labelled every pixel of the frame.
        image: (H, W, 3) uint8 RGB, the frame itself, where it was read.
        clues: What refinement goes by, where it is asked for.
        propagated: The probabilities before a network's word was mixed in and they were refined,
            where that was done.
        word: (H, W) uint8, the most probable class by the network, where it was asked.
    """

    index: int
    probabilities: NDArray[np.float32]
    confidence: NDArray[np.float32]
    is_key: bool
    image: NDArray[np.uint8] | None = None
    clues: Clues | None = field(default=None, repr=False)
    propagated: NDArray[np.float32] | None = field(default=None, repr=False)
    word: NDArray[np.uint8] | None = field(default=None, repr=False)

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        """(H, W) uint8: the most probable class."""
        return most_probable(self.probabilities)


def weigh(
    index: int,
    frame: NDArray[np.uint8],
    sources: Sequence[tuple[KeyFrame, Chain]],
    settings: PropagationSettings,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weigh the warped masks of `sources` by the formula of `model.propagate`, and add them up.

    Args:
        index: The frame.
        frame: (H, W, 3) uint8 Lab.
        sources: Key frames, and where the frame's pixels are in them; at least one.
        settings: τ, σ and ε.

    Returns:
        Probabilities (K, H, W) float32 and confidence (H, W) float32: of the source trusted most,
        the product of both checks.
    """
    confidence = np.zeros(frame.shape[:2], np.float32)
    votes: NDArray[np.float32] | None = None
    floor = np.float32(settings.floor)
    closeness = _closeness(index, [key for key, _ in sources], settings.decay)
    for (key, chain), close in zip(sources, closeness, strict=True):
        warped_image = sample(key.lab, chain.positions)
        colour = colour_similarity(frame, warped_image, settings.colour_sigma)
        weight = (chain.confidence + floor) * (colour + floor) * np.float32(close)
        if key.trust is not None:
            trust = sample(key.trust, chain.positions)
            weight *= np.maximum(trust, np.float32(1e-6))
            colour *= trust
        np.maximum(confidence, chain.confidence * colour, out=confidence)
        warped = key.warp(chain.positions)
        warped *= weight
        votes = warped if votes is None else np.add(votes, warped, out=votes)
    if votes is None:
        raise ValueError("blending needs at least one source")
    votes /= votes.sum(axis=0)
    return votes, confidence


def _closeness(index: int, keys: Sequence[KeyFrame], decay: float) -> list[float]:
    """exp(−|t − k| / τ), relative to the nearest key frame."""
    distances = [abs(index - key.index) for key in keys]
    return [float(np.exp(-(distance - min(distances)) / decay)) for distance in distances]


class Blender:
    """Labels frame after frame of one stretch, remembering the last result.

    Args:
        settings: How sources are weighed, and whether matching follows.
        estimator: The flow estimator, for direct flow where it is no DIS.

    Attributes:
        recalled: What the next frame takes into account of the one blended last; None where there
            was none.
    """

    def __init__(self, settings: PropagationSettings, estimator: FlowEstimator) -> None:
        self._settings = settings
        self._direct = get_flow(_DIRECT) if estimator.name.startswith("dis") else estimator
        self.recalled: Recalled | None = None

    @property
    def recalls(self) -> bool:
        """Whether a frame's result depends on that of the frame before."""
        return self._settings.matching is not None and self._settings.recall > 0

    def blend(
        self,
        index: int,
        image: NDArray[np.uint8],
        sources: Sequence[tuple[KeyFrame, Chain]],
        link: Link | None = None,
    ) -> FrameResult:
        """Label frame `index` from key frames.

        Args:
            index: The frame.
            image: (H, W, 3) uint8 RGB.
            sources: Key frames, and the chains to them.
            link: To the frame blended last, where its result is to be taken into account.
        """
        frame = lab(image)
        if self._settings.matching is None:
            probabilities, confidence = weigh(index, frame, sources, self._settings)
            return FrameResult(index, probabilities, confidence, is_key=False)
        return self._matched(index, image, frame, sources, link, self._settings.matching)

    def remember(self, result: FrameResult) -> None:
        """Recall the frame blended last as `result` has it: corrected since by something else."""
        if self.recalled is not None:
            margin = lead(result.probabilities)
            self.recalled = (result.mask, margin, self.recalled[2])

    def _matched(
        self,
        index: int,
        image: NDArray[np.uint8],
        frame: NDArray[np.uint8],
        sources: Sequence[tuple[KeyFrame, Chain]],
        link: Link | None,
        how: MatchSettings,
    ) -> FrameResult:
        settings = self._settings
        order = sorted(sources, key=lambda source: abs(index - source[0].index))
        closeness = _closeness(index, [key for key, _ in order], settings.decay)
        found = [self._side(image, frame, key, chain) for key, chain in order]
        voters = [side.voters(close) for side, close in zip(found, closeness, strict=True)]
        if link is not None and self.recalled is not None and settings.recall > 0:
            positions = identity_map(*link.confidence.shape) + link.flow
            voters.append([Source(*self.recalled, positions, link.confidence, settings.recall)])
        votes = vote(frame, voters, sources[0][0].onehot.shape[2], how)
        probabilities = votes.probabilities()
        confidence = np.maximum.reduce([side.confidence for side in found])
        clues = None
        if settings.refine is not None:
            joined = [Joined.of(side.ways) for side in found]
            clues = Clues(
                votes=votes,
                labels=tuple(side.key.planes for side in found),
                positions=tuple(best.positions for best in joined),
                confidence=tuple(best.trusted for best in joined),
                likeness=tuple(best.likeness for best in joined),
                distance=tuple(abs(index - side.key.index) for side in found),
                lab=frame,
            )
        result = FrameResult(index, probabilities, confidence, is_key=False, clues=clues)
        if link is not None and settings.recall > 0:
            self.recalled = (result.mask, lead(probabilities), frame)
        return result

    def _side(
        self,
        image: NDArray[np.uint8],
        frame: NDArray[np.uint8],
        key: KeyFrame,
        chain: Chain,
    ) -> Side:
        """A key frame by its chain, and by direct flow where that is unsure."""
        sigma = self._settings.colour_sigma
        way = Way.of(key, chain, frame, sigma)
        if way.mean_at_outlines(chain.confidence) >= self._settings.direct_below:
            return Side(key, (way,))
        return Side(key, (way, Way.of(key, self._directly(image, key, chain), frame, sigma)))

    def _directly(self, image: NDArray[np.uint8], key: KeyFrame, chain: Chain) -> Chain:
        """Match the frame with the key frame itself, starting from where the chain leads."""
        there = self._direct.flow(image, key.image, chain.flow)
        back = self._direct.flow(key.image, image)
        positions = identity_map(*chain.confidence.shape) + there
        return Chain(key.index, positions, forward_backward_confidence(there, back))
