"""The simulated annotator: rounds as the service runs them, answered with the truth."""

import json
from dataclasses import replace

import numpy as np
import pytest

import backend.simulation as simulation
from backend.queries import parse_budget
from backend.settings import load_settings
from backend.simulation import clicks_by_hand, free_classes, prepare, simulate_clip
from backend.simulation_passes import PassMemory
from backend.simulation_results import ClipSimulation, SimulatedRound, mean_of_rounds
from model.benchmark import LabelledClip
from model.synthetic import render_clip
from selection.clicks import boundary_clicks

FRAMES = 16


@pytest.fixture(scope="module")
def clip():
    drawn = render_clip(FRAMES, (96, 72), 0)
    return LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)


class Masks(list):
    """True masks held in memory."""

    def read(self, index):
        return self[index]


def simulated(clip, budget="2", rounds=3, **settings):
    settings = load_settings(**{"method": "flow", "strategy": "hvsa", "seed": 0, **settings})
    return simulate_clip(clip, settings, parse_budget(budget), rounds)


@pytest.fixture(scope="module")
def hvsa(clip):
    return simulated(clip)


def test_each_round_labels_new_frames(hvsa):
    samples = [row.samples for row in hvsa.rounds]
    assert [len(chosen) for chosen in samples] == [2, 2, 2]
    assert len({index for chosen in samples for index in chosen}) == 6
    assert [row.number for row in hvsa.rounds] == [1, 2, 3]


def test_quality_and_clicks_rise(hvsa):
    quality = [row.all["miou"] for row in hvsa.rounds]
    clicks = [row.clicks for row in hvsa.rounds]
    assert quality[0] < quality[-1]
    assert clicks == sorted(clicks)


def test_clicks_are_those_of_the_true_masks(clip, hvsa):
    first = hvsa.rounds[0]
    cost = [boundary_clicks(clip.masks.read(index), {0}) for index in range(FRAMES)]
    assert first.clicks == sum(cost[index] for index in first.samples)
    assert first.clicks_percent == pytest.approx(100 * first.clicks / sum(cost))
    assert hvsa.clicks_by_hand == sum(cost)
    np.testing.assert_array_equal(clicks_by_hand(clip), cost)


def test_correcting_costs_no_more_than_drawing(hvsa):
    first, *_, last = hvsa.rounds
    assert first.correction_clicks == first.clicks
    assert 0 < last.correction_clicks <= last.clicks


def test_the_same_seed_gives_the_same_rounds(clip, hvsa):
    def without_time(run):
        record = run.record()
        for row in record["rounds"]:
            del row["seconds"]
        del record["peak_memory_mb"]
        return record

    assert without_time(simulated(clip)) == without_time(hvsa)
    other = simulated(clip, strategy="random", seed=1)
    assert other.rounds[0].samples != simulated(clip, strategy="random", seed=2).rounds[0].samples


def test_labelling_everything_ends_the_rounds(clip):
    run = simulated(clip, budget="100%", rounds=3, method="nearest")
    (only,) = run.rounds
    assert sorted(only.samples) == list(range(FRAMES))
    assert only.unlabelled is None
    assert only.all["miou"] == 1.0
    assert only.clicks_percent == pytest.approx(100)


@pytest.mark.parametrize("strategy", ["uniform", "random", "uncertainty", "diversity"])
def test_every_strategy_runs(clip, strategy):
    run = simulated(clip, rounds=2, strategy=strategy, method="nearest")
    assert (run.strategy, len(run.rounds)) == (strategy, 2)


def test_a_round_goes_on_from_the_last_rounds_network(monkeypatch):
    drawn = render_clip(6, (64, 48), 0)
    clip = LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)
    warm = []
    real = simulation.annotator_for

    def spying(*args):
        annotator = real(*args)
        finetune = annotator.finetune

        def spied(labels, *, warm_start, progress):
            warm.append(warm_start and warm_start.exists())
            return finetune(labels, warm_start=warm_start, progress=progress)

        annotator.finetune = spied
        return annotator

    monkeypatch.setattr(simulation, "annotator_for", spying)
    simulated(clip, rounds=2, method="maskloop", finetune_seconds=0.2)
    assert warm == [None, True]


def test_the_record_is_as_documented(hvsa):
    record = hvsa.record()
    assert json.loads(json.dumps(record)) == record
    assert record.keys() >= {"clip", "frames", "strategy", "samples", "seed", "budget", "rounds"}
    assert record["rounds"][0].keys() == {
        "round",
        "samples",
        "clicks",
        "clicks_percent",
        "correction_clicks",
        "unlabelled",
        "all",
        "seconds",
    }


def after(*points):
    """A run of which only quality against clicks is known, labelling by hand reaching 0.9."""
    rounds = [
        SimulatedRound(n, [], 0, clicks, 0, None, {"miou": quality}, {})
        for n, (clicks, quality) in enumerate(points, 1)
    ]
    return ClipSimulation("c", (), "hvsa", "frame", 0, 1, 100, 0.9, rounds, 0.0, [], [])


@pytest.mark.parametrize(
    ("level", "points", "clicks"),
    [
        (100, [(10, 0.5), (20, 0.8), (30, 1.0)], 25.0),
        (50, [(10, 0.5), (20, 0.8)], 10),
        (95, [(10, 0.5), (20, 0.8)], None),
        (100, [(10, None), (20, 0.9)], 20),
    ],
)
def test_clicks_to_reach_a_part_of_labelling_by_hand(level, points, clicks):
    assert after(*points).clicks_to_reach(level) == (clicks and pytest.approx(clicks))


def test_labelling_by_hand_is_the_ceiling(clip):
    ground = prepare(clip, load_settings(method="nearest"))
    np.testing.assert_array_equal(ground.clicks, clicks_by_hand(clip))
    assert 0.9 < ground.miou < 1.0


def test_the_ground_that_runs_share_changes_nothing(clip, hvsa):
    settings = load_settings(method="flow", strategy="hvsa", seed=0)
    ground = prepare(clip, settings)
    for _ in range(2):
        run = simulate_clip(clip, settings, parse_budget("2"), 2, ground=ground)
        assert [row.samples for row in run.rounds] == [row.samples for row in hvsa.rounds[:2]]
        assert run.rounds[1].all == hvsa.rounds[1].all


def test_means_by_strategy_and_round(clip, hvsa):
    other = simulated(clip, strategy="random", rounds=1)
    hvsas, randoms = mean_of_rounds([hvsa, other, hvsa])
    assert (hvsas["strategy"], len(hvsas["rounds"])) == ("hvsa", 3)
    assert hvsas["rounds"][2]["all"]["miou"] == pytest.approx(hvsa.rounds[2].all["miou"])
    assert randoms["rounds"][0]["clicks"] == other.rounds[0].clicks


def test_only_a_background_is_free():
    assert free_classes(("background", "car")) == {0}
    assert free_classes(("sky", "car")) == frozenset()


def test_refuses_no_rounds(clip):
    with pytest.raises(ValueError, match="rounds must be 1 or more, not 0"):
        simulated(clip, rounds=0)


@pytest.mark.parametrize("void", [False, True])
def test_what_is_remembered_is_what_would_be_worked_out_anew(clip, void):
    if void:
        masks = [clip.masks.read(index).copy() for index in range(FRAMES)]
        for mask in masks:
            mask[:2] = 255
        clip = replace(clip, masks=Masks(masks))
    settings = load_settings(method="flow", strategy="random", seed=0)
    remembering, forgetting = (prepare(clip, settings) for _ in range(2))
    forgetting.memory = PassMemory(limit=0)
    frames = 0
    for seed in range(3):
        seeded = settings.model_copy(update={"seed": seed})
        runs = [
            simulate_clip(clip, seeded, parse_budget("2"), 3, ground=ground)
            for ground in (remembering, forgetting)
        ]
        frames += 3 * FRAMES
        for known, anew in zip(*(run.rounds for run in runs), strict=True):
            assert replace(known, seconds={}) == replace(anew, seconds={})
        assert runs[0].frames == runs[1].frames
    assert forgetting.memory.misses == frames
    assert remembering.memory.misses < 0.9 * frames
