"""Fitting the law of spots."""

import numpy as np
import pytest

from benchmarks.spot_law import fit, is_misnamed, rows_of
from benchmarks.spots import Plant, plant
from model.benchmark import LabelledClip
from model.regions import Region
from model.spotlaw import Evidence
from tests.model.drifting import FRAMES, Drifting


def test_weights_that_made_the_data_are_found_again():
    true = np.array([-1.0, 2.0, 1.0, 3.0, 4.0, -1.5])
    rng = np.random.default_rng(0)
    terms = rng.normal(size=(6000, 6))
    terms[:, 0], terms[:, 4] = 1, -np.abs(terms[:, 4]) / 3
    misnamed = rng.random(len(terms)) < 1 / (1 + np.exp(-terms @ true))
    key = ("clip", 0, (0, 0, 1, 1), 0)
    rows = [
        ((*key, place), tuple(found), bool(truth))
        for place, (found, truth) in enumerate(zip(terms, misnamed, strict=True))
    ]
    assert fit(rows) == pytest.approx(true, abs=0.3)


def test_what_several_passes_repeat_weighs_as_the_root_of_them():
    terms = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    key = ("clip", 0, (0, 0, 1, 1), 0)
    once = [((*key, place), terms, place < 50) for place in range(100)]
    often = once + 3 * [((*key, place), terms, False) for place in range(50, 100)]
    assert fit(once)[0] == pytest.approx(0, abs=1e-6)
    assert fit(often)[0] == pytest.approx(np.log(1 / 2), abs=0.02)


def _masks():
    mask = np.zeros((20, 40), np.uint8)
    mask[5:15, 5:15] = 1
    mask[5:15, 25:35] = 2
    right = {index: mask.copy() for index in (0, 5, 10)}
    wrong = {index: mask.copy() for index in (0, 5, 10)}
    wrong[0][mask == 1] = 2
    return right, wrong


@pytest.mark.parametrize(
    ("frame", "left", "width", "label", "other", "expected"),
    [
        (0, 5, 10, 2, 1, True),
        (0, 5, 10, 2, 0, None),  # The plant, but not its class.
        (0, 5, 3, 2, 1, None),  # A part of it.
        (5, 5, 10, 1, 2, None),  # Its echo.
        (5, 25, 10, 2, 1, False),
        (10, 5, 10, 1, 2, False),
    ],
)
def test_what_is_right_wrong_and_not_asked(frame, left, width, label, other, expected):
    right, wrong = _masks()
    window = (slice(5, 15), slice(left, left + width))
    region = Region(window, np.ones((10, width), bool), label, whole=True)
    plants = [Plant(0, (5, 5, 15, 15), true=1, planted=2)]
    evidence = Evidence(region, other, 0.9, (1.0,) * 6)
    assert is_misnamed(evidence, frame, plants, wrong, right) is expected


def test_a_clips_rows_hold_its_plants():
    class Masks:
        def __len__(self):
            return FRAMES

        def read(self, index):
            return Drifting().mask(index)

    clip = LabelledClip(Drifting(), Masks(), ("ground", "one", "two"), "drifting")
    rows = list(rows_of(clip, "every:4", 1, 2, [np.random.default_rng(0)]))
    _, plants = plant(
        {index: Drifting().mask(index) for index in (0, 4, 8, 12)}, 2, np.random.default_rng(0)
    )
    named = {(frame, box, label, other) for (_, frame, box, label, other), _, true in rows if true}
    assert {(p.frame, p.box, p.planted, p.true) for p in plants} <= named
    assert all(len(found) == 6 for _, found, _ in rows)
