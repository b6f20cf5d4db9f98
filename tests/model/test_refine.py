"""Refinement: the network, and what it may change."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from model.blend import FrameResult
from model.flow import DISFlow
from model.metrics import confusion, mean_iou
from model.propagate import propagate
from model.refine import WEIGHTS, Refinement, RefineNet, load_refiner, refined
from model.refine_teaching import lessons, teach
from model.refine_training import rehearsals
from model.settings import PropagationSettings
from model.synthetic import render_clip
from model.walk import Walk

SETTINGS = PropagationSettings.best(refine=1.0)
FLOW = DISFlow()


@lru_cache(maxsize=2)
def _frame(keys: tuple[int, ...] = (0, 8)) -> tuple[FrameResult, np.ndarray]:
    """A frame of a rendered clip, propagated, and its truth."""
    clip = render_clip(9, (160, 120), 5, "wild")
    masks = {key: clip.mask(key) for key in keys}
    (result,) = Walk(clip, masks, len(clip.class_names), FLOW, SETTINGS).frames({4})
    return result, clip.mask(4)


def _drunk(seed: int = 0) -> RefineNet:
    """A network that corrects at random, and much."""
    torch.manual_seed(seed)
    network = RefineNet()
    torch.nn.init.normal_(network.out.weight, std=3.0)
    return network.eval()


class TestCorrection:
    @pytest.mark.parametrize("keys", [(0, 8), (0,)])
    def test_is_none_before_training(self, keys):
        result, _ = _frame(keys)
        new = refined(RefineNet(), result.clues, result.probabilities)
        np.testing.assert_array_equal(new.argmax(axis=0), result.mask)

    def test_gives_probabilities_and_leaves_what_is_not_contested(self):
        result, _ = _frame()
        new = refined(_drunk(), result.clues, result.probabilities)
        assert new.dtype == np.float32
        assert new.min() >= -1e-6
        np.testing.assert_allclose(new.sum(axis=0), 1, atol=1e-4)
        changed = (new != result.probabilities).any(axis=0)
        contested = np.zeros(changed.size, bool)
        contested[result.clues.votes.places] = True
        assert changed.any()
        assert not (changed.ravel() & ~contested).any()

    def test_is_made_by_its_share(self):
        result, _ = _frame()
        whole, half, none = (
            refined(_drunk(), result.clues, result.probabilities, share=share)
            for share in (1.0, 0.5, 0.0)
        )
        np.testing.assert_array_equal(none, result.probabilities)
        np.testing.assert_allclose(half, (whole + none) / 2, atol=1e-5)

    def test_does_not_depend_on_what_classes_are_called(self):
        """Class-agnostic: swapping two classes swaps the result."""
        result, _ = _frame()
        order = np.roll(np.arange(len(result.probabilities)), 1)
        clues = result.clues
        votes = replace(
            clues.votes,
            counts=np.ascontiguousarray(clues.votes.counts[:, :, order]),
            settled=np.argsort(order).astype(np.uint8)[clues.votes.settled],
        )
        turned = replace(
            clues,
            votes=votes,
            labels=tuple(np.ascontiguousarray(mask[order]) for mask in clues.labels),
        )
        network = _drunk()
        new = refined(network, turned, np.ascontiguousarray(result.probabilities[order]))
        expected = refined(network, clues, result.probabilities)[order]
        np.testing.assert_allclose(new, expected, atol=1e-4)

    def test_of_frames_smaller_than_a_window(self):
        clip = render_clip(3, (40, 32), 1)
        masks = {0: clip.mask(0), 2: clip.mask(2)}
        (result,) = Walk(clip, masks, len(clip.class_names), FLOW, SETTINGS).frames({1})
        new = refined(_drunk(), result.clues, result.probabilities)
        np.testing.assert_allclose(new.sum(axis=0), 1, atol=1e-4)

    def test_listens_to_a_network(self):
        result, truth = _frame()
        seen = (truth == np.arange(len(result.probabilities))[:, None, None]).astype(np.float32)
        alone = refined(_drunk(), result.clues, result.probabilities)
        told = refined(_drunk(), result.clues, result.probabilities, seen, 1.0)
        assert not np.array_equal(alone, told)


def test_teaching_learns_its_lessons():
    result, truth = _frame()
    right = (truth == np.arange(len(result.probabilities))[:, None, None]).astype(np.float32)
    taught = list(lessons(result.clues, result.probabilities, right, truth, 1.0))
    torch.manual_seed(0)
    network = RefineNet()
    assert teach(network, taught, steps=25, rate=1e-2, seed=0) == 25
    new = refined(network, result.clues, result.probabilities, right, 1.0).argmax(axis=0)
    assert (new != truth).sum() < 0.7 * (result.mask != truth).sum()


def test_teaching_keeps_to_its_time():
    result, truth = _frame()
    taught = list(lessons(result.clues, result.probabilities, None, truth))
    assert teach(RefineNet(), taught, steps=10**6, rate=1e-3, seed=0, seconds=0.2) < 1000


class TestWeightsOfThePackage:
    def test_improve_clips_they_have_not_seen(self):
        """Seeds that are neither among those learnt from nor among those judged by."""
        refinement = Refinement(load_refiner(), 1.0)
        gains = []
        for seed in (5_000_000, 5_000_001, 5_000_002):
            for one in rehearsals(seed):
                new = replace(refinement, weight=one.weight)(one.result, one.evidence)
                count = len(new.probabilities)
                scores = [
                    mean_iou(confusion(one.truth, mask, count))
                    for mask in (one.result.mask, new.mask)
                ]
                gains.append(scores[1] - scores[0])
        assert np.mean(gains) > 0.005

    def test_are_small_and_say_where_they_come_from(self):
        assert WEIGHTS.stat().st_size < 100_000
        told = json.loads(WEIGHTS.with_suffix(".json").read_text())
        assert told["command"].startswith("python -m model.refine_training")
        assert told["held_out_clips_miou"]["refined"] > told["held_out_clips_miou"]["propagated"]

    def test_survive_json(self):
        mine = Refinement(_drunk(3), 0.5)
        again = Refinement.from_json(json.loads(json.dumps(mine.to_json())))
        result, _ = _frame()
        np.testing.assert_array_equal(again(result).probabilities, mine(result).probabilities)

    @pytest.mark.parametrize("kept", [None, {"share": 1.0, "weights": {"out.weight": "AAAA"}}])
    def test_of_another_network_are_not_taken(self, kept):
        assert Refinement.from_json(kept) is None


def test_propagate_refines_and_lets_go_of_the_clues():
    clip = render_clip(9, (160, 120), 5, "wild")
    masks = {0: clip.mask(0), 8: clip.mask(8)}

    def run(refinement):
        return list(
            propagate(
                clip,
                masks,
                len(clip.class_names),
                flow=FLOW,
                settings=SETTINGS,
                refinement=refinement,
            )
        )

    plain, drunk = run(None), run(Refinement(_drunk(), 1.0))
    assert all(result.clues is None for result in plain + drunk)
    assert not np.array_equal(plain[4].probabilities, drunk[4].probabilities)
    for index in masks:
        np.testing.assert_array_equal(drunk[index].mask, clip.mask(index))
