"""From an order of frames to what is said of each task: its rank, its score, its masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from backend.roundfiles import ClipRecord, RoundFiles
from backend.snapshot import Snapshot
from selection.ranking import scores

__all__ = ["first_frames", "task_rows"]

Place = tuple[int, int]
"""Clip and frame, by index."""

_FIRST_FRAMES = 5


def task_rows(
    files: RoundFiles,
    snapshot: Snapshot,
    records: Sequence[ClipRecord],
    places: Sequence[Place],
) -> list[dict[str, Any]]:
    """The rows of `backend.tables.Prediction`, in order.

    A task of several frames has the rank of the first of them, and the mean of their uncertainty.

    Args:
        files: The round's files.
        snapshot: What the round works on.
        records: What propagation found out, by clip.
        places: Frames in the order in which they are to be labelled; each once or more.
    """
    first: dict[int, Place] = {}
    for index, frame in places:
        first.setdefault(snapshot.clips[index].task_ids[frame], (index, frame))
    ladder = scores(list(first))
    rows = []
    for rank, (task_id, (index, frame)) in enumerate(first.items()):
        clip, record = snapshot.clips[index], records[index]
        members = range(len(clip)) if clip.is_task else [frame]
        masks = [files.mask_key(clip.keys[member]) for member in members]
        confidences: dict[str, Any] = (
            {str(clip.items[member]): _confidences(record, member) for member in members}
            if clip.is_task
            else _confidences(record, frame)
        )
        rows.append(
            {
                "task_id": task_id,
                "rank": rank,
                "score": float(ladder[rank]),
                "uncertainty": float(np.mean([record.uncertainty[m] for m in members])),
                "quality": _quality(record, members),
                "mask": next((key for key in masks if files.artifacts.exists(key)), None),
                "confidences": confidences,
            }
        )
    return rows


def first_frames(snapshot: Snapshot, places: Sequence[Place]) -> dict[str, list[int]]:
    """Which frames of a task with several to label first, by task id; for people.

    Frames of a video are counted from 1 as the screen counts them, pictures of a list too.
    """
    found: dict[str, list[int]] = {}
    for index, frame in places:
        clip = snapshot.clips[index]
        if clip.is_task:
            listed = found.setdefault(str(clip.task_ids[frame]), [])
            if len(listed) < _FIRST_FRAMES:
                listed.append(clip.shown_frame(frame) + 1)
    return found


def _quality(record: ClipRecord, members: Iterable[int]) -> float | None:
    known = [float(record.quality[m]) for m in members if np.isfinite(record.quality[m])]
    return round(float(np.mean(known)), 4) if known else None


def _confidences(record: ClipRecord, frame: int) -> dict[str, float]:
    row = record.confidences[frame]
    return {str(k): round(float(row[k]), 4) for k in np.flatnonzero(np.isfinite(row))}
