"""J and F: by hand, and pinned to what the public davis2017-evaluation gives on the same masks."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.benchmark import open_labelled
from model.metrics.davis import contour_accuracy, mask_boundary, region_similarity

DATA = Path(os.environ.get("MASKLOOP_DATA", Path(__file__).parents[3].parent / "shared" / "data"))

BLOCK = np.zeros((90, 160), bool)
BLOCK[20:60, 30:100] = True
EMPTY, FULL = np.zeros_like(BLOCK), np.ones_like(BLOCK)
SHIFTED = np.roll(BLOCK, (5, 9), axis=(0, 1))
AT_THE_EDGE = np.roll(BLOCK, -40, axis=1)
LOWER_RIGHT = EMPTY.copy()
LOWER_RIGHT[80:, 150:] = True
RIGHT = EMPTY.copy()
RIGHT[:, 80:] = True
_Y, _X = np.mgrid[:90, :160]
_FAR = (_Y - 45) ** 2 + (_X - 80) ** 2
DISC = _FAR <= 30**2
RING = DISC & (_FAR > 15**2)
STRIPE = EMPTY.copy()
STRIPE[:, 95:115] = True


@pytest.mark.parametrize(
    ("truth", "ours", "void", "j", "f"),
    [
        (BLOCK, SHIFTED, None, 0.6161616161616161, 0.045454545454545456),
        (BLOCK, SHIFTED, STRIPE, 0.6805555555555556, 0.22388059701492535),
        (BLOCK, AT_THE_EDGE, None, 0.2727272727272727, 0.3181818181818182),
        (BLOCK, RIGHT, None, 0.08695652173913043, 0.06451612903225805),
        (BLOCK, DISC, None, 0.4909814323607427, 0.15328027013989387),
        (RING, DISC, None, 0.7486706841545552, 0.7973856209150326),
        (BLOCK, LOWER_RIGHT, None, 0.0, 0.0),
        (BLOCK, FULL, None, 0.19444444444444445, 0.0),
        (BLOCK, EMPTY, None, 0.0, 0.0),
        (EMPTY, BLOCK, None, 0.0, 0.0),
        (EMPTY, EMPTY, None, 1.0, 1.0),
        (FULL, FULL, None, 1.0, 1.0),
        (BLOCK, BLOCK, BLOCK, 1.0, 1.0),
    ],
)
def test_pinned_to_the_public_evaluation(truth, ours, void, j, f):
    assert region_similarity(truth, ours, void) == pytest.approx(j, abs=1e-12)
    assert contour_accuracy(truth, ours, void) == pytest.approx(f, abs=1e-12)


@pytest.mark.skipif(not (DATA / "davis").is_dir(), reason=f"no clips for measuring in {DATA}")
@pytest.mark.parametrize(
    ("name", "frame", "copied", "j", "f"),
    [
        ("camel", 30, 15, 0.498519, 0.19811),
        ("blackswan", 10, 0, 0.559755, 0.435661),
        ("dance-twirl", 45, 40, 0.247001, 0.241234),
        ("horsejump-high", 20, 17, 0.550412, 0.581325),
        ("drift-straight", 30, 15, 0.134469, 0.085349),
    ],
)
def test_pinned_on_real_masks(name, frame, copied, j, f):
    """An earlier frame's true mask as the prediction; numbers of davis2017-evaluation."""
    masks = open_labelled(DATA / "davis" / name, check=False).masks
    truth, ours = masks.read(frame) == 1, masks.read(copied) == 1
    assert region_similarity(truth, ours) == pytest.approx(j, abs=1e-6)
    assert contour_accuracy(truth, ours) == pytest.approx(f, abs=1e-6)


def test_the_contour_of_a_block():
    mask = np.zeros((6, 6), bool)
    mask[2:4, 2:4] = True
    expected = np.zeros((6, 6), bool)
    expected[1:4, 1:4] = True
    expected[2, 2] = False
    np.testing.assert_array_equal(mask_boundary(mask), expected)


def test_the_frames_edge_is_no_contour():
    assert not mask_boundary(FULL).any()
    assert not mask_boundary(EMPTY).any()
    assert mask_boundary(RIGHT).sum() == 90


def test_contours_within_the_tolerance_agree():
    # ⌈0.008 · √(90² + 160²)⌉ = 2 pixels.
    assert contour_accuracy(RIGHT, np.roll(RIGHT, 2, axis=1) & RIGHT) == 1.0
    assert contour_accuracy(RIGHT, np.roll(RIGHT, 3, axis=1) & RIGHT) == 0.0
    assert contour_accuracy(RIGHT, np.roll(RIGHT, 3, axis=1) & RIGHT, tolerance=3) == 1.0


@given(arrays(bool, (9, 11)), arrays(bool, (9, 11)), st.sampled_from([0.008, 1, 3]))
def test_shares_symmetric_and_one_for_itself(truth, ours, tolerance):
    for measure in (
        region_similarity,
        lambda a, b: contour_accuracy(a, b, tolerance=tolerance),
    ):
        assert 0 <= measure(truth, ours) <= 1
        assert measure(truth, ours) == pytest.approx(measure(ours, truth))
        assert measure(truth, truth) == 1


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"two .* masks of one size"):
        region_similarity(BLOCK, BLOCK[:5])
    with pytest.raises(ValueError, match="void must be"):
        contour_accuracy(BLOCK, BLOCK, BLOCK[:5])
