"""A clip's labels, from Label Studio's regions to masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.artifacts import ArtifactError
from backend.asked import Submitted, read_answer
from backend.formats import IGNORE, FormatError
from backend.formats.regions import Drawn, drawn_regions
from backend.formats.videorectangle import drawn_boxes
from backend.labelconfig import LabelConfig
from backend.media import DamagedMediaError
from backend.objects import Channel, ClipObjects
from backend.roundfiles import RoundFiles
from backend.snapshot import ClipSnapshot
from model.clip import ClipError, FrameSource

__all__ = ["ClipLabels"]

Mask = npt.NDArray[np.uint8]


@dataclass(slots=True)
class ClipLabels:
    """Reads the labels of a clip, one frame after the other.

    Attributes:
        clip: The clip.
        results: The regions of each task's label, by task id.
        submitted: Where samples are or were asked for: the annotations of each task, by task id.
        config: What the labelling configuration asks for.
        source: The clip's frames, for their sizes.
        objects: Tells which region is which channel of the masks.
        ignore: Whether uncovered pixels are unknown; else they are background.
        shown: The round whose masks people were shown, with the clip as it was there.
    """

    clip: ClipSnapshot
    results: Mapping[int, list[dict[str, Any]]]
    submitted: Mapping[int, Sequence[Submitted]]
    config: LabelConfig
    source: FrameSource
    objects: ClipObjects
    ignore: bool
    shown: tuple[RoundFiles, ClipSnapshot] | None

    def masks(self, problems: list[str]) -> Iterator[tuple[int, Mask]]:
        """Decode them.

        Args:
            problems: A sentence is added for each label that can't be used.

        Yields:
            ``(frame index, mask)`` of each label that can be used and says something.

        Raises:
            MediaError: When a picture can't be had now: its label must not count as read.
        """
        before: Mask | None = None
        for index in self.clip.labelled:
            try:
                height, width = self.source.read(index).shape[:2]
                mask = self._mask(index, (height, width), before)
            except (FormatError, DamagedMediaError, ClipError) as error:
                where = f"task {self.clip.task_ids[index]} (clip {self.clip.name!r}"
                item = f", frame {self.clip.items[index]})" if self.clip.is_task else ")"
                problems.append(f"The label of {where}{item} is unused: {error}")
                continue
            if (mask != IGNORE).any():
                yield index, mask
                before = mask

    def _mask(self, index: int, size: tuple[int, int], before: Mask | None) -> Mask:
        answers = self.submitted[self.clip.task_ids[index]]
        if not answers:
            return self._painted(self._drawn(index, size), index, size, before)
        mask = np.full(size, IGNORE, dtype=np.uint8)
        for submitted in answers:
            answer = read_answer(submitted, self.config, size)
            painted = self._painted(answer.regions, index, size, before)
            np.copyto(mask, painted, where=answer.known & (painted != IGNORE))
        return mask

    def _painted(
        self, drawn: Iterable[Drawn], index: int, size: tuple[int, int], before: Mask | None
    ) -> Mask:
        return self.objects.paint(
            drawn,
            size,
            uncovered=IGNORE if self.ignore else 0,
            predicted=self._predicted(index, size),
            before=before,
        )

    def _drawn(self, index: int, size: tuple[int, int]) -> Iterator[Drawn]:
        results = self.results[self.clip.task_ids[index]]
        if not self.clip.timestamps:
            item = self.clip.items[index] if self.clip.is_task else None
            return drawn_regions(results, self.config, size, item)
        return drawn_boxes(results, self.config, size, self.clip.shown_frame(index))

    def _predicted(self, index: int, size: tuple[int, int]) -> tuple[Mask, list[Channel]] | None:
        """What the person was shown on a frame."""
        if self.shown is None:
            return None
        files, clip = self.shown
        try:
            mask = files.artifacts.read_mask(files.mask_key(self.clip.keys[index]))
        except ArtifactError:
            return None
        channels = [Channel(label, identity) for label, identity in clip.channels]
        return (mask, channels) if mask.shape == size else None
