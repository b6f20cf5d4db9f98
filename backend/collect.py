"""The first step of a round: clips and labels as they are now, decoded into masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

from backend.formats import FormatError
from backend.frames import clip_frames
from backend.labelconfig import LabelConfig
from backend.labels import ClipLabels
from backend.media import MediaCache, MediaError, bare_url, of_edition
from backend.objects import Channel, ClipObjects
from backend.parts import ClipWishes, Shown, TaskParts, parts_of, wishes_of
from backend.roundfiles import RoundFiles
from backend.snapshot import ClipSnapshot, Snapshot, take_snapshot
from backend.sync import SeenFrame
from model.clip import ClipError

__all__ = ["Collector"]


@dataclass(slots=True)
class Collector:
    """Collects a project's clips and labels for one round.

    Attributes:
        files: The round's files.
        media: Fetches pictures and videos.
        config: What the labelling configuration asks for.
        unlabelled: What an uncovered pixel means where a clip's tasks don't say.
        objects: Whether regions are objects; ``auto`` asks the configuration.
        problems: Sentences on what can't be used are added here.
        shown: Gives the result that people were shown of a task.
        edition: How often a person had the pictures fetched anew.
        failed: Why a clip can't be had now, by name; such a clip is tried again.
        set_aside: Tasks that can't be served until they change, and the digests of their labels.
    """

    files: RoundFiles
    media: MediaCache
    config: LabelConfig
    unlabelled: Literal["background", "ignore"]
    objects: Literal["auto", "on", "off"]
    problems: list[str]
    shown: Shown
    edition: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    set_aside: dict[int, str | None] = field(default_factory=dict)

    def snapshot(self, frames: Iterable[SeenFrame], settings_digest: str) -> Snapshot:
        """The clips as they are now, without their labels.

        Args:
            frames: The project's tasks by clip and position.
            settings_digest: Changes when the same labels would give other masks.
        """
        clips = []
        for _, group in groupby(frames, key=lambda frame: frame.clip):
            tasks, parts = self._parts(group)
            if tasks:
                wishes = wishes_of(tasks, self.config, [])
                more = [*(wishes.categories or ()), wishes.unlabelled or "", str(self._objects)]
                if self.config.queries is not None:
                    more += [str(self.config.queries), *_open_tasks(tasks)]
                clips.append((tasks, parts, more))
        snapshot = take_snapshot(clips, self.config.class_names, settings_digest)
        snapshot.queries = self.config.queries
        if self.config.queries is not None:
            open_tasks = set(_open_tasks(frame for tasks, *_ in clips for frame in tasks))
            for clip in snapshot.clips:
                clip.open_again = [i for i in clip.labelled if str(clip.task_ids[i]) in open_tasks]
        snapshot.set_aside = {str(task_id): digest for task_id, digest in self.set_aside.items()}
        return snapshot

    def labels(
        self,
        clips: Iterable[ClipSnapshot],
        frames: Iterable[SeenFrame],
        previous: tuple[RoundFiles, Snapshot] | None,
        progress: Callable[[float], None],
    ) -> None:
        """Decode the labels of clips into the round's files; notes channels and key frames.

        A clip one of whose labelled pictures can't be had now is noted in `failed`, and has no key
        frames: were the picture's label left out, it would count as used and be lost.

        Args:
            clips: The snapshot's clips; changed in place. Those in `failed` are passed over.
            frames: The project's tasks.
            previous: The round that people were shown, with its snapshot.
            progress: Called with the share done.
        """
        tasks = {frame.task_id: frame for frame in frames}
        earlier = {clip.name: clip for clip in previous[1].clips} if previous else {}
        clips = [clip for clip in clips if clip.name not in self.failed]
        for done, clip in enumerate(clips):
            members = [tasks[task_id] for task_id in dict.fromkeys(clip.task_ids)]
            wishes = wishes_of(members, self.config, self.problems)
            before = earlier.get(clip.name)
            objects = self._objects_of(clip, members, wishes, before)
            reader = ClipLabels(
                clip,
                {task.task_id: task.results or [] for task in members},
                {task.task_id: task.submitted for task in members},
                self.config,
                clip_frames(self.media, clip, clip.labelled),
                objects,
                ignore=(wishes.unlabelled or self.unlabelled) == "ignore",
                shown=(previous[0], before) if previous and before else None,
            )
            try:
                for index, mask in reader.masks(self.problems):
                    self.files.artifacts.write_mask(self.files.label_key(clip.keys[index]), mask)
                    clip.key_frames.append(index)
            except MediaError as error:
                clip.key_frames = []
                if clip.reused_from is None:
                    self.failed[clip.name] = str(error)
            if objects.problem is not None:
                self.problems.append(f"Clip {clip.name!r} {objects.problem}")
            clip.channels = [[channel.label, channel.identity] for channel in objects.channels]
            clip.class_names = objects.names
            progress((done + 1) / len(clips))

    @property
    def _objects(self) -> bool:
        layer = self.config.queries
        if layer is not None and layer.granularity.kind == "superpixel":
            return False  # A super-pixel has a class; of which object it is, nobody says.
        return self.config.instances if self.objects == "auto" else self.objects == "on"

    def _parts(self, group: Iterable[SeenFrame]) -> tuple[list[SeenFrame], list[TaskParts]]:
        """The tasks of a clip that can be served, and their frames."""
        tasks, parts = [], []
        for task in group:
            try:
                task = replace(task, url=of_edition(task.url, self.edition))
                parts.append(self._of_edition(parts_of(task, self.config, self.media, self.shown)))
            except FormatError as error:
                self.problems.append(f"Task {task.task_id} (clip {task.clip!r}): {error}")
                self.set_aside[task.task_id] = task.digest
                continue
            except (MediaError, ClipError) as error:
                self.failed[task.clip] = str(error)
                continue
            tasks.append(task)
        return tasks, parts

    def _of_edition(self, of: TaskParts) -> TaskParts:
        urls = [of_edition(bare_url(part.url), self.edition) for part in of.parts]
        parts = [replace(part, url=url) for part, url in zip(of.parts, urls, strict=True)]
        return replace(of, parts=parts)

    def _objects_of(
        self,
        clip: ClipSnapshot,
        tasks: list[SeenFrame],
        wishes: ClipWishes,
        before: ClipSnapshot | None,
    ) -> ClipObjects:
        known = [Channel(label, identity) for label, identity in before.channels] if before else []
        if clip.reused_from is None:
            # Objects that nobody labels any more are not carried on.
            ids = " ".join(str(r.get("id")) for task in tasks for r in task.results or [])
            known = [each for each in known if not each.identity or each.identity in ids]
        return ClipObjects(
            self.config.class_names, whole=wishes.categories, objects=self._objects, known=known
        )


def _open_tasks(tasks: Iterable[SeenFrame]) -> list[str]:
    """The labelled tasks that Label Studio serves again, as more annotations are wanted."""
    return [str(task.task_id) for task in tasks if task.digest is not None and task.is_open]
