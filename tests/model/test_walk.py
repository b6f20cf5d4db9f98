"""Walking a clip with a thread ahead: the same results as without, whatever is shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from model.chain import Chain, Link
from model.clip import VideoClip
from model.flow import DISFlow
from model.flowstore import FlowStore
from model.propagate import FrameResult, PropagationSettings, propagate
from model.walk import Walk, others_about
from tests.model.moving import MovingClip


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, clip = tmp_path_factory.mktemp("walk") / "clip.mp4", MovingClip()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.gop_size = clip.width, clip.height, 4
        for index in range(len(clip)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(clip.read(index))))
        container.mux(stream.encode())
    return path


def _keys(kind: str) -> dict[int, np.ndarray]:
    clip = MovingClip()
    keys = {index: clip.mask(index) for index in ((6,) if kind == "one" else (2, 6, 9))}
    if kind == "partial":
        keys[2][:, 32:] = 255
        keys[6][24:] = 255
    return keys


@pytest.mark.parametrize("memory", [0, 2**28], ids=["on-disk", "in-memory"])
@pytest.mark.parametrize("kind", ["one", "whole", "partial"])
@pytest.mark.parametrize(
    "settings", [PropagationSettings(), PropagationSettings.best()], ids=["flow", "best"]
)
def test_a_thread_ahead_changes_nothing(
    video: Path, settings: PropagationSettings, kind: str, memory: int
) -> None:
    """The clip, the flow's store, the estimators and the shelf are all used by two threads."""

    def run(ahead: bool) -> list[FrameResult]:
        clip = VideoClip(video)
        store = FlowStore(DISFlow())
        how = replace(settings, ahead=ahead, memory=memory)

        def evidence(index: int, image: np.ndarray) -> np.ndarray:
            again = clip.read(index).astype(np.float32).sum(axis=2) % 3
            return np.stack([again == label for label in range(3)]).astype(np.float32)

        found = propagate(
            clip, _keys(kind), 3, flow=store, settings=how, evidence=evidence, evidence_weight=0.5
        )
        results = list(found)
        clip.close()
        return results

    for one, other in zip(run(True), run(False), strict=True):
        assert one.index == other.index
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
        np.testing.assert_array_equal(one.confidence, other.confidence)


@pytest.mark.parametrize("ahead", [False, True])
def test_results_bring_their_frames_and_each_is_read_once(ahead: bool) -> None:
    clip = MovingClip()
    keys = {index: clip.mask(index) for index in (2, 5, 10)}
    settings = PropagationSettings(ahead=ahead)
    results = list(propagate(clip, keys, 3, flow=DISFlow(), settings=settings))
    reads = [clip.reads.count(index) for index in range(len(clip))]
    assert set(reads) <= {1, 2}
    assert reads[3:5] + reads[6:10] == [1] * 6
    for result in results[2:]:
        np.testing.assert_array_equal(result.image, clip.read(result.index))


@pytest.mark.parametrize("missing", [0, 1, 11, 20, 39])
@pytest.mark.parametrize("kind", ["whole", "partial", "from afar"])
def test_a_key_frame_is_told_from_few_of_the_others_as_from_all(kind: str, missing: int) -> None:
    clip = MovingClip(frames=40)
    keys = {index: clip.mask(index) for index in range(40)}
    rng = np.random.default_rng(0)
    for index, mask in keys.items():
        if kind == "partial":
            mask[rng.random(mask.shape) < 0.95] = 255
        elif kind == "from afar" and abs(index - missing) != 9:
            mask[:, 4:] = 255
    few = others_about(keys, missing)
    del keys[missing]
    assert missing not in few
    assert len(few) <= 18
    store = FlowStore(DISFlow())
    (one,), (other,) = (
        Walk(clip, given, 3, store, PropagationSettings.best()).frames({missing})
        for given in (keys, few)
    )
    assert np.array_equal(one.probabilities, other.probabilities)
    assert np.array_equal(one.confidence, other.confidence)


def test_chains_are_followed_no_farther_than_what_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = MovingClip()
    keys = {index: clip.mask(index) for index in (2, 9)}
    settings = PropagationSettings.best()
    whole = {
        result.index: result
        for result in Walk(clip, keys, 3, DISFlow(), settings).frames(range(len(clip)))
    }
    extended: list[int] = []
    extend = Chain.extend

    def counted(self: Chain, link: Link) -> Chain:
        extended.append(self.key)
        return extend(self, link)

    monkeypatch.setattr(Chain, "extend", counted)
    (result,) = Walk(clip, keys, 3, DISFlow(), settings).frames({4})
    np.testing.assert_array_equal(result.probabilities, whole[4].probabilities)
    assert (extended.count(2), extended.count(9)) == (2, 5)


def test_key_frames_that_are_labelled_in_full_take_no_flow() -> None:
    clip = MovingClip()
    keys = {index: clip.mask(index) for index in (2, 6, 9)}
    store = FlowStore(DISFlow())
    results = list(Walk(clip, keys, 3, store, PropagationSettings()).frames({2, 6}))
    assert [result.index for result in results] == [2, 6]
    assert store.misses == 0


def test_a_key_frame_with_a_gap_is_filled_from_both_sides() -> None:
    clip = MovingClip()
    keys = {index: clip.mask(index) for index in (2, 6, 9)}
    keys[6][20:24, 20:24] = 255
    settings = PropagationSettings.best()
    whole = Walk(clip, keys, 3, DISFlow(), settings).frames(range(len(clip)))
    expected = next(result for result in whole if result.index == 6)
    (alone,) = Walk(clip, keys, 3, DISFlow(), settings).frames({6})
    np.testing.assert_array_equal(alone.probabilities, expected.probabilities)
    np.testing.assert_array_equal(alone.confidence, expected.confidence)
    without = {index: mask for index, mask in keys.items() if index != 2}
    (one_sided,) = Walk(clip, without, 3, DISFlow(), settings).frames({6})
    assert not np.array_equal(alone.probabilities, one_sided.probabilities)
