"""Refinement's lessons on rendered clips, and the command that makes the package's weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from model.refine import RefineNet
from model.refine_training import imitated, main, rehearsals, trembling
from model.synthetic import render_clip


def test_a_rehearsal_is_a_propagated_frame_with_clues():
    first, *_ = rehearsals(3)
    assert first.result.clues is not None
    assert first.result.probabilities.shape[1:] == first.truth.shape
    np.testing.assert_allclose(first.result.probabilities.sum(axis=0), 1, atol=1e-4)
    assert 0.4 < (first.result.mask == first.truth).mean() < 1
    assert (first.evidence is None) == (first.weight == 0)


def test_a_trembling_hand_moves_outlines_and_nothing_else():
    rng = np.random.default_rng(0)
    mask = render_clip(1, (160, 120), 2, "wild").mask(0)
    np.testing.assert_array_equal(trembling(mask, 0.0, rng), mask)
    moved = trembling(mask, 1.0, rng)
    assert 0 < (moved != mask).mean() < 0.1
    assert set(np.unique(moved)) <= set(np.unique(mask))


def test_an_imitated_word_is_mostly_right():
    rng = np.random.default_rng(0)
    mask = render_clip(1, (160, 120), 2, "wild").mask(0)
    for _ in range(5):
        seen = imitated(mask, 5, rng)
        assert seen.shape == (5, 120, 160)
        np.testing.assert_allclose(seen.sum(axis=0), 1, atol=1e-4)
        assert (seen.argmax(axis=0) == mask).mean() > 0.5


def _train(seed: int, out: Path) -> bytes:
    tiny = ["--clips", "1", "--judges", "1", "--steps", "2"]
    main([*tiny, "--seed", str(seed), "--out", str(out)])
    return out.read_bytes()


def test_the_command_writes_weights_and_where_they_come_from(tmp_path, capsys):
    out = tmp_path / "weights" / "small.pt"
    _train(4, out)
    network = RefineNet()
    network.load_state_dict(torch.load(out, weights_only=True))
    told = json.loads(out.with_suffix(".json").read_text())
    assert json.loads(capsys.readouterr().out) == told
    assert told["command"].endswith("--clips 1 --judges 1 --steps 2 --seed 4")
    assert told["lessons"] > 0


def test_the_same_seed_gives_the_same_file(tmp_path):
    first = _train(4, tmp_path / "first.pt")
    assert _train(4, tmp_path / "elsewhere" / "second.pt") == first
    told = [(tmp_path / name).read_text() for name in ("first.json", "elsewhere/second.json")]
    assert told[0] == told[1]
