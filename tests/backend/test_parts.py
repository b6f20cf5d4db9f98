from __future__ import annotations

from typing import Any

import pytest

from backend.formats import FormatError
from backend.labelconfig import make_label_config, parse_label_config
from backend.parts import ClipWishes, parts_of, wishes_of
from backend.sync import SeenFrame

CONFIG = parse_label_config(make_label_config(["car", "road"]))
LIST = parse_label_config(
    make_label_config(["car", "road"]).replace('value="$image"', 'valueList="$frames"')
)


def seen(results: list[dict[str, Any]] | None = None, **data: Any) -> SeenFrame:
    return SeenFrame(7, "street", 0, "u", None if results is None else "d", results, data)


def region(item: int, origin: str | None = None) -> dict[str, Any]:
    extra = {} if origin is None else {"origin": origin}
    return {"id": f"r{item}", "item_index": item, "value": {"rle": [item]}, **extra}


def test_a_frame_is_one_part() -> None:
    (part,) = parts_of(seen([]), CONFIG, None).parts  # type: ignore[arg-type]
    assert (part.item, part.url, part.digest) == (None, "u", "d")


@pytest.mark.parametrize(
    ("results", "labelled"),
    [
        (None, []),
        ([], []),
        ([region(1)], [1]),
        ([region(0, "manual"), region(1, "prediction"), region(2, "prediction-changed")], [0, 2]),
        ([{**region(0), "item_index": None}], [0]),
    ],
)
def test_which_pictures_of_a_list_are_labelled(results, labelled) -> None:
    parts = parts_of(seen(results, frames=["a", "b", "c"]), LIST, None).parts  # type: ignore[arg-type]
    assert [part.url for part in parts] == ["a", "b", "c"]
    assert [part.item for part in parts if part.digest is not None] == labelled


@pytest.mark.parametrize("frames", [None, "a.png", [], [1], {}])
def test_no_list_of_pictures(frames: Any) -> None:
    with pytest.raises(FormatError, match="'frames'"):
        parts_of(seen(frames=frames), LIST, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "wishes", "problems"),
    [
        ([{}], ClipWishes(), 0),
        ([{"categories": ["road"]}, {"categories": "car, road"}], ClipWishes(("road", "car")), 0),
        ([{"categories": ["Background", "car"]}], ClipWishes(("car",)), 0),
        ([{"categories": ["sky"]}, {"categories": ["sky"]}], ClipWishes(), 1),
        ([{"categories": 3}], ClipWishes(), 1),
        ([{"unlabelled": "ignore"}, {"unlabelled": "background"}], ClipWishes(None, "ignore"), 0),
        ([{"unlabelled": True}], ClipWishes(), 1),
    ],
)
def test_what_a_clips_data_says(data, wishes, problems) -> None:
    said: list[str] = []
    found = wishes_of([seen(**each) for each in data], CONFIG, said)
    assert len(said) == problems
    assert found == wishes
