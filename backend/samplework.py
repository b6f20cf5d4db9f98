"""Rectangles and super-pixels of a round: described while masks are made, chosen in the end.

A frame's queries are kept as a picture: 0 is not asked for, n is the n-th of its samples. Before a
clip has masks, its frames are asked for whole, and so they are where the layer says frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from backend.artifacts import ArtifactError, folder_name
from backend.order import ClipState
from backend.querylayer import MOST, QueryLayer
from backend.roundfiles import RoundFiles
from backend.snapshot import ClipSnapshot
from model.clip import FrameSource
from selection.asking import SamplePool, choose_samples, labelled_samples
from selection.granularity import partition
from selection.samples import FrameSamples, describe

__all__ = ["ClipSamples", "ask", "asked_first", "valued_by_samples"]

_TOLD = 20


@dataclass(frozen=True, slots=True)
class ClipSamples:
    """The samples of one clip in one round.

    Attributes:
        files: The round's files.
        clip: The clip.
        source: Its frames.
        layer: What is asked for.
    """

    files: RoundFiles
    clip: ClipSnapshot
    source: FrameSource
    layer: QueryLayer

    def ask_whole(self) -> None:
        """Ask for every frame whole: nothing is known of what is in it, or frames are wanted."""
        first: str | None = None
        done = set(self.clip.done)
        for key in (key for index, key in enumerate(self.clip.keys) if index not in done):
            if first is None:
                size = self.source.read(0).shape[:2]
                self.files.artifacts.write_mask(self.files.query_key(key), np.ones(size, np.uint8))
                first = key
            else:  # frames of a clip are of one size
                self.files.artifacts.reuse(self.files.query_key(key), self.files.query_key(first))

    def describe(
        self,
        index: int,
        *,
        uncertainty: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32],
        mask: npt.NDArray[np.uint8],
        label: npt.NDArray[np.uint8] | None,
    ) -> None:
        """Keep what a frame's samples are worth, and ask for the most uncertain ones.

        Args:
            index: The frame.
            uncertainty: (H, W), 0..1.
            features: (C, h, w).
            mask: (H, W) uint8, the prediction.
            label: (H, W) uint8, 255 = unknown; None where nobody has labelled it.
        """
        if index in self.clip.done:
            return
        numbers = self._partition(index)
        samples = describe(
            index,
            self.layer.granularity,
            numbers,
            uncertainty=uncertainty,
            features=features,
            mask=mask,
            free={0},
        )
        known = labelled_samples(numbers, label)
        key = self.clip.keys[index]
        self.files.artifacts.write_arrays(
            self.files.samples_key(key),
            boxes=samples.boxes,
            areas=samples.areas,
            clicks=samples.clicks,
            uncertainty=samples.uncertainty,
            features=samples.features.astype(np.float16),
            known=known,
        )
        falling = np.argsort(-np.where(known, -1.0, samples.uncertainty), kind="stable")
        best = [int(n) for n in falling[: self.layer.number] if not known[n]]
        self._keep(index, numbers, best)

    def worth(self) -> npt.NDArray[np.float64]:
        """(N,) mean uncertainty of each frame's best samples, as many as are asked for; 0 where
        none is left."""
        out = np.zeros(len(self.clip))
        for index, samples, known in self.read(range(len(self.clip))):
            free = np.sort(samples.uncertainty[~known])[::-1][: self.layer.number]
            out[index] = float(free.mean()) if len(free) else 0.0
        return out

    def read(
        self, indices: Iterable[int]
    ) -> Iterator[tuple[int, FrameSamples, npt.NDArray[np.bool_]]]:
        """Samples of these frames, and which of them are labelled; frames without are left out."""
        for index in indices:
            try:
                arrays = self.files.artifacts.read_arrays(
                    self.files.samples_key(self.clip.keys[index])
                )
            except ArtifactError:
                continue
            samples = FrameSamples(
                index,
                arrays["boxes"],
                arrays["areas"],
                arrays["clicks"],
                arrays["uncertainty"],
                arrays["features"].astype(np.float32),
            )
            yield index, samples, arrays["known"]

    def ask(self, index: int, chosen: Sequence[int]) -> None:
        """Ask for these samples of a frame."""
        self._keep(index, self._partition(index), chosen)

    def asked(self, index: int) -> list[list[int]]:
        """Where a frame's samples that are asked for are: ``[left, top, right, bottom]`` of each in
        pixels, right and bottom beyond the last one; empty where none is."""
        try:
            numbers = self.files.artifacts.read_mask(self.files.query_key(self.clip.keys[index]))
        except ArtifactError:
            return []
        found = [place for place in find_objects(numbers) if place is not None]
        return [[x.start, y.start, x.stop, y.stop] for y, x in found]

    def _partition(self, index: int) -> npt.NDArray[np.int32]:
        """A frame's samples; super-pixels, which take a third of a second, are kept for later."""
        granularity = self.layer.granularity
        if granularity.kind != "superpixel":
            return partition(granularity, self.source.read(index))
        name = f"{granularity} {self.clip.keys[index]} {self.clip.urls[index]}"
        key = f"{self.files.project_id}/superpixels/{folder_name(name)}.png"
        artifacts = self.files.artifacts
        try:
            # Two bytes a number, side by side.
            return artifacts.read_mask(key).view(np.uint16).astype(np.int32)
        except ArtifactError:
            numbers = partition(granularity, self.source.read(index))
            artifacts.write_mask(key, numbers.astype(np.uint16).view(np.uint8))
            return numbers

    def _keep(self, index: int, numbers: npt.NDArray[np.int32], chosen: Sequence[int]) -> None:
        if not chosen:
            return
        values = np.zeros(int(numbers.max()) + 1, np.uint8)
        values[list(chosen[:MOST])] = np.arange(1, len(chosen[:MOST]) + 1)
        self.files.artifacts.write_mask(
            self.files.query_key(self.clip.keys[index]), values[numbers]
        )


def valued_by_samples(
    states: Sequence[ClipState], clips: Mapping[int, ClipSamples]
) -> list[ClipState]:
    """Frames are as uncertain as their best samples: by these tasks are ordered."""
    return [
        replace(state, uncertainty=clips[index].worth()) if index in clips else state
        for index, state in enumerate(states)
    ]


def ask(
    clips: Mapping[int, ClipSamples],
    frames: Iterable[tuple[int, int]],
    strategy: str,
    seed: int,
) -> int:
    """Choose the samples of the frames that are labelled next, all of these frames' together.

    Label Studio serves a labelled task to nobody a second time, so samples are not taken from
    wherever they are best, a few on each frame, but from the frames that were chosen: as many in
    all as the layer's number on each.

    Args:
        clips: The samples of each clip that has masks, by the clip's index.
        frames: (clip, frame) of the chosen frames; those of other clips are passed over.
        strategy: Name in `selection.strategies`.
        seed: Of the choice.

    Returns:
        How many samples were chosen.
    """
    wanted: dict[int, list[int]] = {}
    for clip, frame in frames:
        if clip in clips:
            wanted.setdefault(clip, []).append(frame)
    budget = sum(clips[clip].layer.number * len(indices) for clip, indices in wanted.items())
    pool = SamplePool.gather(
        (clip, samples, known)
        for clip, indices in wanted.items()
        for _, samples, known in clips[clip].read(indices)
    )
    chosen = choose_samples(pool, strategy, budget, seed)
    for (clip, frame), numbers in chosen.items():
        clips[clip].ask(frame, numbers)
    return sum(map(len, chosen.values()))


def asked_first(
    clips: Mapping[int, ClipSamples], frames: Iterable[tuple[int, int]]
) -> dict[str, list[list[int]]]:
    """Which samples are asked for on the frames that are labelled next, for people.

    Args:
        clips: The samples of each clip that has masks, by the clip's index.
        frames: (clip, frame) in the order in which they are to be labelled.

    Returns:
        The boxes of `ClipSamples.asked` by task id; whole frames are left out.
    """
    found = {}
    for clip, frame in islice(frames, _TOLD):
        boxes = clips[clip].asked(frame) if clip in clips else []
        if boxes:
            found[str(clips[clip].clip.task_ids[frame])] = boxes
    return found
