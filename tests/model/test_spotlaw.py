import numpy as np
import pytest

from model.blend import FrameResult
from model.colours import Colours, Fit
from model.regions import Region
from model.spotlaw import SpotLaw, evidence_of, terms
from tests.model.drifting import Drifting

_SURE = {"probability": 0.9, "confidence": 0.5, "fit": Fit(2.0, 0.8), "size": 0.01, "cut": False}


@pytest.mark.parametrize(
    "worse",
    [
        {"probability": 0.7},
        {"confidence": 0.02},
        {"fit": Fit(1.0, 0.8)},
        {"fit": Fit(2.0, 0.5)},
        {"size": 0.003},
        {"cut": True},
    ],
)
def test_each_thing_that_speaks_against_it_makes_a_spot_less_likely(worse):
    law = SpotLaw()
    assert law.odds(terms(**{**_SURE, **worse})) < law.odds(terms(**_SURE)) - 0.5


def test_what_is_predicted_without_any_confidence_says_nothing():
    assert len({terms(**{**_SURE, "confidence": 0.0, "probability": p}) for p in (0, 0.5, 1)}) == 1


def test_size_says_nothing_of_what_is_large():
    assert terms(**{**_SURE, "size": 0.3}) == terms(**_SURE)


def test_terms_are_in_the_order_of_the_weights():
    found = terms(0.9, 1e6, Fit(2.0, 0.8), 0.005 / np.e, cut=True)
    assert found == pytest.approx((1, np.log(9), 2.0, 0.6, -1, 1), abs=1e-5)
    assert SpotLaw(1, 10, 100, 1000, 10000, 100000).odds((1, 2, 3, 4, 5, 6)) == 654321


def test_each_class_that_is_seen_nearby_has_its_evidence():
    clip = Drifting()
    keys = clip.keys(0, 4, 8)
    rows, columns = (slice(10, 44), slice(28, 62))  # The first square.
    region = Region((rows, columns), np.ones((34, 34), bool), 1, whole=True)
    probabilities = np.zeros((3, *keys[4].shape), np.float32)
    probabilities[2], probabilities[0] = 0.75, 0.25
    result = FrameResult(4, probabilities, np.ones(keys[4].shape, np.float32), False)
    found = {item.other: item for item in evidence_of(region, result, Colours(keys, clip))}
    assert {other: item.share for other, item in found.items()} == {0: 0.25, 2: 0.75}
    assert all(item.terms[2] < 0 for item in found.values())
