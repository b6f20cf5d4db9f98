"""What a clip that can't be worked on now keeps of the round before: masks, and their meaning."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from backend.roundfiles import RoundFiles
from backend.snapshot import ClipSnapshot, Snapshot

__all__ = ["clips_that_failed", "find_unchanged", "keep_earlier_masks"]


def find_unchanged(
    snapshot: Snapshot, earlier: RoundFiles, before: Snapshot, failed: Collection[str]
) -> None:
    """Note which clips need no work, as the round before worked on the very same.

    Args:
        snapshot: What the round works on; changed in place.
        earlier: Files of the round before.
        before: What it worked on.
        failed: Clips that failed in it: what it left of them is not all that there could be.
    """
    known = {clip.name: clip.digest for clip in before.clips if clip.name not in failed}
    for clip in snapshot.clips:
        if known.get(clip.name) == clip.digest and earlier.is_record_sound(clip.name):
            clip.reused_from = earlier.version


def clips_that_failed(
    failed: Collection[str], snapshot: Snapshot, before: Snapshot, task_ids: Collection[int]
) -> list[ClipSnapshot]:
    """Clips that could not even be looked into, as the round before knew them.

    Without them their tasks would have no prediction in the new version.

    Args:
        failed: Names of the clips that failed.
        snapshot: What could be looked into.
        before: The round before.
        task_ids: The project's tasks.
    """
    names = {clip.name for clip in snapshot.clips}
    return [
        replace(clip, reused_from=None, key_frames=[])
        for clip in before.clips
        if clip.name in failed and clip.name not in names and set(clip.task_ids) <= set(task_ids)
    ]


def keep_earlier_masks(
    files: RoundFiles, clip: ClipSnapshot, earlier: RoundFiles, before: Snapshot
) -> None:
    """Take over the masks that a clip had, and what their values stand for.

    The labels may have changed since: a value is a place in the list of labels of its own round.

    Args:
        files: The round's files; masks that it began to make for the clip are taken back.
        clip: The clip; its channels become the earlier ones, and as these don't fit its labels,
            it has no key frames any more. Nothing is done where the round before did not have it.
        earlier: Files of the round before.
        before: What it worked on.
    """
    known = next((each for each in before.clips if each.name == clip.name), None)
    if known is None:
        return
    clip.channels, clip.class_names = known.channels, known.class_names
    clip.key_frames = []
    for key in clip.keys:
        files.artifacts.remove(files.mask_key(key))
    there = set(known.keys)
    files.reuse_masks(earlier, [key for key in clip.keys if key in there])
