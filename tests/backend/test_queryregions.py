from __future__ import annotations

import numpy as np
import pytest

from backend.asked import QUERY_ID, Submitted, read_answer
from backend.formats import EncodeOptions, decode
from backend.labelconfig import make_label_config, parse_label_config
from backend.querylayer import layer_for
from backend.queryregions import rectangles, superpixels
from selection.granularity import Granularity, partition

SIZE = (45, 70)
NAMES = ["background", "car", "road"]


def layered(samples: str) -> tuple:
    layer = layer_for(samples, SIZE, 10)
    config = parse_label_config(make_label_config(NAMES[1:], queries=layer))
    return layer, config


def asked(kind: str, chosen: list[int]) -> np.ndarray:
    tiles = np.random.default_rng(2).integers(0, 256, (9, 14, 3)).astype(np.uint8)
    image = np.kron(tiles, np.ones((5, 5, 1), np.uint8))
    numbers = partition(Granularity(kind, 10), image)
    out = np.zeros(SIZE, np.uint8)
    for place, number in enumerate(chosen, 1):
        out[numbers == number] = place
    return out


@pytest.mark.parametrize("chosen", [[0], [3, 8, 34], [34, 6, 7, 13]])
def test_rectangles_come_back_as_they_were_asked_for(chosen: list[int]) -> None:
    layer, config = layered("rectangles")
    queries = asked("rectangle", chosen)
    sent = rectangles(queries, config, layer)
    assert len(sent) == len({region["id"] for region in sent}) == len(chosen)
    assert all(region["id"].startswith(QUERY_ID) for region in sent)
    back = [{**region, "origin": "prediction"} for region in sent]
    answer = read_answer(Submitted(back, True), config, SIZE)
    np.testing.assert_array_equal(answer.known, queries > 0)
    assert answer.regions == []


def test_labels_that_differ_in_case_only_are_told_apart() -> None:
    layer = layer_for("superpixels", SIZE, 10)
    text = make_label_config(["car", "Car", "Background"], queries=layer)
    config = parse_label_config(text)
    queries = asked("superpixel", [1, 5, 9])
    predicted = np.select([queries == 2, queries == 3], [1, 2], 0).astype(np.uint8)
    sent = superpixels(queries, predicted, list(config.class_names), config, EncodeOptions())
    labels = [region["value"]["labels"] for region in sent if region["type"] == "labels"]
    assert labels == [["Background"], ["car"], ["Car"]]


def test_super_pixels_bear_the_class_that_most_of_them_is() -> None:
    _, config = layered("superpixels")
    queries = asked("superpixel", [1, 5, 9])
    predicted = np.zeros(SIZE, np.uint8)
    predicted[queries == 2] = 1
    predicted[queries == 3] = 2
    predicted[np.nonzero(queries == 3)[0][:3], np.nonzero(queries == 3)[1][:3]] = 1
    sent = superpixels(queries, predicted, NAMES, config, EncodeOptions(tolerance=0))
    outlines = [region for region in sent if region["type"] == "polygon"]
    labels = [region["value"]["labels"] for region in sent if region["type"] == "labels"]
    assert [region["id"] for region in outlines] == [f"{QUERY_ID}{n}" for n in (1, 2, 3)]
    assert labels == [["background"], ["car"], ["road"]]
    mask = decode(sent, config, SIZE, unlabelled="ignore")
    np.testing.assert_array_equal(mask == 1, queries == 2)
    np.testing.assert_array_equal(mask == 2, queries == 3)
    back = [{**region, "origin": "prediction"} for region in sent]
    answer = read_answer(Submitted(back, True), config, SIZE)
    np.testing.assert_array_equal(answer.known, queries > 0)


def test_a_super_pixel_in_two_parts_is_one_region() -> None:
    _, config = layered("superpixels")
    queries = np.zeros(SIZE, np.uint8)
    queries[:10, :10] = queries[20:24, :4] = 1
    sent = superpixels(queries, np.ones(SIZE, np.uint8), NAMES, config, EncodeOptions())
    assert [region["type"] for region in sent] == ["polygon", "labels"]
    np.testing.assert_array_equal(decode(sent, config, SIZE)[:10, :10], 1)


def test_a_class_without_a_label_cannot_be_shown() -> None:
    config = parse_label_config(make_label_config(["car"]))  # no label for the background
    queries = np.ones(SIZE, np.uint8)
    assert superpixels(queries, np.zeros(SIZE, np.uint8), NAMES, config, EncodeOptions()) == []
    (one,) = superpixels(queries, np.ones(SIZE, np.uint8), NAMES, config, EncodeOptions())
    assert one["type"] == "brushlabels"


def test_a_background_may_be_written_otherwise() -> None:
    layer = layer_for("superpixels", SIZE, 10)
    config = parse_label_config(make_label_config(["Background", "car"], queries=layer))
    queries = np.ones(SIZE, np.uint8)
    sent = superpixels(queries, np.zeros(SIZE, np.uint8), NAMES, config, EncodeOptions())
    assert sent[1]["value"]["labels"] == ["Background"]
