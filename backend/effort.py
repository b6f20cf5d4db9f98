"""What labels cost a person, in clicks, as far as Label Studio's regions tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from backend.formats import FormatError, decode
from backend.labelconfig import LabelConfig
from backend.store import Store
from backend.sync import SeenFrame
from selection.clicks import boundary_clicks

__all__ = ["count_clicks", "label_clicks"]

_BOX_CLICKS = 2
"""Two opposite corners."""


def label_clicks(results: Sequence[Mapping[str, Any]], config: LabelConfig) -> int:
    """Clicks that draw a label from scratch.

    Of pictures the boundary clicks of HVSA (`selection.clicks`), of videos two for each box that
    was placed. What was taken over from a prediction counts as drawn: the measure is what labels
    are worth, not how fast they were made.

    Args:
        results: The annotation's ``result``.
        config: What the labelling configuration asks for.

    Returns:
        At least 1: also that a picture holds nothing has to be said. A label that can't be read
        counts a click a region.
    """
    pictures: dict[Any, list[Mapping[str, Any]]] = {}
    clicks = 0
    for region in results:
        sequence = (region.get("value") or {}).get("sequence")
        if isinstance(sequence, list):
            clicks += _BOX_CLICKS * len(sequence)
        else:
            pictures.setdefault(region.get("item_index"), []).append(region)
    for item, regions in pictures.items():
        clicks += _picture_clicks(regions, config, item)
    return max(clicks, 1)


def count_clicks(
    store: Store, project_id: int, frames: Iterable[SeenFrame], config: LabelConfig
) -> None:
    """Count the clicks of labels that are new or changed, and keep them.

    Args:
        store: Where they are kept.
        project_id: The project.
        frames: Its tasks, just looked at.
        config: What its labelling configuration asks for.
    """
    known = store.efforts(project_id)
    rows = [
        {
            "task_id": frame.task_id,
            "label": frame.digest,
            "clicks": label_clicks(frame.results or [], config),
        }
        for frame in frames
        if frame.digest is not None and known.get(frame.task_id, ("", 0))[0] != frame.digest
    ]
    store.save_efforts(project_id, rows)


def _picture_clicks(
    regions: Sequence[Mapping[str, Any]], config: LabelConfig, item: int | None
) -> int:
    sizes = {(r.get("original_height"), r.get("original_width")) for r in regions}
    height, width = next(iter(sizes))
    if len(sizes) > 1 or not isinstance(height, int) or not isinstance(width, int):
        return len(regions)
    try:
        return boundary_clicks(decode(regions, config, (height, width), item=item), {0})
    except (FormatError, ValueError, KeyError):
        return len(regions)  # the round says what is wrong with it
