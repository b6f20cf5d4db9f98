from __future__ import annotations

import pytest

from backend.labeltags import LabelConfigError, read_tags


def test_tags_and_attributes_in_any_case() -> None:
    view, image, label = read_tags(
        '<View><IMAGE Name=" i " VALUE="$x"><lAbel value="a"/></IMAGE></View>'
    )
    assert (view.tag, image.tag) == ("view", "image")
    assert (image.get("name"), image.get("Value"), image.get("missing")) == ("i", "$x", "")
    assert image.describe() == '<IMAGE name="i">'
    assert [each.get("value") for each in image.labels()] == [label.get("value")] == ["a"]


def test_remarks_are_no_tags() -> None:
    assert len(read_tags("<View><!-- a --><?b c?></View>")) == 1


def test_entities_do_not_unfold() -> None:
    laughs = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
    with pytest.raises(LabelConfigError, match="document type"):
        read_tags(f'<!DOCTYPE View [<!ENTITY a0 "ha">{laughs}]><View>&a9;</View>')
