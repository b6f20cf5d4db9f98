"""A clip's labels, from Label Studio's regions to masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from backend.formats import FormatError, decode
from backend.labelconfig import LabelConfig
from backend.media import MediaError
from backend.snapshot import ClipSnapshot
from model.clip import ClipError, FrameSource

__all__ = ["decode_labels"]


def decode_labels(
    clip: ClipSnapshot,
    results: Mapping[int, list[dict[str, Any]] | None],
    config: LabelConfig,
    unlabelled: Literal["background", "ignore"],
    source: FrameSource,
    problems: list[str],
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Decode the labels of a clip.

    Args:
        clip: The clip.
        results: The regions of each task's label, by task id.
        config: What the labelling configuration asks for.
        unlabelled: What an uncovered pixel means.
        source: The clip's frames, for the size of a label without regions.
        problems: A sentence is added for each label that can't be used.

    Yields:
        ``(frame index, mask)`` of each label that can be used.
    """
    for index in clip.labelled:
        task_id = clip.task_ids[index]
        regions = results.get(task_id) or []
        try:
            height, width = source.read(index).shape[:2]
            mask = decode(regions, config, (height, width), unlabelled=unlabelled)
        except (FormatError, MediaError, ClipError) as error:
            problems.append(f"The label of task {task_id} (clip {clip.name!r}) is unused: {error}")
            continue
        yield index, mask
