"""What a round works on: the project's clips and labels as they were when it was collected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from backend.sync import SeenFrame

__all__ = ["ClipSnapshot", "Snapshot", "take_snapshot"]


@dataclass(slots=True)
class ClipSnapshot:
    """One clip.

    Attributes:
        name: The clip's name.
        task_ids: Task of each frame, in the clip's order.
        urls: Picture of each frame.
        positions: Frame number of each frame, as the tasks give it.
        digests: Digest of each frame's label; None without one.
        key_frames: Indices of the frames whose label could be decoded.
        digest: Changes when a frame, a label or the classes change.
        reused_from: Version of the earlier round that already answers this very digest.
    """

    name: str
    task_ids: list[int]
    urls: list[str]
    positions: list[int]
    digests: list[str | None]
    key_frames: list[int] = field(default_factory=list)
    digest: str = ""
    reused_from: str | None = None

    def __len__(self) -> int:
        return len(self.task_ids)

    @property
    def labelled(self) -> list[int]:
        """Indices of the frames that a person has labelled."""
        return [index for index, digest in enumerate(self.digests) if digest is not None]


@dataclass(slots=True)
class Snapshot:
    """The clips of a project and the classes of its configuration (index 0 is background)."""

    class_names: list[str]
    clips: list[ClipSnapshot]

    @property
    def key_frames(self) -> int:
        """Number of key frames in all clips."""
        return sum(len(clip.key_frames) for clip in self.clips)

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Snapshot:
        """From its JSON object."""
        return cls(record["class_names"], [ClipSnapshot(**clip) for clip in record["clips"]])


def take_snapshot(
    frames: Iterable[SeenFrame], class_names: Iterable[str], settings_digest: str
) -> Snapshot:
    """Group a project's frames into clips.

    Args:
        frames: The frames, by clip and position.
        class_names: Names of the classes, background first.
        settings_digest: Changes when the same labels would give other masks.
    """
    names = list(class_names)
    clips = []
    for name, group in groupby(frames, key=lambda frame: frame.clip):
        members = list(group)
        clip = ClipSnapshot(
            name=name,
            task_ids=[frame.task_id for frame in members],
            urls=[frame.url for frame in members],
            positions=[frame.position for frame in members],
            digests=[frame.digest for frame in members],
        )
        text = json.dumps(
            [[clip.task_ids, clip.urls, clip.positions, clip.digests], names, settings_digest]
        )
        clip.digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        clips.append(clip)
    return Snapshot(names, clips)
