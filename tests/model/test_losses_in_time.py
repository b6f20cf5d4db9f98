from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.losses import flicker, flow_consistency, temporal_overlap, warp


class TestWarp:
    def test_no_flow_changes_nothing(self) -> None:
        image = torch.rand(2, 3, 5, 7)
        assert torch.allclose(warp(image, torch.zeros(2, 5, 7, 2)), image, atol=1e-5)

    def test_whole_pixels_are_looked_up_x_first(self) -> None:
        image = torch.arange(12.0).reshape(1, 1, 3, 4)
        flow = torch.zeros(1, 3, 4, 2)
        flow[..., 0] = 1.0
        warped = warp(image, flow)
        assert torch.allclose(warped[..., :3], image[..., 1:], atol=1e-4)
        assert torch.allclose(warped[..., 3], image[..., 3], atol=1e-4)

    def test_one_row_is_an_image(self) -> None:
        assert torch.isfinite(warp(torch.rand(1, 2, 1, 4), torch.zeros(1, 1, 4, 2))).all()


def _shifted(pixels: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Probabilities that move right by `pixels`, the flow that says so, and who is in sight."""
    before = torch.rand(1, 3, 6, 12, generator=torch.Generator().manual_seed(2)).softmax(1)
    after = before.roll(pixels, dims=3)
    forward = torch.zeros(1, 6, 12, 2)
    forward[..., 0] = pixels
    seen_forward = torch.ones(1, 6, 12, dtype=torch.bool)
    seen_forward[..., 12 - pixels :] = False
    seen_backward = torch.ones(1, 6, 12, dtype=torch.bool)
    seen_backward[..., :pixels] = False
    return before, after, forward, -forward, seen_forward, seen_backward


class TestFlowConsistency:
    def test_what_moves_with_the_flow_is_consistent(self) -> None:
        assert float(flow_consistency(*_shifted(2))) == pytest.approx(0.0, abs=1e-8)

    def test_what_stays_behind_is_not(self) -> None:
        before, _, *rest = _shifted(2)
        assert float(flow_consistency(before, before, *rest)) > 1e-3

    def test_is_at_most_one(self) -> None:
        first = torch.zeros(1, 2, 3, 3)
        first[:, 0] = 1.0
        still, seen = torch.zeros(1, 3, 3, 2), torch.ones(1, 3, 3, dtype=torch.bool)
        loss = flow_consistency(first, first.flip(1), still, still, seen, seen)
        assert float(loss) == pytest.approx(1.0)

    def test_pixels_that_fail_the_check_do_not_count(self) -> None:
        before, after, forward, backward, seen_forward, seen_backward = _shifted(2)
        after = after.clone()
        after[:, :, 0, :2] = torch.tensor([1.0, 0.0, 0.0])[:, None]
        seen_backward[:, 0, :4] = False
        loss = flow_consistency(before, after, forward, backward, seen_forward, seen_backward)
        assert float(loss) == pytest.approx(0.0, abs=1e-8)

    def test_nothing_in_sight_is_zero_and_can_be_differentiated(self) -> None:
        before, after, forward, backward, *_ = _shifted(1)
        before = before.requires_grad_()
        unseen = torch.zeros(1, 6, 12, dtype=torch.bool)
        loss = flow_consistency(before, after, forward, backward, unseen, unseen)
        loss.backward()
        assert float(loss.detach()) == 0.0

    def test_is_symmetric_in_time(self) -> None:
        before, after, forward, backward, seen_forward, seen_backward = _shifted(2)
        after = after.roll(1, dims=2)
        there = flow_consistency(before, after, forward, backward, seen_forward, seen_backward)
        back = flow_consistency(after, before, backward, forward, seen_backward, seen_forward)
        assert torch.allclose(there, back)

    def test_teaches_both_frames(self) -> None:
        before, after, *rest = _shifted(2)
        before, after = before.clone().requires_grad_(), after.roll(1, 2).requires_grad_()
        flow_consistency(before, after, *rest).backward()
        assert before.grad is not None
        assert before.grad.any()
        assert after.grad is not None
        assert after.grad.any()


class TestTemporalOverlap:
    """Frames t and u of 6 × 12; t's pixels are found two to the right in u."""

    def _views(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        own = 9 * torch.randn(1, 3, 6, 12, generator=torch.Generator().manual_seed(2))
        flow = torch.zeros(1, 6, 12, 2)
        flow[..., 0] = 2
        seen = torch.ones(1, 6, 12, dtype=torch.bool)
        seen[..., 10:] = False
        return own, own.roll(2, dims=3), flow, seen

    def _no_labels(self) -> tuple[Tensor, Tensor]:
        return torch.full((1, 6, 12), 255), torch.zeros(1, 6, 12)

    def _thin(self, column: int) -> Tensor:
        """Surely background, class 0, with a thin thing, class 1, in two columns."""
        logits = torch.zeros(1, 2, 6, 12)
        logits[:, 0] = 20.0
        logits[..., column : column + 2] = logits[..., column : column + 2].flip(1)
        return logits

    @pytest.mark.parametrize("stride", [1, 2])
    def test_is_the_formula(self, stride: int) -> None:
        generator = torch.Generator().manual_seed(3)
        own, other = (9 * torch.randn(1, 3, 12, 24, generator=generator) for _ in range(2))
        labels = torch.randint(0, 3, (1, 12, 24), generator=generator)
        trust = torch.rand(1, 12, 24, generator=generator)
        labels[:, 0] = 255
        seen = torch.ones(1, 12, 24, dtype=torch.bool)
        seen[..., 20:] = False
        known, still = (labels, trust), torch.zeros(1, 12, 24, 2)
        loss = temporal_overlap(own, other, still, seen, known, rely=0.4, stride=stride)
        p, q = own.softmax(1)[0], other.softmax(1)[0]
        overlap, union, areas = (torch.zeros(3) for _ in range(3))
        for y in range(0, 12, stride):
            for x in range(0, 20, stride):
                told, label = q[:, y, x].clone(), int(labels[0, y, x])
                if label != 255:
                    share = 0.4 * float(trust[0, y, x])
                    told = (1 - share) * told + share * torch.eye(3)[label]
                overlap += p[:, y, x] * told
                union += p[:, y, x] + told - p[:, y, x] * told
                areas += told
        assert bool((areas > 10).all())
        apart = 1 - (overlap + 1) / (union + 1)
        assert float(loss) == pytest.approx(float(apart.square().mean()))

    @pytest.mark.parametrize("stride", [1, 2])
    def test_what_moves_with_the_flow_overlaps(self, stride: int) -> None:
        thin, seen = self._thin(4), torch.ones(1, 6, 12, dtype=torch.bool)
        flow = torch.zeros(1, 6, 12, 2)
        flow[..., 0] = 2
        along, stays = (
            float(temporal_overlap(thin, self._thin(6), each, seen, self._no_labels()))
            for each in (flow, torch.zeros_like(flow))
        )
        assert along == pytest.approx(0.0, abs=1e-3)
        assert stays > 0.5

    def test_small_classes_count_like_large_ones(self) -> None:
        """Of a sixth of the frame half flickers: that class's share counts in full, squared."""
        still, seen = torch.zeros(1, 6, 12, 2), torch.ones(1, 6, 12, dtype=torch.bool)
        loss = temporal_overlap(self._thin(4), self._thin(5), still, seen, self._no_labels())
        background, thing = 1 - (54 + 1) / (66 + 1), 1 - (6 + 1) / (18 + 1)
        assert float(loss) == pytest.approx((background**2 + thing**2) / 2, abs=1e-4)

    def test_draws_to_what_was_there_and_to_what_is_labelled(self) -> None:
        """Where nothing is known, the frame beside decides; labels do as far as trusted."""
        still, seen = torch.zeros(1, 6, 12, 2), torch.ones(1, 6, 12, dtype=torch.bool)
        told, pulls = self._thin(4), []
        for trust in (0.0, 0.5, 1.0):
            logits = torch.zeros(1, 2, 6, 12, requires_grad=True)
            labels = torch.zeros(1, 6, 12, dtype=torch.int64)
            labels[..., 8:10] = 1
            known = (labels, torch.full((1, 6, 12), trust))
            temporal_overlap(logits, told, still, seen, known, rely=1.0).backward()
            assert logits.grad is not None
            pulls.append(-logits.grad[0, 1].mean(dim=0))
        assert pulls[0][4] > 0 > pulls[0][8]
        assert pulls[2][8] > 0 > pulls[2][4]
        assert pulls[0][8] < pulls[1][8] < pulls[2][8]

    def test_is_taught_by_the_frame_beside_and_teaches_it_nothing(self) -> None:
        own, other, flow, seen = self._views()
        other = other.flip(1).requires_grad_()
        own = own.requires_grad_()
        temporal_overlap(own, other, flow, seen, self._no_labels()).backward()
        assert own.grad is not None
        assert own.grad.any()
        assert not own.grad[~seen[:, None].expand_as(own)].any()
        assert other.grad is None

    def test_nothing_in_sight_is_zero_and_can_be_differentiated(self) -> None:
        own, other, flow, seen = self._views()
        own = own.requires_grad_()
        loss = temporal_overlap(own, other, flow, torch.zeros_like(seen), self._no_labels())
        loss.backward()
        assert float(loss.detach()) == 0.0
        assert own.grad is not None
        assert not own.grad.any()


class TestFlicker:
    """Frames of 8 × 16: class 1 in some columns, class 0 elsewhere."""

    _SEEN = torch.ones(1, 8, 16, dtype=torch.bool)

    def _bar(self, start: int, stop: int, sure: float = 3.0) -> Tensor:
        logits = torch.zeros(1, 2, 8, 16)
        logits[:, 0] = sure
        logits[..., start:stop] = logits[..., start:stop].flip(1)
        return logits

    def _flow(self, x: float) -> Tensor:
        flow = torch.zeros(1, 8, 16, 2)
        flow[..., 0] = x
        return flow

    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("move", [0.0, 2.0, 2.4, 3.0])
    def test_what_keeps_its_class_is_asked_nothing(self, stride: int, move: float) -> None:
        """A pixel around the flow's end is enough, however unsure all are."""
        own = self._bar(4, 8, 0.1).requires_grad_()
        beside = self._bar(4 + int(move), 8 + math.ceil(move), 0.2)
        seen = self._SEEN.clone()
        seen[..., 13:] = False
        loss = flicker(own, beside, self._flow(move), seen, stride=stride)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
        assert own.grad is not None
        assert not own.grad.any()

    def test_is_the_formula_where_classes_change(self) -> None:
        """Column 8 is said to be class 1 with p; beside it is class 0, and class 1 with q."""
        own, beside = self._bar(4, 9), self._bar(4, 8)
        loss = flicker(own, beside, self._flow(0.0), self._SEEN, little=0.1)
        p, q = float(torch.tensor(3.0).sigmoid()), float(torch.tensor(-3.0).sigmoid())
        first = (88 + 8 * (1 - p) * (1 - q), 88 + 8 * (1 - p * q))
        second = (32 + 8 * p * q, 32 + 8 * (p + q - p * q))
        apart = [1 - (overlap + 1) / (union + 1) for overlap, union in (first, second)]
        assert float(loss) == pytest.approx(0.1 * math.log(1 + sum(apart) / 2 / 0.1), abs=1e-5)

    def test_draws_to_the_frame_beside_and_teaches_it_nothing(self) -> None:
        own, beside = self._bar(4, 9).requires_grad_(), self._bar(4, 8).requires_grad_()
        flicker(own, beside, self._flow(0.0), self._SEEN).backward()
        assert beside.grad is None
        assert own.grad is not None
        pull = -own.grad[0, 1].sum(dim=0)
        assert pull[8] < 0
        assert not pull[:8].any()
        assert not pull[9:].any()

    def test_nothing_in_sight_is_zero_and_can_be_differentiated(self) -> None:
        own = self._bar(4, 9).requires_grad_()
        nothing = torch.zeros_like(self._SEEN)
        loss = flicker(own, self._bar(0, 3), self._flow(0.0), nothing)
        loss.backward()
        assert float(loss.detach()) == 0.0
        assert own.grad is not None
        assert not own.grad.any()
