"""Which pixels of an annotation count as labelled where rectangles or super-pixels are asked for.

What a person was not asked for is unknown, not background; what a person drew is never lost:

- Inside the submitted query rectangles everything counts, uncovered pixels too; outside of them
  nothing does.
- Queried super-pixels count where they are, and so does what the person drew besides.
- Where neither is left of what was asked for, the regions that the person drew or changed count,
  where they are.
- An annotation that was not made from a prediction has never shown a query, and is a label of the
  whole frame, as in any other project.

It is the annotation that tells, so that labels keep their meaning when other samples are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.annotations import regions_of
from backend.formats import REGION_FORMATS, FormatError
from backend.formats.regions import Drawn, check_size, drawn_regions
from backend.labelconfig import LabelConfig

__all__ = ["QUERY_ID", "Answer", "Submitted", "id_of", "is_fence", "read_answer"]

QUERY_ID = "query-"
"""How the ids of queried regions begin; the screen keeps ids."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """An annotation as a person submitted it.

    Attributes:
        results: Its regions.
        predicted: Whether it was made from a prediction, and so showed what was asked for.
    """

    results: list[dict[str, Any]]
    predicted: bool

    @property
    def asked(self) -> bool:
        """Whether regions that were asked for are in it."""
        return any(id_of(region).startswith(QUERY_ID) for region in self.results)

    @classmethod
    def of(cls, annotation: Mapping[str, Any]) -> Submitted:
        """From Label Studio's annotation."""
        results = regions_of(annotation)
        origins = {str(region.get("origin") or "") for region in results}
        parent = annotation.get("parent_prediction") is not None
        return cls(results, parent or bool(origins & {"prediction", "prediction-changed"}))


@dataclass(frozen=True, slots=True)
class Answer:
    """What an annotation says.

    Attributes:
        regions: The regions to paint, in their order.
        known: (H, W) bool: the pixels that count as labelled.
    """

    regions: list[Drawn]
    known: npt.NDArray[np.bool_]


def read_answer(submitted: Submitted, config: LabelConfig, size: tuple[int, int]) -> Answer:
    """Read an annotation of a frame.

    Args:
        submitted: The annotation.
        config: What the labelling configuration asks for.
        size: ``(height, width)`` of the frame.

    Raises:
        FormatError: When a region is damaged, or was drawn on a picture of another size.
    """
    fences = _fences(submitted.results, config, size)
    regions = list(drawn_regions(submitted.results, config, size))
    by_person = _by_person(submitted.results)
    drawn = [region for region in regions if region.id in by_person]
    if fences is None and not submitted.predicted:
        return Answer(regions, np.ones(size, dtype=bool))
    if fences is None:
        return Answer(drawn, _covered(drawn, size))
    if any(region.id.startswith(QUERY_ID) for region in regions):
        return Answer(regions, fences | _covered(drawn, size))
    return Answer(regions, fences)


def is_fence(region: Mapping[str, Any], config: LabelConfig) -> bool:
    """Whether a region is a query rectangle, also of a layer that has been taken away."""
    if config.queries is not None and region.get("from_name") == config.queries.name:
        return True
    return id_of(region).startswith(QUERY_ID) and region.get("type") == "rectanglelabels"


def _fences(
    results: Sequence[Mapping[str, Any]], config: LabelConfig, size: tuple[int, int]
) -> npt.NDArray[np.bool_] | None:
    """(H, W) bool: inside the query rectangles; None where there is none."""
    found = None
    for region in results:
        if not is_fence(region, config):
            continue
        try:
            value = region.get("value")
            if not isinstance(value, Mapping):
                raise FormatError("it has no value")
            check_size(region, *size)
            pixels = REGION_FORMATS["rectangle"].decode(value, *size)
        except FormatError as error:
            raise FormatError(f"region {region.get('id')}: {error}") from None
        found = pixels if found is None else found | pixels
    return found


def _by_person(results: Sequence[Mapping[str, Any]]) -> set[str]:
    """Ids of the regions that a person stands behind: drawn, changed, or asked for."""
    return {
        id_of(region)
        for region in results
        if region.get("origin") != "prediction" or id_of(region).startswith(QUERY_ID)
    }


def id_of(region: Mapping[str, Any]) -> str:
    """A region's id; empty where it has none."""
    return str(region.get("id") or "")


def _covered(regions: Sequence[Drawn], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    covered = np.zeros(size, dtype=bool)
    for region in regions:
        covered |= region.pixels
    return covered
