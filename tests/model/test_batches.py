from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from model import batches as module
from model.augment import Augmentation
from model.batches import ClipBatches, reduced_masks, to_tensor, training_size
from model.flow import DISFlow
from model.flowstore import FlowStore
from model.losses import warp
from model.samples import Batch, Neighbours
from tests.model.moving import MovingClip

_STILL = Augmentation(flip=0.0, scale=(1.0, 1.0), shift=0.0, rotation=0.0, colour=0.0)


def _batches(
    clip: MovingClip,
    labels: dict[int, np.ndarray] | None = None,
    max_pixels: int = 10**6,
    memory: int = 2**20,
) -> ClipBatches:
    return ClipBatches(
        clip,
        {0: clip.mask(0)} if labels is None else labels,
        3,
        flow=DISFlow(),
        max_pixels=max_pixels,
        augmentation=_STILL,
        rng=np.random.default_rng(0),
        memory=memory,
    )


@pytest.mark.parametrize(
    ("shape", "max_pixels", "expected"),
    [((480, 640), 480 * 640, (480, 640)), ((480, 640), 480 * 160, (240, 320)), ((9, 9), 1, (1, 1))],
)
def test_training_size_keeps_the_shape(
    shape: tuple[int, int], max_pixels: int, expected: tuple[int, int]
) -> None:
    assert training_size(shape, max_pixels) == expected


class TestReducedMasks:
    def test_each_pixel_gets_the_label_nearest_to_its_middle(self) -> None:
        mask = np.kron(np.uint8([[0, 1, 255], [2, 1, 0]]), np.ones((4, 4), np.uint8))
        (small,) = reduced_masks({5: mask}, (2, 3)).values()
        assert small.tolist() == [[0, 1, 255], [2, 1, 0]]

    def test_labels_that_lie_between_the_middles_are_not_lost(self) -> None:
        line = np.full((8, 8), 255, np.uint8)
        line[:, 4] = 1
        whole = np.zeros((8, 8), np.uint8)
        whole[4:] = 1
        reduced = reduced_masks({0: line, 3: whole}, (4, 4))
        assert reduced[0].tolist() == [[255, 255, 1, 255]] * 4
        assert reduced[3].tolist() == [[0] * 4] * 2 + [[1] * 4] * 2

    def test_a_class_of_a_few_pixels_is_kept_where_it_is_nowhere_else(self) -> None:
        small = np.zeros((8, 8), np.uint8)
        small[6, 2] = 1
        assert reduced_masks({0: small}, (4, 4))[0].tolist() == [[0] * 4] * 3 + [[0, 1, 0, 0]]
        large = np.ones((8, 8), np.uint8)
        assert not reduced_masks({0: small, 1: large}, (4, 4))[0].any()


def test_a_thin_stroke_is_learnt_and_carried() -> None:
    clip = MovingClip()
    stroke = np.full((48, 64), 255, np.uint8)
    stroke[:, 10], stroke[:, 30] = 0, 1
    batches = _batches(clip, {4: stroke}, max_pixels=24 * 32)
    assert set(np.unique(batches.batch(1).labels)) == {0, 1, 255}
    batches.carry_labels(12, lambda: False, ahead=False)
    assert batches.carries
    assert batches.class_shares(3).tolist() == [0.5, 0.5, 0]


def test_to_tensor_is_channels_first_between_0_and_1() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[1, 2] = (255, 0, 51)
    tensor = to_tensor(image)
    assert tensor.shape == (3, 4, 6)
    assert tensor[:, 1, 2].tolist() == pytest.approx([1.0, 0.0, 0.2])


class TestBatch:
    def test_is_what_was_labelled(self) -> None:
        clip = MovingClip()
        batch = _batches(clip).batch(2)
        assert batch.images.shape == (2, 3, 48, 64)
        assert batch.labels.dtype == torch.int64
        assert np.array_equal(batch.labels[0].numpy(), clip.mask(0))
        assert torch.equal(batch.images[1], to_tensor(clip.read(0)))
        assert torch.equal(batch.weights, torch.ones(2, 48, 64))
        assert batch.indices == (0, 0)

    def test_every_labelled_frame_gets_its_turn(self) -> None:
        clip = MovingClip()
        batches = _batches(clip, {i: clip.mask(i) for i in (0, 4, 8)})
        assert sorted(batches.batch(3).indices) == [0, 4, 8]

    def test_is_reduced_to_the_training_size(self) -> None:
        batch = _batches(MovingClip(), max_pixels=48 * 64 // 4).batch(1)
        assert batch.images.shape == (1, 3, 24, 32)
        assert batch.labels.shape == (1, 24, 32)
        assert set(batch.labels.unique().tolist()) == {0, 1, 2}

    def test_frames_without_a_label_are_left_out(self) -> None:
        clip = MovingClip()
        blank = np.full((48, 64), 255, np.uint8)
        assert _batches(clip, {0: blank, 3: clip.mask(3)}).labelled == [3]


class TestCarriedLabels:
    def test_come_with_weights_and_fit_the_frames(self) -> None:
        clip = MovingClip()
        batches = _batches(clip, {i: clip.mask(i) for i in (0, 11)})
        batches.carry_labels(100, lambda: False)
        batch = batches.batch(12, carried=1.0)
        assert sorted(batch.indices) == list(range(12))
        found = zip(
            batch.indices, batch.images, batch.labels.numpy(), batch.weights.numpy(), strict=True
        )
        for index, image, mask, weight in found:
            assert torch.equal(image, to_tensor(clip.read(index)))
            right = mask == clip.mask(index)
            assert right.mean() > 0.9
            assert weight[right].mean() > weight[~right].mean() if not right.all() else True

    def test_none_are_drawn_where_none_were_carried(self) -> None:
        batches = _batches(MovingClip())
        batch = batches.batch(3, carried=1.0)
        assert not batches.carries
        assert np.array_equal(batch.labels[2].numpy(), MovingClip().mask(0))
        assert bool((batch.weights == 1).all())


class TestNeighbours:
    def _both(self, how: Augmentation = _STILL, **labels: int) -> tuple[Batch, Neighbours]:
        clip = MovingClip()
        keys = labels or {"first": 0, "last": 11}
        batches = ClipBatches(
            clip, {i: clip.mask(i) for i in keys.values()}, 3, flow=DISFlow(),
            max_pixels=48 * 64, augmentation=how, rng=np.random.default_rng(1),
        )  # fmt: skip
        batches.carry_labels(100, lambda: False)
        batch = batches.batch(12, carried=1.0)
        beside = batches.neighbours(batch)
        assert beside is not None
        return batch, beside

    def test_are_those_nearer_to_a_labelled_frame(self) -> None:
        clip = MovingClip()
        batch, beside = self._both()
        for index, image in zip(batch.indices, beside.images, strict=True):
            nearer = {0: 1, 11: 10}.get(index, index - 1 if index <= 5 else index + 1)
            assert torch.equal(image, to_tensor(clip.read(nearer)))

    def test_move_as_the_batch_and_the_flow_with_them(self) -> None:
        """A strong change: the frame beside, looked up along the flow, is still the batch's."""
        how = Augmentation(flip=1.0, scale=(0.7, 0.7), rotation=20.0, shift=0.1, colour=0.0)
        batch, beside = self._both(how)
        moves = beside.seen & (beside.flow.norm(dim=-1) > 0.7)
        assert 0.2 < float(beside.seen.float().mean()) < 0.8
        along, stays = (
            (warp(beside.images, flow) - batch.images).abs().mean(dim=1)[moves].mean()
            for flow in (beside.flow, torch.zeros_like(beside.flow))
        )
        assert along < 0.8 * stays

    def test_are_shown_in_the_colours_that_they_have(self) -> None:
        how = Augmentation(scale=(1.0, 1.0), shift=0.0, rotation=0.0, colour=0.2)
        batch, beside = self._both(how)
        frames = {index: to_tensor(MovingClip().read(index)) for index in range(12)}
        assert not any(
            torch.equal(frames[i], batch.images[at]) for at, i in enumerate(batch.indices)
        )
        for image in beside.images:
            assert any(torch.equal(image, frame) for frame in frames.values())

    @pytest.mark.parametrize("aside", ["neighbours", "pair"])
    def test_change_nothing_about_the_batches_to_come(self, aside: str) -> None:
        clip, how = MovingClip(), Augmentation()
        plain, asked = (
            ClipBatches(
                clip, {i: clip.mask(i) for i in (0, 6)}, 3, flow=DISFlow(), max_pixels=48 * 64,
                augmentation=how, rng=np.random.default_rng(2),
            )
            for _ in range(2)
        )  # fmt: skip
        for _ in range(3):
            first, second = plain.batch(2), asked.batch(2)
            assert torch.equal(first.images, second.images)
            if aside == "pair":
                asked.pair()
            else:
                asked.neighbours(second)

    def test_go_on_as_from_where_chance_stood(self) -> None:
        clip = MovingClip()
        batches = ClipBatches(
            clip, {0: clip.mask(0)}, 3, flow=DISFlow(), max_pixels=48 * 64,
            augmentation=Augmentation(), rng=np.random.default_rng(2),
        )  # fmt: skip
        batches.pair()
        stood = batches.chance()
        first = batches.pair()
        batches.set_chance(stood)
        second = batches.pair()
        assert first is not None
        assert second is not None
        assert torch.equal(first.images, second.images)

    @pytest.mark.parametrize("aside", ["neighbours", "pair"])
    def test_take_the_flow_that_labels_were_carried_along(self, aside: str) -> None:
        clip, store = MovingClip(), FlowStore(DISFlow())
        batches = ClipBatches(
            clip, {0: clip.mask(0), 6: clip.mask(6)}, 3, flow=store, max_pixels=48 * 64,
            augmentation=_STILL, rng=np.random.default_rng(2),
        )  # fmt: skip
        batches.carry_labels(100, lambda: False)
        carried = store.misses
        for _ in range(6):
            if aside == "pair":
                batches.pair()
            else:
                batches.neighbours(batches.batch(2, carried=0.5))
        assert store.misses == carried == 11

    def test_one_frame_has_none(self) -> None:
        batches = _batches(MovingClip(frames=1))
        assert batches.neighbours(batches.batch(1)) is None


class TestPair:
    def test_flow_joins_the_two_frames(self) -> None:
        batches = _batches(MovingClip())
        for _ in range(4):
            pair = batches.pair()
            assert pair is not None
            assert pair.images.shape == (2, 3, 48, 64)
            assert pair.forward.shape == pair.backward.shape == (1, 48, 64, 2)
            assert pair.seen_forward.dtype == torch.bool
            assert float(pair.seen_backward.float().mean()) > 0.5

    def test_both_move_alike_and_the_flow_with_them(self) -> None:
        """A strong change: the second frame, looked up along the flow, is still the first."""
        how = Augmentation(flip=1.0, scale=(0.7, 0.7), rotation=20.0, shift=0.1, colour=0.0)
        clip = MovingClip()
        batches = ClipBatches(
            clip, {0: clip.mask(0)}, 3, flow=DISFlow(), max_pixels=48 * 64, augmentation=how,
            rng=np.random.default_rng(1),
        )  # fmt: skip
        for _ in range(3):
            pair = batches.pair()
            assert pair is not None
            seen = pair.seen_forward[0]
            assert 0.2 < float(seen.float().mean()) < 0.8
            moves = seen & (pair.forward[0].norm(dim=-1) > 0.7)
            still = torch.zeros_like(pair.forward)
            along, stays = (
                (warp(pair.images[1:], flow) - pair.images[:1]).abs().mean(dim=1)[0][moves].mean()
                for flow in (pair.forward, still)
            )
            assert along < 0.8 * stays

    def test_each_has_colours_of_its_own(self) -> None:
        clip = MovingClip(frames=2)
        how = Augmentation(scale=(1.0, 1.0), rotation=0.0, shift=0.0, colour=0.2)
        batches = ClipBatches(
            clip, {0: clip.mask(0)}, 3, flow=DISFlow(), max_pixels=48 * 64, augmentation=how,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        pair = batches.pair()
        assert pair is not None
        gains = pair.images.mean(dim=(2, 3)) / to_tensor(clip.read(0)).mean(dim=(1, 2))
        assert float((gains[0] - gains[1]).abs().max()) > 0.02

    def test_is_the_same_the_second_time(self) -> None:
        clip = MovingClip(frames=2)
        batches = _batches(clip)
        first, second = batches.pair(), batches.pair()
        assert first is not None
        assert second is not None
        assert torch.equal(first.forward, second.forward)
        assert torch.equal(first.images, second.images)

    def test_one_frame_has_no_neighbour(self) -> None:
        assert _batches(MovingClip(frames=1)).pair() is None


def test_frames_are_kept_only_as_far_as_memory_goes() -> None:
    clip = MovingClip(frames=10)
    batches = _batches(clip, memory=3 * clip.width * clip.height * 3)
    for index in (1, 2, 3, 3, 1, 2):
        batches.frame(index)
    assert clip.reads[-3:] == [1, 2, 3]
    for index in (4, 1, 3):
        batches.frame(index)
    assert clip.reads[-2:] == [4, 3]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "at least one labelled pixel"),
        ({0: np.full((48, 64), 255, np.uint8)}, "at least one labelled pixel"),
        ({12: np.zeros((48, 64), np.uint8)}, "frame 12 is labelled.* 0 to 11"),
        ({2: np.zeros((8, 8), np.uint8)}, r"mask of frame 2 .*got uint8 \(8, 8\)"),
        ({2: np.zeros((48, 64), np.int64)}, r"mask of frame 2 .*got int64"),
        ({1: np.full((48, 64), 3, np.uint8)}, "frame 1 names class 3, but there are 3 classes"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: dict[int, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _batches(MovingClip(), labels)


def test_class_shares_are_of_labelled_pixels() -> None:
    mask = np.full((48, 64), 255, np.uint8)
    mask[0, :10], mask[1, :30] = 0, 2
    assert _batches(MovingClip(), {0: mask}).class_shares(3).tolist() == [0.25, 0.0, 0.75]


@pytest.mark.usefixtures("hasty_threads")
def test_several_threads_keep_frames_while_others_are_dropped() -> None:
    """Labels are carried over in two threads, which have what is kept of the frames in common."""
    for _ in range(20):
        shelf = module._Shelf(200)

        def read(key: int, shelf: module._Shelf = shelf) -> None:
            if shelf.get(key) is None:
                shelf.put(key, np.zeros(60, np.uint8))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read, [number % 5 for number in range(3000)]))
        kept = [shelf.get(key) for key in range(5)]
        assert shelf._bytes == sum(arrays[0].nbytes for arrays in kept if arrays) <= 200


def test_a_frame_kept_again_takes_its_room_once() -> None:
    shelf = module._Shelf(100)
    for _ in range(3):
        shelf.put(1, np.zeros(60, np.uint8))
    shelf.put(2, np.zeros(40, np.uint8))
    assert shelf.get(1) is not None
    assert shelf.get(2) is not None
