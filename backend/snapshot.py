"""What a round works on: the project's clips and labels as they were when it was collected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from backend.formats.videoclock import VideoClock
from backend.querylayer import QueryLayer
from selection.granularity import Granularity

if TYPE_CHECKING:
    from backend.parts import TaskParts
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
        items: Which picture of its task each frame is; None where a task is one frame.
        task_digest: Digest of the whole label of a clip that is one task.
        channels: Label and region id of each value of the clip's masks; the id is empty for a
            whole class.
        class_names: A name for each of them, no two alike.
        timestamps: When each frame of a video is shown, in seconds; empty for pictures.
        rate: Frames per second by which the screen counts a video's frames.
        open_again: Where samples are asked for: indices of the labelled frames that Label Studio
            serves again, as their tasks want more annotations.
        skipped: Indices of the frames of tasks that people skipped.
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
    items: list[int | None] = field(default_factory=list)
    task_digest: str | None = None
    channels: list[list[str]] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    timestamps: list[float] = field(default_factory=list)
    rate: float = 0.0
    open_again: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.task_ids)

    @property
    def is_task(self) -> bool:
        """Whether the whole clip is one task: a list of pictures, or a video."""
        return bool(self.items) and self.items[0] is not None

    @property
    def keys(self) -> list[str]:
        """A name for each frame among a round's files."""
        if not self.is_task:
            return [str(task_id) for task_id in self.task_ids]
        return [f"{task}.{item}" for task, item in zip(self.task_ids, self.items, strict=True)]

    @property
    def clock(self) -> VideoClock:
        """Between a video's pictures and the frames that the screen counts."""
        return VideoClock(self.timestamps, self.rate)

    def shown_frame(self, index: int) -> int:
        """The number, from 0, by which the screen knows a frame of the task."""
        return self.clock.frame(index) if self.timestamps else int(self.items[index] or 0)

    @property
    def labelled(self) -> list[int]:
        """Indices of the frames that a person has labelled."""
        return [index for index, digest in enumerate(self.digests) if digest is not None]

    @property
    def inside(self) -> dict[str, Any]:
        """For people, what is in a clip that is one task: its frames, and the labelled ones."""
        numbers = [self.shown_frame(index) + 1 for index in self.labelled]
        return {"frames": len(self), "labelled": numbers}

    @property
    def done(self) -> list[int]:
        """Indices of the frames of labelled tasks: Label Studio won't ask for them again."""
        if self.is_task:
            return list(range(len(self))) if self.task_digest is not None else []
        return [index for index in self.labelled if index not in self.open_again]

    @property
    def labels(self) -> dict[int, str | None]:
        """Digest of each task's label."""
        if self.is_task:
            return dict.fromkeys(self.task_ids, self.task_digest)
        return dict(zip(self.task_ids, self.digests, strict=True))


@dataclass(slots=True)
class Snapshot:
    """The clips of a project and the classes of its configuration (index 0 is background).

    Tasks that can't be served until they change are set aside, with the digests of their labels.
    `queries` is what is asked for where it is not whole frames; `annotators` how many people have
    worked on the project.
    """

    class_names: list[str]
    clips: list[ClipSnapshot]
    set_aside: dict[str, str | None] = field(default_factory=dict)
    queries: QueryLayer | None = None
    annotators: int = 1

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
        clips = [ClipSnapshot(**clip) for clip in record["clips"]]
        queries = record.get("queries")
        if queries is not None:
            granularity = Granularity(**queries["granularity"])
            queries = QueryLayer(**{**queries, "granularity": granularity})
        set_aside = record.get("set_aside") or {}
        return cls(record["class_names"], clips, set_aside, queries, record.get("annotators", 1))


def take_snapshot(
    clips: Iterable[tuple[Sequence[SeenFrame], Sequence[TaskParts], Sequence[str]]],
    class_names: Iterable[str],
    settings_digest: str,
) -> Snapshot:
    """Put a project's clips together.

    Args:
        clips: The tasks of each clip in their order, the frames of each task, and what else the
            clip's masks depend on.
        class_names: Names of the classes, background first.
        settings_digest: Changes when the same labels would give other masks.
    """
    names = list(class_names)
    taken = []
    for tasks, frames, more in clips:
        parts = [(task, part) for task, of in zip(tasks, frames, strict=True) for part in of.parts]
        clip = ClipSnapshot(
            name=tasks[0].clip,
            task_ids=[task.task_id for task, _ in parts],
            urls=[part.url for _, part in parts],
            positions=[task.position if part.item is None else part.item for task, part in parts],
            digests=[part.digest for _, part in parts],
            items=[part.item for _, part in parts],
            timestamps=frames[0].timestamps,
            rate=frames[0].rate,
            skipped=[index for index, (task, _) in enumerate(parts) if task.skipped],
        )
        if clip.is_task:
            clip.task_digest = tasks[0].digest
        said = [clip.task_ids, clip.urls, clip.positions, clip.digests, *more]
        text = json.dumps([said, names, settings_digest])
        clip.digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        taken.append(clip)
    return Snapshot(names, taken)
