"""What Label Studio holds, seen as clips of frames with labels. The webhook is only the bell."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from xml.sax.saxutils import quoteattr

from backend.annotations import label_digest, regions_of, submitted_annotations
from backend.asked import Submitted
from backend.clips import ClipIdentityError, FrameRef, identify, identify_clip
from backend.labelconfig import LabelConfig, LabelConfigError, parse_label_config
from backend.store import Store

__all__ = ["ProjectView", "SeenFrame", "TaskSource", "look", "remember"]

_NO = ("None", "None")


class TaskSource(Protocol):
    """The part of the Label Studio client that is needed here."""

    def project(self, project_id: int) -> dict[str, Any]:
        """The project's row."""

    def tasks(self, project_id: int) -> Any:
        """The project's tasks with their annotations."""


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """One task: a frame of a clip, or, with several pictures or a video, a clip of its own.

    Attributes:
        task_id: Label Studio's id.
        clip: Name of the clip.
        position: The frame's number in its clip, as the task gives it.
        url: Where the picture is.
        digest: Digest of the label; None without one.
        results: The label's regions as Label Studio has them; None without a label.
        data: The task's data.
        submitted: Where samples are or were asked for: all annotations, the one that counts most
            last.
        is_open: Whether Label Studio still serves the task, though it has a label.
        people: Ids of the users who labelled or skipped it.
        skipped: Whether it was skipped and has no label.
    """

    task_id: int
    clip: str
    position: int
    url: str
    digest: str | None
    results: list[dict[str, Any]] | None
    data: Mapping[str, Any] = field(default_factory=dict)
    submitted: tuple[Submitted, ...] = ()
    is_open: bool = False
    people: frozenset[int] = frozenset()
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class ProjectView:
    """What a look at a project showed.

    Attributes:
        title: The project's title.
        label_config: Its labelling configuration, as text.
        config: What the configuration asks for; None where it can't be served.
        frames: Its frames by clip and position.
        problems: What can't be served, in plain sentences.
    """

    title: str
    label_config: str
    config: LabelConfig | None
    frames: list[SeenFrame] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def annotators(self) -> int:
        """How many people have labelled or skipped something; 1 before anybody has."""
        return max(1, len(frozenset[int]().union(*(frame.people for frame in self.frames))))

    @property
    def terms(self) -> str | None:
        """Digest of what masks depend on beside labels; None where nothing can be served.

        The tags that draw, their labels, the samples that are asked for, and what tasks say of
        their clips. Colours, titles and hints don't count.
        """
        config = self.config
        if config is None:
            return None
        wishes = {
            (frame.clip, repr(frame.data.get("categories")), repr(frame.data.get("unlabelled")))
            for frame in self.frames
        }
        video = config.object_kind == "video"
        rates = sorted({config.rate(frame.data) for frame in self.frames}) if video else []
        said: list[Any] = [config.to_name, config.data_key, config.object_kind, config.labels]
        said += [repr(config.controls), str(config.queries), config.instances, rates]
        said += [
            sorted(config.shown_as.items()),
            sorted(wish for wish in wishes if wish[1:] != _NO),
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def look(studio: TaskSource, project_id: int) -> ProjectView:
    """Look at a project: its configuration, its tasks as frames of clips, and their labels.

    Args:
        studio: The Label Studio client.
        project_id: Label Studio's id.

    Returns:
        What was seen; tasks that are no frame of a clip are named among the problems.

    Raises:
        StudioError: When Label Studio can't be asked.
    """
    project = studio.project(project_id)
    title, text = str(project.get("title") or ""), str(project.get("label_config") or "")
    try:
        config = parse_label_config(text)
    except LabelConfigError as error:
        return ProjectView(title, text, None, problems=[str(error)])
    frames: list[SeenFrame] = []
    unclear: list[tuple[int, str]] = []
    for task in studio.tasks(project_id):
        try:
            frames.append(_seen(task, config))
        except ClipIdentityError as error:
            unclear.append((int(task["id"]), str(error)))
    if config.object_kind != "image":
        frames = _named_apart(frames)
    frames.sort(key=lambda frame: (frame.clip, frame.position, frame.task_id))
    problems = [*config.notes, *_problems(frames, unclear), *_unknown_labels(frames, config)]
    return ProjectView(title, text, config, frames, problems)


def remember(store: Store, project_id: int, view: ProjectView) -> bool:
    """Store what was seen.

    Returns:
        Whether tasks, labels or what they mean differ from what was known.
    """
    store.set_project(
        project_id, title=view.title, label_config=view.label_config, problems=view.problems
    )
    if view.config is None:  # What is known of the tasks waits until the configuration is mended.
        return False
    known, terms = store.project(project_id), view.terms
    store.set_project(project_id, terms=terms)
    changed = known is not None and known.terms not in (None, terms)
    return changed | store.sync_frames(
        project_id,
        [
            {
                "task_id": frame.task_id,
                "clip": frame.clip,
                "position": frame.position,
                "url": frame.url,
                "label": frame.digest,
            }
            for frame in view.frames
        ],
    )


def _seen(task: Mapping[str, Any], config: LabelConfig) -> SeenFrame:
    data = task.get("data") or {}
    task_id = int(task["id"])
    if config.object_kind == "image":
        place = identify(data, config.data_key)
        url = data[config.data_key]
    else:
        place = FrameRef(identify_clip(data, config.data_key, task_id), 0)
        url = data.get(config.data_key) or ""
        url = url[0] if isinstance(url, list) and url else url
    annotations = submitted_annotations(task)
    annotation = annotations[-1] if annotations else None
    digest = label_digest(annotation)
    asked = tuple(map(Submitted.of, annotations))
    if config.queries is None and not any(each.asked for each in asked):
        asked = ()
    else:
        # Each annotation of a frame may label other samples: all of them together are its label.
        asked = tuple(map(Submitted.of, annotations))
        together = {"result": [region for each in asked for region in each.results]}
        digest = label_digest(together if annotations else None)
    return SeenFrame(
        task_id=task_id,
        clip=place.clip,
        position=place.frame,
        url=str(url),
        digest=digest,
        results=None if annotation is None else regions_of(annotation),
        data=data,
        submitted=asked,
        is_open=not task.get("is_labeled", True),
        people=_people(task),
        skipped=annotation is None and bool(task.get("annotations")),
    )


def _people(task: Mapping[str, Any]) -> frozenset[int]:
    """Who submitted or skipped a task."""
    ids = (each.get("completed_by") for each in task.get("annotations") or [])
    return frozenset(user for user in ids if isinstance(user, int))


def _named_apart(frames: list[SeenFrame]) -> list[SeenFrame]:
    """Tasks that are clips of their own, under names of their own."""
    count = Counter(frame.clip for frame in frames)
    return [
        replace(frame, clip=f"{frame.clip} (task {frame.task_id})")
        if count[frame.clip] > 1
        else frame
        for frame in frames
    ]


def _unknown_labels(frames: list[SeenFrame], config: LabelConfig) -> list[str]:
    """What is drawn under labels that the configuration doesn't have: Label Studio lets people
    rename a label, and what was drawn before keeps the old name."""
    names = {control.name for control in config.controls}
    found: dict[str, list[int]] = {}
    for frame in frames:
        for region in frame.results or []:
            value = region.get("value")
            if region.get("from_name") not in names or not isinstance(value, Mapping):
                continue
            labels = value.get(str(region.get("type"))) or value.get("labels")
            for label in labels if isinstance(labels, list) else []:
                if config.class_of(str(label)) is None:
                    tasks = found.setdefault(str(label), [])
                    tasks += [] if frame.task_id in tasks else [frame.task_id]
    return [
        f"Regions of {_some_tasks(tasks)} are labelled {label!r}, which the labelling "
        "configuration doesn't have: their pixels count as unknown. Bring the label back, under a "
        f'new name like this: <Label value="new name" alias={quoteattr(label)}/>.'
        for label, tasks in found.items()
    ]


def _some_tasks(tasks: list[int]) -> str:
    shown = ", ".join(map(str, tasks[:5]))
    more = f" and {len(tasks) - 5} more" if len(tasks) > 5 else ""
    return f"task{'s' if len(tasks) > 1 else ''} {shown}{more}"


def _problems(frames: list[SeenFrame], unclear: list[tuple[int, str]]) -> list[str]:
    problems = []
    if unclear:
        first, sentence = unclear[0]
        others = f" (and {len(unclear) - 1} more tasks)" if len(unclear) > 1 else ""
        problems.append(f"Task {first}{others}: {sentence}")
    places: dict[tuple[str, int], int] = {}
    for frame in frames:
        other = places.setdefault((frame.clip, frame.position), frame.task_id)
        if other != frame.task_id:
            problems.append(
                f"Tasks {other} and {frame.task_id} are both frame {frame.position} of clip "
                f"{frame.clip!r}; delete one of them, or give them different frame numbers."
            )
            if len(problems) >= 20:
                break
    return problems
