from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import consistency
from benchmarks.consistency import Kept, Run, open_small, score, table, train
from model.networks import Segmenter


class _Knows(Segmenter):
    """Looks up a frame's true mask; wrong in its left part."""

    name = "knows"

    def __init__(self, clip: consistency.Small, wrong: int) -> None:
        super().__init__()
        self.clip, self.wrong, self.num_classes = clip, wrong, len(clip.class_names)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        shown = (images[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        index = next(i for i in range(len(self.clip)) if np.array_equal(self.clip.read(i), shown))
        mask = self.clip.masks[index].copy()
        mask[:, : self.wrong] = index % self.num_classes
        truth = torch.from_numpy(mask).long()
        return torch.nn.functional.one_hot(truth, self.num_classes).permute(2, 0, 1)[None]

    features = logits

    def classifiers(self) -> list[tuple[torch.nn.Module, str]]:
        return []


@pytest.fixture(scope="module")
def clip() -> consistency.Small:
    return open_small("easy-0", 48 * 64)


def test_a_rendered_clip_is_reduced(clip: consistency.Small) -> None:
    assert clip.read(0).shape == (48, 64, 3)
    assert clip.masks[0].shape == (48, 64)
    assert clip.keys == [0, 15, 30, 45]


def test_what_is_right_and_steady_scores_higher(clip: consistency.Small) -> None:
    right, wrong = (score(_Knows(clip, columns), clip, 6) for columns in (0, 24))
    assert right[0] == 1.0
    assert right[1] > 0.9
    assert wrong[0] < 0.8
    assert wrong[1] < right[1]


def test_a_training_says_how_many_steps_there_was_time_for(clip: consistency.Small) -> None:
    run = train(clip, 0.0, seed=0, weight=1.0, step=30)
    assert run.steps == 1
    assert 0 < run.miou < 1


def test_the_table_compares_the_means_of_clips_that_are_done() -> None:
    runs = {
        ("a", 0, 0.0): Run(0.5, 0.8, 10),
        ("a", 1, 0.0): Run(0.7, 0.9, 10),
        ("a", 0, 1.0): Run(0.6, 0.9, 8),
        ("a", 1, 1.0): Run(0.6, 0.88, 8),
        ("b", 0, 0.0): Run(0.5, 0.8, 10),
    }
    rows = table(runs, ["a", "b"], 2).splitlines()
    assert rows[2:] == [
        "| `a` | 0.6000 / 0.85000 | 0.6000 / 0.89000 | +0.0000 / +0.04000 | 1 of 2 | 10, 8 |",
        "| mean | 0.6000 / 0.85000 | 0.6000 / 0.89000 | +0.0000 / +0.04000 | 1 of 1 clips"
        " | 10, 8 |",
    ]


def test_trainings_are_kept_by_what_they_were_about(tmp_path: Path) -> None:
    path, run = tmp_path / "kept.jsonl", Run(0.5, 0.25, 144)
    Kept(path).note(run, "a", 0, 1.0)
    again = Kept(path)
    assert again.take("a", 0, 1.0) == run
    assert again.take("a", 0, 0.0) is None
    assert Kept(None).take("a", 0, 1.0) is None
