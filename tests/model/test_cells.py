"""The cells in which refinement decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.blend import FrameResult
from model.cells import CORE, Cells
from model.flow import DISFlow
from model.refine import RefineNet
from model.settings import PropagationSettings
from model.synthetic import render_clip
from model.walk import Walk
from model.windows import PRESENT, Shared

CASES = {
    "two-sides": ((130, 94), (0, 4), False),
    "one-side": ((130, 94), (0,), False),
    "with-a-network": ((130, 94), (0, 4), True),
    "of-few-cells": ((36, 33), (0, 4), True),
}


def _frame(
    size: tuple[int, int], keys: tuple[int, ...], heard: bool
) -> tuple[FrameResult, np.ndarray | None]:
    """A frame of a rendered clip, propagated, and a network's word on it."""
    clip = render_clip(5, size, 5, "wild")
    count = len(clip.class_names)
    masks = {key: clip.mask(key) for key in keys}
    settings = PropagationSettings.best(refine=1.0)
    (result,) = Walk(clip, masks, count, DISFlow(), settings).frames({2})
    if not heard:
        return result, None
    word = np.random.default_rng(0).dirichlet(np.ones(count), size[::-1])
    return result, np.ascontiguousarray(np.moveaxis(word, 2, 0), np.float32)


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def frame(request: pytest.FixtureRequest) -> tuple[FrameResult, np.ndarray | None]:
    return _frame(*request.param)


def _network() -> RefineNet:
    torch.manual_seed(1)
    network = RefineNet()
    torch.nn.init.normal_(network.out.weight)
    return network.eval()


@torch.no_grad()
def _as_a_whole(network: RefineNet, result: FrameResult, heard: np.ndarray | None) -> np.ndarray:
    """Corrections of all classes in all pixels, (K, H, W): the frame goes through at once."""
    clues, fused = result.clues, result.probabilities
    votes = [clues.votes.probabilities(side) for side in range(len(clues.distance))]
    masks = [np.moveaxis(clues.warped(side), 2, 0) / np.float32(255) for side in range(len(votes))]
    missing = [fused] * (2 - len(votes))
    word = fused if heard is None else heard
    by_class = np.stack([fused, *votes, *missing, *masks, *missing, word], axis=1)
    everywhere = np.arange(result.mask.size).reshape(result.mask.shape)
    shared = Shared(clues, 0.0 if heard is None else 0.7).at(everywhere)
    return network(
        torch.logit(torch.from_numpy(by_class), eps=PRESENT) / 4,
        torch.from_numpy(shared).permute(2, 0, 1)[None],
        torch.zeros(len(fused), dtype=torch.int64),
    ).numpy()


@torch.no_grad()
def test_what_is_found_is_what_the_frame_seen_as_a_whole_gives(
    frame: tuple[FrameResult, np.ndarray | None],
) -> None:
    result, heard = frame
    network = _network()
    cells = Cells(result.clues, result.probabilities, heard, 0.7)
    assert len(cells) > 1
    expected = _as_a_whole(network, result, heard)
    told = 0
    for looks in cells.looks():
        found = network.within(looks).numpy()
        for one, label, (top, left) in zip(
            found, cells.classes[looks.pairs], cells.corners[looks.pairs], strict=True
        ):
            there = expected[label, top : top + CORE, left : left + CORE]
            np.testing.assert_allclose(
                one[: there.shape[0], : there.shape[1]], there, rtol=1e-4, atol=1e-4
            )
            told += 1
    assert told == len(cells)


def test_decided_are_pixels_that_are_contested_and_unsure(
    frame: tuple[FrameResult, np.ndarray | None],
) -> None:
    result, heard = frame
    cells = Cells(result.clues, result.probabilities, heard)
    assert len(np.unique(cells.places)) == len(cells.places)
    assert np.isin(cells.places, result.clues.votes.places).all()
    flat = result.probabilities.reshape(len(result.probabilities), -1)
    np.testing.assert_array_equal(cells.fused, flat[:, cells.places])
    assert cells.fused.max() < 0.95
    y, x = np.divmod(cells.places, result.mask.shape[1])
    corners = np.stack([y, x], axis=1) // CORE * CORE
    assert {tuple(one) for one in corners} == {tuple(one) for one in cells.corners}
    unsure = result.clues.votes.places[flat[:, result.clues.votes.places].max(axis=0) < 0.95]
    left_out = np.setdiff1d(unsure, cells.places)
    there = flat[:, left_out] > 0.05
    if heard is not None:
        there |= heard.reshape(flat.shape)[:, left_out] > 0.05
    assert there.sum(axis=0).max(initial=0) <= 1


def test_decisions_are_by_the_formula(frame: tuple[FrameResult, np.ndarray | None]) -> None:
    result, heard = frame
    cells = Cells(result.clues, result.probabilities, heard)
    corrections = np.random.default_rng(0).normal(0, 2, (len(cells), CORE, CORE)).astype(np.float32)
    change = cells.decided(corrections, 0.01)
    np.testing.assert_allclose(change.sum(axis=0), 0, atol=1e-5)
    for pixel in np.linspace(0, len(cells.places) - 1, 20).astype(int):
        y, x = np.divmod(cells.places[pixel], result.mask.shape[1])
        corner = np.array([y, x]) // CORE * CORE
        pairs = np.flatnonzero((cells.corners == corner).all(axis=1))
        classes = cells.classes[pairs]
        old = cells.fused[classes, pixel]
        raised = (old + 0.01) * np.exp(corrections[pairs, y - corner[0], x - corner[1]])
        expected = np.zeros(len(cells.fused))
        expected[classes] = raised / raised.sum() * old.sum() - old
        np.testing.assert_allclose(change[:, pixel], expected, atol=1e-5)


def test_nothing_is_looked_at_where_all_is_sure() -> None:
    result, _ = _frame((130, 94), (0, 4), False)
    sure = np.zeros_like(result.probabilities)
    sure[0] = 1
    cells = Cells(result.clues, sure)
    assert len(cells) == 0
    assert cells.places.size == 0
    assert list(cells.looks()) == []
