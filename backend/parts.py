"""A task as frames (one picture, several, or a video), and what its data says of its clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from backend.annotations import label_digest
from backend.formats import FormatError
from backend.formats.videoclock import VideoClock
from backend.formats.videorectangle import Box, decode_tracks
from backend.frames import Fetcher, open_video
from backend.labelconfig import BACKGROUND, LabelConfig
from backend.sync import SeenFrame

__all__ = ["ClipWishes", "Part", "TaskParts", "parts_of", "wishes_of"]

Unlabelled = Literal["background", "ignore"]
Shown = Callable[[int], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Part:
    """One frame of a task.

    Attributes:
        item: Which picture of the task; None where the task is one picture.
        url: Where it is; the video's address for each frame of a video.
        digest: Digest of what a person said of it; None for nothing.
    """

    item: int | None
    url: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class TaskParts:
    """A task's frames; for a video also when each is shown."""

    parts: list[Part]
    timestamps: list[float] = field(default_factory=list)
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class ClipWishes:
    """What a task's data says of its clip.

    Attributes:
        categories: The labels that occur in the clip; None for all.
        unlabelled: What an uncovered pixel means; None for the setting.
    """

    categories: tuple[str, ...] | None = None
    unlabelled: Unlabelled | None = None


def parts_of(
    frame: SeenFrame, config: LabelConfig, media: Fetcher, shown: Shown | None = None
) -> TaskParts:
    """The frames of a task.

    Of a task with several frames, those count as labelled on which a person drew or changed
    something; what was submitted as it was predicted says nothing new. Where no region comes from a
    prediction, as with labels made through the API, every frame with a region counts.

    Args:
        frame: The task.
        config: What the labelling configuration asks for.
        media: Fetches videos.
        shown: Gives the prediction that people were shown of a task: a box of a corrected region
            that is still where it was predicted was placed by nobody.

    Raises:
        FormatError: When the task's data has no list of pictures, or a video's label is damaged.
        MediaError: When a video can't be fetched.
        ClipError: When it can't be read.
    """
    if config.object_kind == "image":
        return TaskParts([Part(None, frame.url, frame.digest)])
    human = [region for region in frame.results or [] if region.get("origin") != "prediction"]
    if config.object_kind == "images":
        urls = frame.data.get(config.data_key)
        if not isinstance(urls, list) or not urls or not all(isinstance(u, str) for u in urls):
            raise FormatError(f"its data has no list of pictures under {config.data_key!r}")
        return TaskParts(
            [Part(item, url, _digest(human, frame, item)) for item, url in enumerate(urls)]
        )
    clip = open_video(media, frame.url, frame.task_id)
    timestamps = [float(time) for time in clip.timestamps]
    clip.close()
    rate = config.rate(frame.data)
    clock = VideoClock(timestamps, rate)
    placed: dict[int, list[str]] = {}
    corrected = any(region.get("origin") == "prediction-changed" for region in human)
    known = decode_tracks(shown(frame.task_id) if shown and corrected else [], config)
    predicted = {(track.id, at): box for track in known for at, box, _ in track.keys}
    for track in decode_tracks(human, config):
        for at, box, _ in track.keys:
            if not _same(box, predicted.get((track.id, at))):
                placed.setdefault(clock.picture(at), []).append(f"{track.value} {box}")
    parts = [
        Part(i, frame.url, label_digest({"result": [{"value": place}]}) if place else None)
        for i, place in enumerate(map(placed.get, range(len(timestamps))))
    ]
    return TaskParts(parts, timestamps, rate)


def wishes_of(frames: Sequence[SeenFrame], config: LabelConfig, problems: list[str]) -> ClipWishes:
    """What the data of a clip's tasks says of the clip.

    ``"categories"`` lists the labels that occur in it; the tasks' lists are taken together.
    ``"unlabelled"`` is ``"background"`` or ``"ignore"``; the first task that says it is heard.

    Args:
        frames: The clip's tasks.
        config: What the labelling configuration asks for.
        problems: A sentence is added for what isn't understood.
    """
    listed: dict[str, None] = {}
    unlabelled: Unlabelled | None = None
    said = set()
    for frame in frames:
        names = frame.data.get("categories")
        if names is not None:
            texts = names.split(",") if isinstance(names, str) else names
            texts = texts if isinstance(texts, list) else [names]
            for text in texts:
                name = str(text).strip()
                index = config.class_of(name)
                if name.casefold() == BACKGROUND:
                    continue  # It occurs in every clip.
                if index is None:
                    said.add(f'"categories" lists {text!r}, which is no label')
                else:
                    listed[config.class_names[index]] = None
        wish = frame.data.get("unlabelled")
        if wish in ("background", "ignore"):
            unlabelled = unlabelled or wish
        elif wish is not None:
            said.add(f'"unlabelled" must be "background" or "ignore", not {wish!r}')
    if frames:
        problems += [f"Clip {frames[0].clip!r}: {sentence}." for sentence in sorted(said)]
    return ClipWishes(tuple(listed) or None, unlabelled)


def _same(box: Box, other: Box | None) -> bool:
    return other is not None and all(abs(a - b) < 1e-3 for a, b in zip(box, other, strict=True))


def _digest(human: Sequence[Mapping[str, Any]], frame: SeenFrame, item: int) -> str | None:
    regions = [region for region in human if (region.get("item_index") or 0) == item]
    return label_digest({"result": regions}) if frame.digest is not None and regions else None
