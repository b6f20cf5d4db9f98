"""Logic of `maskloop init`: a video or a folder becomes a Label Studio project, ready to label."""

from __future__ import annotations

from collections.abc import Sequence
from colorsys import hls_to_rgb
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from backend.extraction import SourceFrames
from backend.labelconfig import (
    BACKGROUND,
    LabelConfigError,
    make_label_config,
    parse_label_config,
)
from backend.placement import Put, placing
from backend.querylayer import QueryLayer, layer_for
from backend.studio import Studio

__all__ = ["BackendAddress", "InitError", "InitResult", "SampleWish", "init", "split_labels"]

_PART = 50
"""Frames that are put into place, and lie on this disk for it, at a time."""

_SAME_TIME = 1e-3
"""Seconds by which the time of a frame may differ from that in its task."""


class InitError(ValueError):
    """What `init` was asked for can't be had; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class BackendAddress:
    """Where the service is, as Label Studio reaches it, and how it is entered."""

    url: str
    username: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class SampleWish:
    """What people are to be asked for; see `backend.querylayer.layer_for`.

    Attributes:
        samples: ``frames``, ``rectangles`` or ``superpixels``.
        size: Side of a sample in pixels; from the frame's size when not given.
        number: Samples to ask for on a frame.
    """

    samples: str = "frames"
    size: int | None = None
    number: int | None = None


@dataclass(slots=True)
class InitResult:
    """What `init` made.

    Attributes:
        project_id: Label Studio's id.
        url: Where people open the project.
        clip: Name of the clip.
        added: Frames that were added now.
        frames: Frames that the clip has in all.
        done: What was made, in sentences.
    """

    project_id: int
    url: str
    clip: str
    added: int
    frames: int
    done: list[str] = field(default_factory=list)


def split_labels(text: str) -> list[str]:
    """The labels in a comma-separated list.

    Raises:
        InitError: When there is none but the background, or one comes twice.
    """
    labels = [label.strip() for label in text.split(",") if label.strip()]
    if not labels:
        raise InitError("no label was given; name them like this: --labels car,road,person")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise InitError(f"labels come twice: {', '.join(twice)}")
    if all(label.casefold() == BACKGROUND for label in labels):
        raise InitError(
            "the only label is the background, which is what nobody has drawn on; name what is to "
            "be drawn: --labels car,road"
        )
    return labels


def init(
    studio: Studio,
    source: Path,
    *,
    backend: BackendAddress,
    labels: Sequence[str] = (),
    title: str | None = None,
    project_id: int | None = None,
    clip: str | None = None,
    fps: float | None = None,
    image_format: str = "jpg",
    document_root: Path | None = None,
    samples: SampleWish | None = None,
    console: Console | None = None,
) -> InitResult:
    """Make a Label Studio project of a clip, or add a clip to a project.

    It may be run again after a failure: the project of this title, the frames that are there, and
    the connection are found and kept, and only what is missing is added.

    Args:
        studio: The Label Studio client.
        source: A video file, or a folder of images.
        backend: The running service, which the project is connected to.
        labels: The labels, for a new project.
        title: Title of the project; by default the source's name.
        project_id: Add the clip to this project instead.
        clip: Name of the clip; by default the source's name.
        fps: Frames a second to take from a video; every frame by default.
        image_format: "jpg" (quality 95) or "png", for frames that have to be written.
        document_root: Label Studio's local files document root, where it is on this machine: the
            frames are put below it. Without one they are uploaded.
        samples: What people are asked for. When not given: whole frames, or what a project that
            is there asks for.
        console: Shows progress; silent without one.

    Raises:
        InitError: When what was asked for does not fit together.
        ClipError: When the source can't be read.
        StudioError: When Label Studio can't do its part.
    """
    if not backend.url.startswith(("http://", "https://")):
        raise InitError(
            f"the service's address is {backend.url!r}; expected one that begins with http:// or "
            "https://"
        )
    frames = SourceFrames(source, fps=fps, image_format=image_format)
    frames.check()
    queries = _queries(samples, frames)
    clip = clip or source.resolve().stem
    result = InitResult(0, "", clip, 0, len(frames))
    if project_id is None:
        title = title or source.resolve().stem.ljust(3, "-")[:50]
        project_id = _ensure_project(studio, title, labels, queries, result.done)
    else:
        _check_project(studio, project_id, labels)
    if samples is not None:
        _check_samples(studio.project(project_id), queries)
    result.project_id, result.url = project_id, f"{studio.url}/projects/{project_id}/data"
    studio.set_sampling(project_id)
    studio.ensure_ranked_tab(project_id)
    studio.connect_backend(
        project_id, backend.url, username=backend.username, password=backend.password
    )
    result.done.append(f"Connected to the service at {backend.url}.")
    missing = _missing(studio, project_id, clip, frames)
    if missing:
        put = placing(studio, frames, project_id, clip, document_root)
        _add(studio, project_id, frames, missing, clip, put, console)
    result.added = len(missing)
    there = len(frames) - len(missing)
    known = f"; {there} were there" if there else ""
    result.done.append(f"Added {len(missing)} frames as clip {clip!r}{known}.")
    return result


def _queries(samples: SampleWish | None, frames: SourceFrames) -> QueryLayer | None:
    if samples is None:
        return None
    size = (0, 0) if samples.samples == "frames" else frames.size
    try:
        return layer_for(samples.samples, size, samples.size, samples.number)
    except ValueError as error:
        raise InitError(str(error)) from None


def _check_samples(row: dict[str, Any], queries: QueryLayer | None) -> None:
    """Raise `InitError` where a project asks for other samples."""
    has = parse_label_config(str(row.get("label_config") or "")).queries
    if has != queries:
        raise InitError(
            f"project {row['id']} asks for {has or 'frames'}, not for {queries or 'frames'} (size "
            "and number); leave --samples out, or change the attributes of the RectangleLabels "
            "tag in its labelling configuration"
        )


def _ensure_project(
    studio: Studio,
    title: str,
    labels: Sequence[str],
    queries: QueryLayer | None,
    done: list[str],
) -> int:
    found = [row for row in studio.projects(title) if row["title"] == title]
    if found:
        project_id = int(found[0]["id"])
        if not labels or not _has_labels(found[0], labels):
            raise InitError(
                f"Label Studio already has a project {title!r} (number {project_id}). Add the clip "
                f"to it with --project {project_id}, or choose another --title."
            )
        done.append(f"Found project {project_id}, {title!r}.")
        return project_id
    if not labels:
        raise InitError("a new project needs labels; name them like this: --labels car,road")
    if not 3 <= len(title) <= 50:
        raise InitError(f"the title {title!r} has {len(title)} characters; 3 to 50 are allowed")
    config = make_label_config(list(labels), _colors(len(labels)), queries)
    # Whoever skips a task gets it again when all others are done; by default nobody does who
    # works alone.
    project_id = studio.create_project(title, config, skip_queue="REQUEUE_FOR_ME")
    done.append(f"Created project {project_id}, {title!r}, with labels {', '.join(labels)}.")
    if queries is not None:
        size = queries.granularity.size
        kind = queries.granularity.kind.replace("superpixel", "super-pixel")
        done.append(
            f"Once it has masks it asks for {queries.number} {kind}s a frame, of {size}×{size} "
            "pixels."
        )
    return project_id


def _colors(count: int) -> list[str]:
    """Colours that are told apart: hues a golden section apart, in turn lighter and darker."""
    colors = []
    for index in range(count):
        rgb = hls_to_rgb(index * 0.618034 % 1, (0.5, 0.65, 0.38)[index % 3], 0.85)
        colors.append("#" + "".join(f"{round(255 * part):02x}" for part in rgb))
    return colors


def _check_project(studio: Studio, project_id: int, labels: Sequence[str]) -> None:
    row = studio.project(project_id)
    try:
        parse_label_config(str(row.get("label_config") or ""))
    except LabelConfigError as error:
        raise InitError(f"project {project_id} can't be served: {error}") from None
    if labels and not _has_labels(row, labels):
        raise InitError(
            f"project {project_id} has other labels; leave --labels out, or change them in its "
            "labelling configuration"
        )


def _has_labels(row: dict[str, Any], labels: Sequence[str]) -> bool:
    try:
        config = parse_label_config(str(row.get("label_config") or ""))
    except LabelConfigError:
        return False
    wanted = tuple(labels)
    if config.queries is not None and BACKGROUND not in map(str.casefold, wanted):
        # `make_label_config` adds one where there are super-pixels.
        return tuple(name for name in config.labels if name.casefold() != BACKGROUND) == wanted
    return config.labels == wanted


def _missing(studio: Studio, project_id: int, clip: str, frames: SourceFrames) -> list[int]:
    count, times = len(frames), frames.times
    there: dict[int, Any] = {}
    for task in studio.tasks(project_id):
        data = task["data"]
        if data.get("clip") == clip and str(data.get("frame")).isdecimal():
            there[int(data["frame"])] = data.get("time")
    if there and max(there) >= count:
        raise InitError(
            f"project {project_id} has a clip {clip!r} with {max(there) + 1} frames, this one has "
            f"{count}; give it another name with --clip"
        )
    for position, time in there.items():
        if times is None or not isinstance(time, (int, float)):
            continue
        if abs(time - times[position]) > _SAME_TIME:
            raise InitError(
                f"frame {position} of clip {clip!r} in project {project_id} is the picture at "
                f"{time:g} s of the video, and now it would be that at {times[position]:g} s: "
                "with another --fps it is another clip; give it another name with --clip"
            )
    return [position for position in range(count) if position not in there]


def _add(
    studio: Studio,
    project_id: int,
    frames: SourceFrames,
    positions: Sequence[int],
    clip: str,
    put: Put,
    console: Console | None,
) -> None:
    """Put the frames into place part by part, then make all tasks at once: one bell rings."""
    tasks: list[dict[str, Any]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=console is None, transient=True
    ) as progress:
        bar = progress.add_task("Frames", total=len(positions))
        for start in range(0, len(positions), _PART):
            part = positions[start : start + _PART]
            for position, url in zip(part, put(part), strict=True):
                task: dict[str, Any] = {"image": url, "clip": clip, "frame": position}
                if frames.times is not None:
                    task["time"] = round(float(frames.times[position]), 6)
                tasks.append(task)
            progress.advance(bar, len(part))
    studio.import_tasks(project_id, tasks)
