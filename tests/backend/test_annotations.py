from __future__ import annotations

from typing import Any

import pytest

from backend.annotations import label_digest, submitted_annotations


def annotation(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "result": [], "updated_at": f"2026-01-0{number}T00:00:00Z", **more}


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ([], []),
        ([annotation(1, was_cancelled=True)], []),
        ([annotation(2), annotation(1)], [1, 2]),
        ([annotation(1, ground_truth=True), annotation(2)], [2, 1]),
        ([annotation(1), annotation(2, was_cancelled=True)], [1]),
        ([annotation(1, updated_at="2026-02-01T00:00:00Z"), annotation(2)], [2, 1]),
        ([annotation(1, ground_truth=True, was_cancelled=True), annotation(2)], [2]),
    ],
)
def test_which_annotations_are_the_label_and_which_counts_most(annotations, expected) -> None:
    submitted = submitted_annotations({"id": 1, "annotations": annotations})
    assert [annotation["id"] for annotation in submitted] == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2026-10-25T00:30:00Z", "2026-10-25T00:30:00.5Z"),
        ("2026-10-25T00:30:00.25Z", "2026-10-25T00:30:00.250001Z"),
        ("2026-10-25T02:30:00+02:00", "2026-10-25T02:10:00+01:00"),  # summer ends
        ("2026-10-24T20:40:00-03:30", "2026-10-25T00:10:01+0000"),
        (None, "2026-10-25T00:00:00Z"),
        ("2026-99-99T00:00:00Z", "1971-01-01T00:00:00"),
    ],
)
def test_of_two_annotations_the_later_one_counts_however_its_time_is_written(first, second) -> None:
    both = [annotation(1, updated_at=second), annotation(2, updated_at=first)]
    assert [each["id"] for each in submitted_annotations({"annotations": both})] == [2, 1]


def test_drafts_are_no_labels() -> None:
    assert submitted_annotations({"id": 1, "annotations": [], "drafts": [{"result": []}]}) == []


def region(**more: Any) -> dict[str, Any]:
    return {"id": "a", "from_name": "b", "type": "brushlabels", "value": {"rle": [1]}, **more}


def test_submitting_the_same_thing_again_is_no_change() -> None:
    first = annotation(1, result=[region(id="a", score=0.5)])
    second = annotation(2, result=[region(id="b", origin="prediction")], completed_by=9)
    assert label_digest(first) == label_digest(second)


@pytest.mark.parametrize("change", [{"value": {"rle": [2]}}, {"original_width": 7}])
def test_another_mask_is_a_change(change: dict[str, Any]) -> None:
    assert label_digest(annotation(1, result=[region()])) != label_digest(
        annotation(1, result=[region(**change)])
    )


def test_an_empty_label_differs_from_none() -> None:
    assert label_digest(None) is None
    assert label_digest(annotation(1)) is not None
