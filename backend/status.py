"""What the service is doing, for people and for machines."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from backend.recommendation import recommendation
from backend.settings import Settings
from backend.store import Store
from backend.tables import Frame, Prediction, Project, Round

__all__ = ["status_of"]

# Rounds that are listed, the newest last.
_HISTORY = 20
# Tasks that are named as the next to label.
_NEXT = 10
_LOW_BYTES = 100 * 1024**2


def status_of(store: Store, settings: Settings, only: int | None = None) -> dict[str, Any]:
    """The state of the service.

    Args:
        store: Durable state.
        settings: The service's settings.
        only: Only this project.

    Returns:
        A JSON object; `docs/service.md` documents it. Holds no secret.
    """
    from backend import __version__

    projects = [p for p in store.projects() if only is None or p.id == only]
    connected = bool(settings.label_studio_url and settings.label_studio_api_key.get_secret_value())
    answer: dict[str, Any] = {
        "version": __version__,
        "label_studio_url": settings.label_studio_url or None,
        "device": settings.device,
        "projects": [_project(store, settings, project) for project in projects],
    }
    if not connected:
        answer["error"] = "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY must be set for the worker."
    elif full := _full(settings.model_dir):
        answer["error"] = full
    return answer


def _full(folder: Path) -> str | None:
    """That the disk is full, which the store can't keep any more."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    if free >= _LOW_BYTES:
        return None
    return (
        f"MODEL_DIR ({folder.resolve()}) has {free // 1024**2} MB of free space left, too little "
        "for a round; make room."
    )


def _project(store: Store, settings: Settings, project: Project) -> dict[str, Any]:
    frames = store.frames(project.id)
    rounds = store.rounds(project.id)
    published = store.published_round(project.id)
    predictions = store.predictions(published.id) if published else {}
    running = next((row for row in reversed(rounds) if row.state == "running"), None)
    changed, unranked = store.pending(project.id)
    upcoming = _next_tasks(frames, predictions, published)
    return {
        "id": project.id,
        "title": project.title,
        "model_version": project.version,
        "clips": _clips(frames, predictions, published, settings.target),
        "tasks": len(frames),
        "labelled": sum(frame.label is not None for frame in frames),
        "new_labels": changed,
        "new_tasks": unranked,
        **_until_round(store, settings, project.id),
        **_quality(settings, published, upcoming),
        "recommendation": recommendation(settings, rounds),
        "asks_for": published.figures.get("asks", "frame") if published else None,
        "next_tasks": upcoming,
        "round": _running(running) if running else None,
        "rounds": [_past(row) for row in rounds[-_HISTORY:] if row.state != "running"],
        "problems": _problems(project, published),
        "error": project.error,
        "error_at": _time(project.error_at),
    }


def _until_round(store: Store, settings: Settings, project_id: int) -> dict[str, int | None]:
    """What is missing for the next round: labels, or clicks where the budget counts these."""
    labels, _, clicks = store.untried(project_id)
    if not settings.budget_clicks:
        return {"labels_until_round": max(settings.budget - labels, 0), "clicks_until_round": None}
    left = settings.budget_clicks - clicks
    return {"labels_until_round": None, "clicks_until_round": max(left, 0)}


def _clips(
    frames: Iterable[Frame],
    predictions: dict[int, Prediction],
    published: Round | None,
    target: float,
) -> list[dict[str, Any]]:
    # Of clips that are one task, the last round knows what is inside.
    figures: dict[str, Any] = published.figures if published else {}
    inside, quality = figures.get("inside", {}), figures.get("quality", {})
    fits = figures.get("fits", {})
    clips: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        clips[frame.clip].append(frame)
    listed = []
    for name, members in clips.items():
        known = [predictions[f.task_id] for f in members if f.task_id in predictions]
        unsure = [p.uncertainty for p in known if p.uncertainty is not None]
        expected = quality.get(name, {}).get("expected_miou")
        own = sorted(known, key=lambda prediction: prediction.rank)
        upcoming = _next_tasks(members, {p.task_id: p for p in own}, published)
        listed.append(
            {
                "clip": name,
                "frames": len(members),
                "labelled": [f.position for f in members if f.label is not None],
                "masks": sum(p.mask is not None for p in known),
                "uncertainty": round(sum(unsure) / len(unsure), 4) if unsure else None,
                "expected_miou": expected,
                "advice": _advice(expected, target, upcoming),
                "notes": (fits.get(name) or {}).get("notes", []),
                "held_out": quality.get(name, {}).get("held_out", {}),
                "spots": [_spot(name, spot) for spot in quality.get(name, {}).get("spots", [])],
                **inside.get(name, {}),
            }
        )
    return listed


def _spot(clip: str, spot: dict[str, Any]) -> dict[str, Any]:
    left, top, right, bottom = spot["box"]
    sentence = (
        f"In frame {spot['frame']} of clip {clip!r} the region x {left}–{right}, y {top}–{bottom} "
        f"is labelled {spot['labelled']!r}; the key frames around it call it {spot['expected']!r}."
    )
    return {**spot, "sentence": sentence}


def _problems(project: Project, published: Round | None) -> list[str]:
    """What to mend: as last seen in Label Studio, and what the last round found out besides."""
    found = published.figures.get("problems", []) if published else []
    return list(dict.fromkeys([*project.problems, *found, *_unreadable(project.id, published)]))


def _unreadable(project_id: int, published: Round | None) -> list[str]:
    """A sentence on each clip of which the last round could not read some pictures."""
    quality: dict[str, Any] = published.figures.get("quality", {}) if published else {}
    sentences = []
    for name, findings in quality.items():
        reasons: dict[str, str] = findings.get("unreadable", {})
        if reasons:
            frame, reason = min(reasons.items(), key=lambda item: int(item[0]))
            others = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
            sentences.append(
                f"Frame {frame}{others} of clip {name!r} has the mask of the frames beside it and "
                f"is asked for last: {reason.rstrip('.')}. Once it is mended, "
                f"run `maskloop refresh {project_id}`."
            )
    return sentences


def _quality(
    settings: Settings, published: Round | None, upcoming: list[dict[str, Any]]
) -> dict[str, Any]:
    """The quality to expect, and the advice that follows."""
    expected = published.figures.get("expected_miou") if published else None
    advice = _advice(expected, settings.target, upcoming)
    return {"expected_miou": expected, "target": settings.target, "advice": advice}


def _advice(expected: float | None, target: float, upcoming: list[dict[str, Any]]) -> str | None:
    """What to make of the quality to expect, and what to label next; None where none is known."""
    if expected is None:
        return None
    advice = f"Expected mIoU {expected:.2f}: "
    if expected >= target:
        return advice + f"the target of {target:g} is reached."
    if not upcoming:
        return advice + "every frame is labelled."
    first = upcoming[0]
    frames = [first["frame"]] if "frame" in first else first["frames_first"][:1]
    frame = f"frame {frames[0]} of " if frames else ""
    return advice + (
        f"below the target of {target:g}; a label on {frame}clip {first['clip']!r} "
        f"(task {first['task']}) would help most."
    )


def _next_tasks(
    frames: Iterable[Frame], predictions: dict[int, Prediction], published: Round | None
) -> list[dict[str, Any]]:
    """What to label next; of a task with several frames, also which of them first."""
    figures: dict[str, Any] = published.figures if published else {}
    first: dict[str, list[int]] = figures.get("first_frames", {})
    boxes: dict[str, list[list[int]]] = figures.get("samples_of", {})
    places = {frame.task_id: frame for frame in frames}
    listed = []
    for task_id in predictions:
        frame = places.get(task_id)
        if frame is not None and frame.label is None:
            if str(task_id) in first:
                place: dict[str, Any] = {"frames_first": first[str(task_id)]}
            else:
                place = {"frame": frame.position}
            place["samples"] = boxes.get(str(task_id))
            expected = predictions[task_id].quality
            listed.append({"task": task_id, "clip": frame.clip, **place, "expected_miou": expected})
            if len(listed) == _NEXT:
                break
    return listed


def _running(row: Round) -> dict[str, Any]:
    return {
        "number": row.number,
        "model_version": row.version,
        "step": row.step,
        "share": round(row.share, 3),
        "note": row.note,
        "attempts": row.attempts,
        "started_at": _time(row.started_at),
        "error": row.error,
    }


def _past(row: Round) -> dict[str, Any]:
    seconds = None if row.finished_at is None else round(row.finished_at - row.started_at, 1)
    return {
        "number": row.number,
        "model_version": row.version,
        "state": row.state,
        "labels": row.labels,
        "samples_asked": row.figures.get("samples_asked"),
        "seconds": seconds,
        "finished_at": _time(row.finished_at),
        "error": row.error,
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat(timespec="seconds")
