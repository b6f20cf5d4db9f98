"""What every format does, and what each is exact about."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from backend.formats import MASK_FORMATS, REGION_FORMATS, EncodeOptions, FormatError

Mask = npt.NDArray[np.bool_]

masks = st.tuples(st.integers(1, 20), st.integers(1, 20)).flatmap(
    lambda shape: arrays(np.bool_, shape, elements=st.booleans())
)
EXACT = EncodeOptions(tolerance=0)


def there_and_back(shape: str, mask: Mask, options: EncodeOptions = EXACT) -> Mask:
    found = np.zeros(mask.shape, dtype=bool)
    # As JSON, as it goes over the wire.
    for value in json.loads(json.dumps(list(MASK_FORMATS[shape].encode(mask, options)))):
        found |= MASK_FORMATS[shape].decode(value, *mask.shape)
    return found


@pytest.mark.parametrize("shape", MASK_FORMATS)
class TestMaskFormats:
    @given(mask=masks)
    @settings(deadline=None, max_examples=60)
    def test_a_mask_comes_back(self, shape: str, mask: Mask) -> None:
        np.testing.assert_array_equal(there_and_back(shape, mask), mask)

    @pytest.mark.parametrize("corner", [(0, 0), (0, 29), (19, 0), (19, 29), (7, 13)])
    @pytest.mark.parametrize("tolerance", [0.0, 1.0])
    def test_one_pixel_stays_where_it_is(
        self, shape: str, corner: tuple[int, int], tolerance: float
    ) -> None:
        mask = np.zeros((20, 30), dtype=bool)
        mask[corner] = True
        found = there_and_back(shape, mask, EncodeOptions(tolerance=tolerance))
        np.testing.assert_array_equal(found, mask)

    def test_holes_are_kept(self, shape: str) -> None:
        mask = np.ones((30, 40), dtype=bool)
        mask[5:15, 5:15] = mask[3:6, 30:35] = mask[20:25, 10:30] = False
        mask[8:12, 8:12] = True  # An island in the hole.
        for tolerance in (0.0, 1.0):
            found = there_and_back(shape, mask, EncodeOptions(tolerance=tolerance))
            assert (found != mask).sum() <= (0 if tolerance == 0 else 12)

    @pytest.mark.parametrize("value", [{}, {"points": 3, "rle": 3, "imageDataURL": 3}])
    def test_what_is_no_region_is_refused(self, shape: str, value: dict[str, Any]) -> None:
        with pytest.raises(FormatError):
            MASK_FORMATS[shape].decode(value, 4, 4)


SIZES = ("x", "y", "width", "height", "rotation", "radiusX", "radiusY")
numbers = st.one_of(
    st.floats(-300, 300), st.sampled_from([float("nan"), float("inf"), 1e300, None, "1", True, []])
)


@pytest.mark.parametrize("shape", ["rectangle", "ellipse", "keypoint"])
@given(
    value=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("x", "y", "width", "height", "rotation", "radiusX", "radiusY"), numbers
        ),
    )
)
@settings(deadline=None)
def test_any_numbers_are_read_or_refused(shape: str, value: dict[str, Any]) -> None:
    try:
        pixels = REGION_FORMATS[shape].decode(value, 9, 7)
    except FormatError:
        return
    assert pixels.shape == (9, 7)
    assert pixels.dtype == bool


def percent(value: dict[str, float], height: int, width: int) -> dict[str, float]:
    """A region's numbers in pixels as Label Studio gives them."""
    sides = {"x": width, "width": width, "radiusX": width}
    sides |= {"y": height, "height": height, "radiusY": height}
    return {key: number * 100 / sides.get(key, 100) for key, number in value.items()}


@pytest.mark.parametrize(
    ("x", "y", "w", "h"), [(0, 0, 1, 1), (3, 2, 4, 5), (0, 0, 16, 12), (15, 11, 1, 1)]
)
def test_a_box_on_pixel_lines_is_those_pixels(x: int, y: int, w: int, h: int) -> None:
    expected = np.zeros((12, 16), dtype=bool)
    expected[y : y + h, x : x + w] = True
    value = percent({"x": x, "y": y, "width": w, "height": h, "rotation": 0}, 12, 16)
    np.testing.assert_array_equal(REGION_FORMATS["rectangle"].decode(value, 12, 16), expected)


def test_a_box_turns_clockwise_about_its_upper_left_corner() -> None:
    value = percent({"x": 8, "y": 2, "width": 5, "height": 3}, 12, 16) | {"rotation": 90}
    expected = np.zeros((12, 16), dtype=bool)
    expected[2:7, 5:8] = True
    np.testing.assert_array_equal(REGION_FORMATS["rectangle"].decode(value, 12, 16), expected)


def test_an_ellipse_turns_clockwise_about_its_centre() -> None:
    value = percent({"x": 10, "y": 10, "radiusX": 8, "radiusY": 2}, 20, 20) | {"rotation": 45}
    pixels = REGION_FORMATS["ellipse"].decode(value, 20, 20)
    assert pixels[5, 5]
    assert pixels[14, 14]
    assert not pixels[5, 14]
    assert abs(pixels.sum() - np.pi * 16) < 6


def test_an_ellipse_of_nothing_is_refused() -> None:
    with pytest.raises(FormatError, match="radii"):
        REGION_FORMATS["ellipse"].decode({"x": 1, "y": 1, "radiusX": 0, "radiusY": 3}, 9, 9)


def test_a_point_is_the_pixels_under_its_dot() -> None:
    pixels = REGION_FORMATS["keypoint"].decode({"x": 50, "y": 50, "width": 0.1}, 10, 10)
    assert np.argwhere(pixels).tolist() == [[5, 5]]
    dot = REGION_FORMATS["keypoint"].decode({"x": 50, "y": 50, "width": 60}, 10, 10)
    assert abs(dot.sum() - np.pi * 9) < 6


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (None, "no points"),
        ([], "no points"),
        ([[1, 2, 3]] * 3, "pairs"),
        ([["a", 1]], "pairs"),
        ([[float("nan"), 1]] * 3, "pairs"),
        ([[1, 1], [2]], "pairs"),
        ([[1e9, 1]] * 3, "pairs"),
        ([[1, 1]] * 50_001, "at most"),
    ],
)
def test_polygons_that_are_refused(points: Any, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        MASK_FORMATS["polygon"].decode({"points": points}, 5, 5)


def test_a_polygon_is_coarser_within_its_tolerance() -> None:
    rows, columns = np.mgrid[:100, :100]
    disc = (rows - 50) ** 2 + (columns - 50) ** 2 < 40**2
    values = {
        tolerance: list(MASK_FORMATS["polygon"].encode(disc, EncodeOptions(tolerance=tolerance)))
        for tolerance in (0.0, 1.0, 3.0)
    }
    points = [len(value[0]["points"]) for value in values.values()]
    assert points == sorted(points, reverse=True)
    assert points[1] < 60
    found = MASK_FORMATS["polygon"].decode(values[1.0][0], 100, 100)
    assert (found & disc).sum() / (found | disc).sum() > 0.97


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("data:image/jpeg;base64,AAAA", "begins with"),
        ("data:image/png;base64,????", "base64"),
        ("data:image/png;base64,AAAA", "no PNG"),
        ("data:image/png;base64," + "A" * 1_000_000, "larger than any"),
    ],
)
def test_bitmasks_that_are_refused(url: str, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        MASK_FORMATS["bitmask"].decode({"imageDataURL": url}, 5, 5)


def test_a_bitmask_of_another_size_or_without_transparency_is_refused() -> None:

    value = next(MASK_FORMATS["bitmask"].encode(np.ones((4, 6), bool), EXACT))
    with pytest.raises(FormatError, match="6×4 pixels; expected 4×6"):
        MASK_FORMATS["bitmask"].decode(value, 6, 4)
    file = io.BytesIO()
    Image.new("L", (6, 4), 255).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    with pytest.raises(FormatError, match="transparency"):
        MASK_FORMATS["bitmask"].decode({"imageDataURL": url}, 4, 6)


@given(cut=st.integers(0, 200), where=st.integers(0, 200), what=st.integers(0, 255))
@settings(deadline=None)
def test_damaged_bitmasks_are_read_or_refused(cut: int, where: int, what: int) -> None:

    value = next(MASK_FORMATS["bitmask"].encode(np.eye(12, dtype=bool), EXACT))
    data = bytearray(base64.b64decode(value["imageDataURL"].split(",")[1]))
    data[where % len(data)] = what
    damaged = base64.b64encode(bytes(data[: max(len(data) - cut, 0)])).decode()
    try:
        pixels = MASK_FORMATS["bitmask"].decode(
            {"imageDataURL": f"data:image/png;base64,{damaged}"}, 12, 12
        )
    except FormatError:
        return
    assert pixels.shape == (12, 12)
