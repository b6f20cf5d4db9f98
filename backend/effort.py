"""What labels cost a person, in clicks, as far as Label Studio's regions tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from backend.asked import QUERY_ID, Submitted, id_of, is_fence
from backend.formats import FormatError, decode
from backend.labelconfig import LabelConfig
from backend.media import MAX_PIXELS
from backend.store import Store
from backend.sync import SeenFrame
from selection.clicks import boundary_clicks, rectangle_clicks

__all__ = ["count_clicks", "label_clicks", "samples_a_round"]

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
    pictures: dict[int | None, list[Mapping[str, Any]]] = {}
    clicks = 0
    for region in results:
        value, item = region.get("value"), region.get("item_index")
        sequence = value.get("sequence") if isinstance(value, Mapping) else None
        if isinstance(sequence, list):
            clicks += _BOX_CLICKS * len(sequence)
        else:
            number = item if isinstance(item, int) else None
            pictures.setdefault(number, []).append(region)
    for item, regions in pictures.items():
        clicks += _picture_clicks(regions, config, item)
    return max(clicks, 1)


def samples_a_round(store: Store, project_id: int, budget: int, clicks: int) -> int:
    """How many samples a round asks for.

    Args:
        store: Knows what labels cost so far.
        project_id: The project.
        budget: Samples a round.
        clicks: Clicks a round, which win over samples; 0 for none.

    Returns:
        At least 1: as many as the clicks pay for at the mean cost of the labels so far; `budget`
        where none is known, or clicks are not counted.
    """
    known = [cost for _, cost in store.efforts(project_id).values()]
    if not clicks or not known:
        return budget
    return max(1, round(clicks * len(known) / sum(known)))


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
            "clicks": _clicks(frame, config),
        }
        for frame in frames
        if frame.digest is not None and known.get(frame.task_id, ("", 0))[0] != frame.digest
    ]
    store.save_efforts(project_id, rows)


def _clicks(frame: SeenFrame, config: LabelConfig) -> int:
    if not frame.submitted:
        return label_clicks(frame.results or [], config)
    return sum(_answer_clicks(each, config) for each in frame.submitted)


def _answer_clicks(submitted: Submitted, config: LabelConfig) -> int:
    """Clicks of what was asked for: inside of rectangles; one a super-pixel; and what was drawn."""
    fences = [r for r in submitted.results if is_fence(r, config)]
    given = {id_of(r) for r in submitted.results if id_of(r).startswith(QUERY_ID)}
    given -= {id_of(r) for r in fences}
    rest = [r for r in submitted.results if r not in fences and id_of(r) not in given]
    if not fences:
        drawn = [r for r in rest if r.get("origin") != "prediction"]
        counted = drawn if submitted.predicted else rest
        return len(given) + (label_clicks(counted, config) if counted or not given else 0)
    size = _size(fences[0])
    try:
        if size is None:
            raise ValueError("no size")
        mask = decode(rest, config, size)
        clicks = sum(rectangle_clicks(mask, _rectangle(fence, mask.shape), {0}) for fence in fences)
    except (FormatError, ValueError, KeyError, TypeError):
        clicks = len(fences)  # the round says what is wrong with it
    return len(given) + clicks


def _rectangle(fence: Mapping[str, Any], size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a query rectangle in pixels."""
    value = fence["value"]
    top, bottom = value["y"] * size[0] / 100, (value["y"] + value["height"]) * size[0] / 100
    left, right = value["x"] * size[1] / 100, (value["x"] + value["width"]) * size[1] / 100
    return round(top), round(left), round(bottom) - round(top), round(right) - round(left)


def _size(region: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of the picture as the region has them; None where no picture is so."""
    height, width = region.get("original_height"), region.get("original_width")
    if not isinstance(height, int) or not isinstance(width, int):
        return None
    return (height, width) if min(height, width) > 0 and height * width <= MAX_PIXELS else None


def _picture_clicks(
    regions: Sequence[Mapping[str, Any]], config: LabelConfig, item: int | None
) -> int:
    size = _size(regions[0])
    if size is None or any(_size(region) != size for region in regions):
        return len(regions)
    try:
        return boundary_clicks(decode(regions, config, size, item=item), {0})
    except (FormatError, ValueError, KeyError):
        return len(regions)  # the round says what is wrong with it
