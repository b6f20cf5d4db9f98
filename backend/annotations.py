"""Which of a task's annotations are its label, and when a label has changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

__all__ = ["label_digest", "regions_of", "submitted_annotations"]

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-]\d\d):?(\d\d))?$", re.ASCII
)

# What of a region makes a label: not its id, its score or where it came from.
_SAYS = (
    "from_name",
    "type",
    "value",
    "item_index",
    "original_width",
    "original_height",
    "image_rotation",
)


def submitted_annotations(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All annotations of a task that are labels, the one that counts most last.

    Skipped (cancelled) annotations and drafts are no labels. Of several, one marked as ground
    truth counts most, else the one submitted or changed last.

    Args:
        task: A task of Label Studio with its ``annotations``.
    """
    submitted = [
        annotation
        for annotation in task.get("annotations") or []
        if isinstance(annotation, dict) and not annotation.get("was_cancelled")
    ]

    def order(annotation: dict[str, Any]) -> tuple[bool, float, int]:
        when = annotation.get("updated_at") or annotation.get("created_at")
        return bool(annotation.get("ground_truth")), _moment(when), int(annotation.get("id") or 0)

    return sorted(submitted, key=order)


def _moment(text: Any) -> float:
    """Seconds since the epoch. As texts, moments with and without fractions of a second, or of two
    time zones (summer and winter), would not be in order."""
    found = _TIME.match(text) if isinstance(text, str) else None
    if found is None:
        return 0.0
    second, fraction, hours, minutes = found.groups()
    try:
        moment = datetime.strptime(second, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return 0.0
    east = int(hours or 0) * 3600 + int(f"{(hours or '+')[0]}{minutes or 0}") * 60
    return moment.timestamp() - east + float(f"0.{fraction or 0}")


def regions_of(annotation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An annotation's regions. Programs can store anything; what is no region is passed over."""
    results = annotation.get("result")
    return [each for each in results if _is_region(each)] if isinstance(results, list) else []


def _is_region(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), (str, type(None))) for key in ("from_name", "type")
    )


def label_digest(annotation: Mapping[str, Any] | None) -> str | None:
    """A digest of what an annotation says; None for no annotation.

    It ignores who submitted it and when, so that submitting the same thing again is no change.
    """
    if annotation is None:
        return None
    kept = [{key: region.get(key) for key in _SAYS} for region in regions_of(annotation)]
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
