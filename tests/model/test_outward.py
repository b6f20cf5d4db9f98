"""The way before the first key frame: gone in as many parts as there is room for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from model import outward
from model.blend import FrameResult
from model.chain import Shelf
from model.flow import DISFlow
from model.flowstore import FlowStore
from model.settings import PropagationSettings
from model.walk import Walk
from tests.model.moving import MovingClip

BEST = replace(PropagationSettings.best(), ahead=False)
PIXELS = 48 * 64


class Weighing:
    """Knows how many bytes lie on shelves, and how many did at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.most = 0
        put, take = Shelf.put, Shelf.take

        def putting(shelf: Shelf, name: str, *arrays: np.ndarray) -> None:
            self._add(sum(array.nbytes for array in arrays))
            put(shelf, name, *arrays)

        def taking(shelf: Shelf, name: str) -> tuple[np.ndarray, ...]:
            arrays = take(shelf, name)
            self._add(-sum(array.nbytes for array in arrays))
            return arrays

        monkeypatch.setattr(Shelf, "put", putting)
        monkeypatch.setattr(Shelf, "take", taking)

    def _add(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


def _doubting(result: FrameResult) -> FrameResult:
    """A correction that depends on what was recalled, as a network's word mixed in."""
    softer = result.probabilities * np.float32(0.9) + np.float32(0.1 / 3)
    return replace(result, probabilities=softer, propagated=result.probabilities)


@pytest.mark.parametrize("settings", [BEST, PropagationSettings(ahead=False)], ids=["best", "flow"])
@pytest.mark.parametrize("correct", [None, _doubting], ids=["plain", "corrected"])
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_what_has_no_room_at_once_comes_out_the_same_in_parts(
    monkeypatch: pytest.MonkeyPatch, settings: PropagationSettings, correct, frames: int
) -> None:
    clip, flows = MovingClip(frames=12), FlowStore(DISFlow())
    keys = {10: clip.mask(10)}

    def labelled() -> list[FrameResult]:
        return list(Walk(clip, keys, 3, flows, settings, correct).frames(range(12)))

    expected = labelled()
    each = PIXELS * (5 + 2 * 3 * (1 if correct is None else 2))
    monkeypatch.setattr(outward, "_ROOM", frames * each)
    weighing = Weighing(monkeypatch)
    results = labelled()
    assert [result.index for result in results] == list(range(12))
    for one, other in zip(results, expected, strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)
        assert np.array_equal(one.confidence, other.confidence)
        assert (one.propagated is None) == (other.propagated is None)
    standings = -(-10 // frames) * PIXELS * 24
    assert 0 < weighing.most <= frames * each + standings
    assert weighing.now == 0


def test_few_wanted_frames_are_not_gone_to_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = MovingClip(frames=12)
    monkeypatch.setattr(outward, "_ROOM", 1)
    corrected: list[int] = []

    def correct(result: FrameResult) -> FrameResult:
        corrected.append(result.index)
        return result

    walk = Walk(clip, {10: clip.mask(10)}, 3, DISFlow(), BEST, correct)
    assert [result.index for result in walk.frames({3})] == [3]
    assert corrected == list(range(9, -1, -1))


def test_there_is_room_for_a_quarter_of_the_free_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.chain.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    assert Shelf(100).room() == 250
    assert Shelf(400).room() == 400
