"""Boxes on a video: VideoRectangle, the only region that the screen draws on ``<Video>``.

A region is an object: a sequence of boxes, in percent, at some frames. Label Studio counts frames
from 1; here they count from 0, as everywhere in Maskloop. Between two boxes the screen moves the
box evenly. A box that is not ``enabled`` is the last one that is seen, until the next box.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.formats.errors import FormatError
from backend.formats.numbers import number
from backend.formats.rectangle import box_pixels
from backend.formats.regions import Drawn, labels_by_region
from backend.labelconfig import Control, LabelConfig

__all__ = ["Box", "Track", "box_of", "decode_tracks", "drawn_boxes", "encode_track"]

_SHAPE = "videorectangle"
_PLACES = ("x", "y", "width", "height", "rotation")
# Percent of the picture: less than a hundredth of a pixel at 4K.
_STRAIGHT = 2e-4
_DECIMALS = 4
_MOST_FRAMES = 10_000_000

Box = tuple[float, float, float, float, float]
"""x, y, width, height in percent of the picture, and clockwise rotation in degrees."""


@dataclass(frozen=True, slots=True)
class Track:
    """An object that a person drew on a video.

    Attributes:
        id: The region's id.
        value: Class index; None where the configuration doesn't have its label.
        keys: ``(frame, box, enabled)`` by rising frame, counted from 0.
    """

    id: str
    value: int | None
    keys: tuple[tuple[int, Box, bool], ...]

    def box(self, frame: int) -> Box | None:
        """The box that the screen shows on a frame; None where the object is hidden."""
        before = [key for key in self.keys if key[0] <= frame]
        if not before:
            return None
        start, box, enabled = before[-1]
        if start == frame:
            return box
        if not enabled:
            return None
        after = next((key for key in self.keys if key[0] > frame), None)
        if after is None:
            return box
        return _between(box, after[1], (frame - start) / (after[0] - start))

    @property
    def drawn(self) -> list[int]:
        """The frames at which a person (or a prediction) placed the box."""
        return [frame for frame, _, _ in self.keys]


def decode_tracks(results: Sequence[Mapping[str, Any]], config: LabelConfig) -> list[Track]:
    """The objects of a video's label, in the order in which they lie on each other.

    Args:
        results: The annotation's ``result``.
        config: What the labelling configuration asks for.

    Raises:
        FormatError: When a region is damaged.
    """
    names = {control.name for control in config.controls if control.shape == _SHAPE}
    named = labels_by_region(results)
    tracks = []
    for region in results:
        if region.get("from_name") not in names:
            continue
        identity, value = str(region.get("id") or ""), region.get("value")
        try:
            if not isinstance(value, Mapping):
                raise FormatError("it has no value")
            keys = _keys(value.get("sequence"))
        except FormatError as error:
            raise FormatError(f"region {identity}: {error}") from None
        given = value.get("labels")
        labels = given if isinstance(given, list) and given else named.get(identity, [])
        known = [found for name in labels if (found := config.class_of(str(name))) is not None]
        tracks.append(Track(identity, known[0] if known else None, keys))
    return tracks


def encode_track(
    boxes: Iterable[tuple[int, Box]],
    *,
    identity: str,
    label: str,
    control: Control,
    to_name: str,
    frames: int,
    fps: float,
    score: float | None = None,
) -> dict[str, Any] | None:
    """Say an object's boxes as a region of a video.

    Boxes that the screen would place there by itself are left out.

    Args:
        boxes: ``(frame, box)`` by rising frame, counted from 0; missing frames are hidden.
        identity: The region's id.
        label: The object's label.
        control: The tag that draws it.
        to_name: Name of the video tag.
        frames: Frames of the video.
        fps: Its mean rate, for the ``time`` of boxes; frames are what places them.
        score: A score 0..1, shown in the list of regions.

    Returns:
        The region; None where there is no box.
    """
    runs = _runs(boxes)
    if not runs:
        return None
    sequence = []
    for run in runs:
        kept = _turns(run)
        last = run[-1][0]
        for frame, box in kept:
            place = dict(zip(_PLACES, (round(number, _DECIMALS) for number in box), strict=True))
            # The end of a run that reaches the last frame stays enabled.
            enabled = frame != last or last == frames - 1
            # As the screen counts: the first frame ends the first interval.
            time = round((frame + 1) / fps, 6) if fps > 0 else 0.0
            sequence.append({"frame": frame + 1, "time": time, **place, "enabled": enabled})
    value = {
        "framesCount": frames,
        "duration": round(frames / fps, 6) if fps > 0 else 0.0,
        "sequence": sequence,
        "labels": [label],
    }
    region = {
        "id": identity,
        "from_name": control.name,
        "to_name": to_name,
        "type": _SHAPE,
        "value": value,
    }
    return region if score is None else {**region, "score": score}


def box_of(pixels: npt.NDArray[np.bool_]) -> Box | None:
    """The box around pixels (H, W) bool; None where there are none."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not rows.size:
        return None
    height, width = pixels.shape
    top, left = int(rows[0]), int(columns[0])
    tall, wide = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    return (left * 100 / width, top * 100 / height, wide * 100 / width, tall * 100 / height, 0.0)


def drawn_boxes(
    results: Sequence[Mapping[str, Any]], config: LabelConfig, size: tuple[int, int], frame: int
) -> Iterator[Drawn]:
    """The boxes that the screen shows on a frame, as regions.

    Args:
        results: The annotation's ``result``.
        config: What the labelling configuration asks for.
        size: ``(height, width)`` of the frame.
        frame: The screen's frame, counted from 0.

    Raises:
        FormatError: When a region is damaged.
    """
    for track in decode_tracks(results, config):
        box = track.box(frame)
        if box is not None:
            pixels = box_pixels(dict(zip(_PLACES, box, strict=True)), *size)
            yield Drawn(track.id, _SHAPE, track.value, pixels)


def _keys(sequence: Any) -> tuple[tuple[int, Box, bool], ...]:
    if not isinstance(sequence, list) or not sequence:
        raise FormatError("a box on a video has no sequence of places")
    keys = {}
    for place in sequence:
        if not isinstance(place, Mapping):
            raise FormatError("a place in a video box's sequence is no object")
        frame = place.get("frame")
        if isinstance(frame, bool) or not isinstance(frame, int) or not 1 <= frame <= _MOST_FRAMES:
            raise FormatError(f"a video box's frames count from 1, got {frame!r}")
        x, y, w, h = (number(place, key) for key in _PLACES[:4])
        box = (x, y, w, h, number(place, "rotation", 0.0))
        keys[frame - 1] = (frame - 1, box, bool(place.get("enabled", True)))
    return tuple(keys[frame] for frame in sorted(keys))


def _runs(boxes: Iterable[tuple[int, Box]]) -> list[list[tuple[int, Box]]]:
    """Boxes in runs of consecutive frames."""
    runs: list[list[tuple[int, Box]]] = []
    for frame, box in boxes:
        if runs and runs[-1][-1][0] == frame - 1:
            runs[-1].append((frame, box))
        else:
            runs.append([(frame, box)])
    return runs


def _turns(run: list[tuple[int, Box]]) -> list[tuple[int, Box]]:
    """The boxes of a run without those where the screen would move the box by itself."""
    places = np.array([box for _, box in run])
    kept, last = [0], len(run) - 1
    for end in range(2, len(run)):
        start = kept[-1]
        shares = np.arange(1, end - start)[:, None] / (end - start)
        even = places[start] + shares * (places[end] - places[start])
        if np.abs(places[start + 1 : end] - even).max() > _STRAIGHT:
            kept.append(end - 1)
    return [run[index] for index in dict.fromkeys((*kept, last))]


def _between(one: Box, two: Box, share: float) -> Box:
    x, y, w, h, r = (a + (b - a) * share for a, b in zip(one, two, strict=True))
    return (x, y, w, h, r)
