"""What is known of a round's quality without ground truth, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.roundfiles import ClipRecord
from backend.snapshot import ClipSnapshot
from model.pipeline import ClipAnnotator
from model.propagate import FrameResult
from model.quality import Calibration, QualityEstimate, reverse_test
from model.spots import SpotFinder

__all__ = ["expected_of_project", "for_people", "judge"]

# More are seldom there, and nobody reads them.
_MOST_SPOTS = 20


def judge(
    annotator: ClipAnnotator, labels: Mapping[int, npt.NDArray[np.uint8]]
) -> tuple[QualityEstimate, dict[str, Any]]:
    """Predict each key frame from the others, once, for both of its uses.

    Args:
        annotator: The clip's annotator.
        labels: Masks (H, W) of the key frames by index.

    Returns:
        An estimate to which each frame's result is to be added; and findings, a JSON object:
        ``held_out`` (the mIoU of each key frame's prediction, by index) and ``spots`` (regions
        that a key frame calls by another name than those around it: ``frame``, ``box``,
        ``labelled``, ``expected``, the last two by name).
    """
    finder = SpotFinder(labels, annotator.source)

    def predictions() -> Iterator[FrameResult]:
        for result in reverse_test(
            annotator.source,
            labels,
            annotator.num_classes,
            flow=annotator.flow,
            settings=annotator.propagation,
            refinement=annotator.refinement,
        ):
            finder.add(result)
            yield result

    calibration = Calibration.of(predictions(), labels)
    names = annotator.class_names
    return QualityEstimate(calibration), {
        "held_out": {str(i): round(value, 4) for i, value in calibration.held_out.items()},
        "spots": [
            {
                "frame": spot.frame,
                "box": list(spot.box),
                "labelled": names[spot.labelled],
                "expected": names[spot.expected],
            }
            for spot in sorted(finder.spots(), key=lambda spot: -spot.pixels)[:_MOST_SPOTS]
        ],
    }


def for_people(findings: Mapping[str, Any], clip: ClipSnapshot) -> dict[str, Any]:
    """Findings with frames numbered as people see them, instead of by index."""

    def shown(index: int) -> int:
        return clip.shown_frame(index) + 1 if clip.is_task else clip.positions[index]

    by_frame = {
        name: {str(shown(int(i))): value for i, value in findings.get(name, {}).items()}
        for name in ("held_out", "unreadable")
    }
    spots = [{**spot, "frame": shown(spot["frame"])} for spot in findings.get("spots", [])]
    return {**findings, **by_frame, "spots": spots}


def expected_of_project(records: Sequence[ClipRecord]) -> float | None:
    """The mIoU to expect over all clips that have masks, by their frames; None where none has."""
    known = [
        (record.findings["expected_miou"], len(record.quality))
        for record in records
        if "expected_miou" in record.findings
    ]
    if not known:
        return None
    values, frames = zip(*known, strict=True)
    return round(float(np.average(values, weights=frames)), 4)
