from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from backend.formats.cleaning import clean

values = arrays(np.uint8, st.tuples(st.integers(1, 16), st.integers(1, 16)),
                elements=st.sampled_from([0, 1, 2, 255]))  # fmt: skip


def parts(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Area of the part that each pixel belongs to."""
    numbers = label(mask.astype(int), background=-1, connectivity=1)
    return np.bincount(numbers.ravel())[numbers]


def test_specks_and_holes_go_and_the_boundary_stays() -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:25, 10:30] = 1
    expected = mask.copy()
    mask[15, 15:18] = 0  # A hole of 3 pixels.
    mask[2, 2] = 2  # A speck.
    mask[10:12, 20:22] = 2  # A part of 4 pixels in the object.
    expected[0, :6] = mask[0, :6] = 2  # The largest part of its value.
    np.testing.assert_array_equal(clean(mask, 5), expected)
    np.testing.assert_array_equal(clean(mask, 4)[10:12, 20:22], 2)


@given(values, st.integers(0, 12))
@settings(deadline=None)
def test_only_small_parts_change(mask: npt.NDArray[np.uint8], area: int) -> None:
    cleaned = clean(mask, area)
    stays = parts(mask) >= area
    np.testing.assert_array_equal(cleaned[stays], mask[stays])
    # Nothing appears, and nothing vanishes altogether.
    assert set(np.unique(cleaned)) == set(np.unique(mask))


def test_a_small_thing_stays_where_it_is_all_there_is() -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[3:5, 3:5] = mask[20, 20] = 1
    expected = mask.copy()
    expected[20, 20] = 0
    np.testing.assert_array_equal(clean(mask, 10), expected)


def test_nothing_is_done_unless_asked() -> None:
    mask = np.eye(5, dtype=np.uint8)
    assert clean(mask, 0) is mask
    assert clean(mask, 1) is mask
