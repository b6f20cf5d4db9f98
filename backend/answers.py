"""Stored masks as answers of Label Studio's protocol: results, a score, a model version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.artifacts import ArtifactError, Artifacts
from backend.formats import EncodeOptions, encode
from backend.formats.cleaning import clean
from backend.formats.masks import class_id
from backend.formats.videorectangle import Box, box_of, encode_track
from backend.labelconfig import LabelConfig, parse_label_config
from backend.queryregions import rectangles, superpixels
from backend.roundfiles import RoundFiles
from backend.snapshot import ClipSnapshot
from backend.store import Store
from backend.tables import Prediction, Round

__all__ = ["Answers"]

Mask = npt.NDArray[np.uint8]
Channels = Sequence[tuple[str, str]]

_ROUNDS_KEPT = 8


class Answers:
    """Reads what rounds stored and says it in Label Studio's words. Needs no torch.

    Args:
        store: Durable state.
        artifacts: Stored masks.
        options: How masks are written.
    """

    def __init__(
        self, store: Store, artifacts: Artifacts, options: EncodeOptions | None = None
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._options = options or EncodeOptions()
        self._clips: dict[tuple[int, str], dict[int, ClipSnapshot]] = {}
        self._keeping = Lock()

    def of_round(
        self, row: Round, label_config: str, task_ids: Iterable[int] | None = None
    ) -> Iterable[dict[str, Any]]:
        """A round's predictions as Label Studio imports them, in ranked order, one at a time.

        Args:
            row: The round.
            label_config: The project's labelling configuration, as text.
            task_ids: Only these tasks; all when not given.

        Yields:
            ``{"task", "result", "score", "model_version"}``.

        Raises:
            LabelConfigError: When the configuration can't be served.
        """
        config = _parsed(label_config)
        for task_id, prediction in self._store.predictions(row.id, task_ids).items():
            yield {
                "task": task_id,
                "result": self._result(task_id, prediction, row, config),
                "score": prediction.score,
                "model_version": row.version,
            }

    def _result(
        self, task_id: int, prediction: Prediction, row: Round, config: LabelConfig
    ) -> list[dict[str, Any]]:
        clips = self._clips_by_task(row)
        if clips is None:
            return []  # What the masks' values stand for is not known.
        clip = clips.get(task_id)
        layer = config.queries
        asked = None
        if layer is not None:
            files = RoundFiles(self._artifacts, row.project_id, row.version)
            asked = self._read(files.query_key(task_id))
        if prediction.mask is None:
            # Before there are masks, frames are asked for whole, whatever the samples.
            return [] if layer is None or asked is None else rectangles(asked, config, layer)
        if clip is not None and clip.is_task:
            return self._of_clip(prediction, row, clip, config)
        if clip is not None:
            channels = [(label, identity) for label, identity in clip.channels]
        else:
            names = row.figures.get("class_names", config.class_names)
            channels = [(name, "") for name in names]
        mask = self._read(prediction.mask)
        if mask is None:
            return []
        if layer is not None and asked is not None and layer.granularity.kind == "superpixel":
            return superpixels(asked, mask, [name for name, _ in channels], config, self._options)
        key_frame = clip is not None and clip.task_ids.index(task_id) in clip.key_frames
        result = encode(
            mask,
            config,
            channels=channels,
            scores=_scores(prediction.confidences),
            options=self._of_frame(key_frame),
        )
        # Last, so that their outlines lie on top.
        return (
            result
            if layer is None or asked is None
            else [*result, *rectangles(asked, config, layer)]
        )

    def _of_frame(self, key_frame: bool) -> EncodeOptions:
        """How a frame is written: what a person drew goes back as it was drawn."""
        return replace(self._options, min_area=0) if key_frame else self._options

    def _of_clip(
        self, prediction: Prediction, row: Round, clip: ClipSnapshot, config: LabelConfig
    ) -> list[dict[str, Any]]:
        """The result of a task that is a whole clip, frame after frame."""
        files = RoundFiles(self._artifacts, row.project_id, row.version)
        channels = [(label, identity) for label, identity in clip.channels]
        tracks = {number: _Boxes() for number in range(1, len(channels))}
        results: list[dict[str, Any]] = []
        for index, key in enumerate(clip.keys):
            mask = self._read(files.mask_key(key))
            if mask is None:
                continue
            scores = _scores(prediction.confidences.get(str(clip.items[index])) or {})
            if clip.timestamps:
                mask = clean(mask, self._options.min_area)
                for number, boxes in tracks.items():
                    boxes.add(index, box_of(mask == number), scores.get(number))
            else:
                results += encode(
                    mask,
                    config,
                    channels=channels,
                    scores=scores,
                    item=clip.items[index],
                    options=self._of_frame(index in clip.key_frames),
                )
        return _video(clip, channels, tracks, config) if clip.timestamps else results

    def _read(self, key: str) -> Mask | None:
        try:
            return self._artifacts.read_mask(key)
        except ArtifactError:
            # A newer round may have replaced the file between two reads; no mask is better than
            # an error, which Label Studio would show to nobody.
            return None

    def _clips_by_task(self, row: Round) -> dict[int, ClipSnapshot] | None:
        """The round's clips by task, which don't change any more; None where they are damaged."""
        key = row.project_id, row.version
        found = self._clips.get(key)
        if found is None:
            files = RoundFiles(self._artifacts, *key)
            try:
                clips = files.read_snapshot().clips if files.has_snapshot() else []
            except ArtifactError:
                return None
            found = {task_id: clip for clip in clips for task_id in clip.task_ids}
            # Several threads answer at once.
            with self._keeping:
                while len(self._clips) >= _ROUNDS_KEPT:
                    del self._clips[next(iter(self._clips))]
                self._clips[key] = found
        return found


@dataclass(slots=True)
class _Boxes:
    """An object's boxes by picture of the video, and how sure they are."""

    by_picture: dict[int, Box] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)

    def add(self, picture: int, box: Box | None, score: float | None) -> None:
        if box is not None:
            self.by_picture[picture] = box
        if score is not None:
            self.scores.append(score)


def _video(
    clip: ClipSnapshot, channels: Channels, tracks: Mapping[int, _Boxes], config: LabelConfig
) -> list[dict[str, Any]]:
    """Boxes at the frames that the screen counts, whatever the file's own frames are."""
    clock = clip.clock
    used: Counter[str] = Counter()
    results = []
    for number, boxes in tracks.items():
        label, identity = channels[number]
        control = config.control_for(label)
        if control is None:
            continue
        places = (
            (frame, boxes.by_picture[picture])
            for frame in range(clock.frames)
            if (picture := clock.picture(frame)) in boxes.by_picture
        )
        base = identity or class_id(label)
        region = encode_track(
            places,
            # As in `backend.formats.encode`: of an object whose label a person changed.
            identity=f"{base}-{used[base]}" if used[base] else base,
            label=label,
            control=control,
            to_name=config.to_name,
            frames=clock.frames,
            fps=clip.rate,
            score=float(np.mean(boxes.scores)) if boxes.scores else None,
        )
        if region is not None:
            used[base] += 1
            results.append(region)
    return results


def _scores(confidences: Mapping[str, Any]) -> dict[int, float]:
    return {int(index): float(value) for index, value in confidences.items() if int(index) > 0}


@lru_cache(maxsize=64)
def _parsed(label_config: str) -> LabelConfig:
    return parse_label_config(label_config)
