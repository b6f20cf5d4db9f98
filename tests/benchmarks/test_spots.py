"""Planting wrong labels, and telling which were found."""

import numpy as np
import pytest

from backend.annotator import annotator_for
from backend.settings import load_settings
from benchmarks.spots import Finder, Plant, is_known, overlap, plant
from model.quality import reverse_test
from model.spots import Spot, find_spots
from tests.model.drifting import Drifting


def _labels():
    mask = np.zeros((40, 60), np.uint8)
    mask[5:25, 5:25] = 1
    mask[10:30, 35:55] = 2
    return {index: mask.copy() for index in (0, 5, 10, 15)}


def test_plants_are_whole_regions_of_key_frames_that_are_no_neighbours():
    labels = _labels()
    wrong, plants = plant(labels, 3, np.random.default_rng(0))
    assert len(plants) == 2
    frames = sorted(item.frame for item in plants)
    assert frames[1] - frames[0] > 5
    for item in plants:
        changed = wrong[item.frame] != labels[item.frame]
        rows, columns = np.nonzero(changed)
        assert item.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert set(labels[item.frame][changed]) == {item.true}
        assert set(wrong[item.frame][changed]) == {item.planted}
        assert item.true != item.planted
    assert all((wrong[i] == labels[i]).all() for i in labels if i not in frames)


def test_the_same_seed_plants_the_same():
    first, second = (plant(_labels(), 2, np.random.default_rng(7))[1] for _ in range(2))
    assert first == second


def test_the_overlap_of_boxes():
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0


@pytest.mark.parametrize(
    ("spot", "named"),
    [
        (Spot(5, (0, 0, 10, 12), 2, 1, 100), True),
        (Spot(0, (0, 0, 10, 12), 2, 1, 100), False),
        (Spot(5, (0, 0, 10, 12), 1, 2, 100), False),
        (Spot(5, (8, 8, 18, 18), 2, 1, 100), False),
    ],
)
def test_frame_region_and_classes_have_to_be_right(spot, named):
    assert Plant(5, (0, 0, 10, 10), true=1, planted=2).is_named(spot) is named


def test_a_plant_found_again_with_the_predictions_that_it_changes():
    clip = Drifting()
    annotator = annotator_for(clip, ("ground", "one", "two"), load_settings(method="flow"))
    labels = clip.keys(0, 4, 8, 12)
    finder = Finder(annotator, labels)
    assert finder.spots(labels) == []
    wrong = {index: mask.copy() for index, mask in labels.items()}
    wrong[4][labels[4] == 1] = 2
    (found,) = finder.spots(wrong, {4})
    assert (found.frame, found.labelled, found.expected) == (4, 2, 1)
    anew = reverse_test(clip, wrong, 3, flow=annotator.flow, settings=annotator.propagation)
    assert [found] == find_spots(anew, wrong, clip)


def test_spots_told_without_plants_are_known():
    spot = Spot(5, (0, 0, 10, 10), 2, 1, 100)
    assert is_known(Spot(5, (1, 0, 9, 10), 2, 1, 80), [spot])
    assert not is_known(Spot(5, (0, 0, 10, 10), 2, 0, 100), [spot])
