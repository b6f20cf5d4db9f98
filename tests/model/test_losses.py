from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.losses import bootstrapped_cross_entropy, cross_entropy, dice, weighted_cross_entropy


def _logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), requires_grad=True)


class TestCrossEntropy:
    def test_by_hand(self) -> None:
        logits = torch.tensor([[[[2.0]], [[0.0]], [[0.0]]]])
        labels = torch.zeros(1, 1, 1, dtype=torch.int64)
        expected = -math.log(math.exp(2) / (math.exp(2) + 2))
        assert float(cross_entropy(logits, labels)) == pytest.approx(expected, rel=1e-5)

    def test_only_labelled_pixels_count(self) -> None:
        logits = _logits(1, 3, 4, 4)
        labels = torch.randint(0, 3, (1, 4, 4), generator=torch.Generator().manual_seed(1))
        labels[:, :2] = 255
        part = cross_entropy(logits[:, :, 2:], labels[:, 2:])
        whole = cross_entropy(logits, labels)
        assert torch.allclose(whole, part)
        (gradient,) = torch.autograd.grad(whole, logits)
        assert not gradient[:, :, :2].any()
        assert gradient[:, :, 2:].any()

    @pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 3.0])])
    def test_nothing_labelled_is_zero_and_can_be_differentiated(
        self, weights: Tensor | None
    ) -> None:
        logits = _logits(2, 3, 4, 4)
        loss = cross_entropy(logits, torch.full((2, 4, 4), 255), weights)
        loss.backward()
        assert float(loss.detach()) == 0.0
        assert logits.grad is not None
        assert not logits.grad.any()

    def test_a_better_prediction_costs_less(self) -> None:
        labels = torch.zeros(1, 2, 2, dtype=torch.int64)
        worse, better = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
        better[:, 0] = 1.0
        assert cross_entropy(better, labels) < cross_entropy(worse, labels)

    def test_weights_shift_what_counts(self) -> None:
        logits = torch.tensor([[[[3.0, 3.0]], [[0.0, 0.0]]]])
        labels = torch.tensor([[[0, 1]]])
        plain = cross_entropy(logits, labels)
        heavy = cross_entropy(logits, labels, torch.tensor([1.0, 9.0]))
        assert heavy > plain

    def test_equal_weights_change_nothing(self) -> None:
        logits, labels = _logits(1, 3, 4, 4), torch.ones(1, 4, 4, dtype=torch.int64)
        weighted = cross_entropy(logits, labels, torch.full((3,), 7.0))
        assert torch.allclose(weighted, cross_entropy(logits, labels))


class TestWeightedCrossEntropy:
    @pytest.mark.parametrize("classes", [None, torch.tensor([1.0, 2.0, 3.0])])
    def test_full_weight_is_the_plain_loss(self, classes: Tensor | None) -> None:
        logits = _logits(2, 3, 4, 4)
        labels = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(1))
        labels[0, 0] = 255
        weighted = weighted_cross_entropy(logits, labels, torch.ones(2, 4, 4), classes)
        assert torch.allclose(weighted, cross_entropy(logits, labels, classes))

    def test_untrusted_labels_do_not_count(self) -> None:
        logits = _logits(1, 3, 4, 4)
        labels = torch.zeros(1, 4, 4, dtype=torch.int64)
        weights = torch.ones(1, 4, 4)
        weights[:, 2:] = 0
        part = cross_entropy(logits[:, :, :2], labels[:, :2])
        assert torch.allclose(weighted_cross_entropy(logits, labels, weights), part)

    def test_nothing_trusted_is_zero_and_can_be_differentiated(self) -> None:
        logits = _logits(1, 3, 2, 2)
        labels = torch.zeros(1, 2, 2, dtype=torch.int64)
        loss = weighted_cross_entropy(logits, labels, torch.zeros(1, 2, 2))
        loss.backward()
        assert float(loss.detach()) == 0.0


class TestBootstrappedCrossEntropy:
    def test_all_pixels_are_the_plain_loss(self) -> None:
        logits = _logits(2, 3, 4, 4)
        labels = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(1))
        labels[1, 2] = 255
        assert torch.allclose(
            bootstrapped_cross_entropy(logits, labels, 1.0), cross_entropy(logits, labels)
        )

    def test_the_fewer_the_harder(self) -> None:
        logits = _logits(1, 3, 8, 8)
        labels = torch.zeros(1, 8, 8, dtype=torch.int64)
        losses = [bootstrapped_cross_entropy(logits, labels, share) for share in (1, 0.5, 0.15)]
        assert losses[0] < losses[1] < losses[2]

    def test_easy_pixels_teach_nothing(self) -> None:
        logits = torch.zeros(1, 2, 1, 4)
        logits[:, 0] = torch.tensor([9.0, 8.0, -1.0, 7.0])
        logits.requires_grad_()
        labels = torch.zeros(1, 1, 4, dtype=torch.int64)
        bootstrapped_cross_entropy(logits, labels, 0.25).backward()
        assert logits.grad is not None
        assert logits.grad.abs().sum(dim=1).gt(0).tolist() == [[[False, False, True, False]]]

    def test_nothing_labelled_is_zero_and_can_be_differentiated(self) -> None:
        logits = _logits(1, 3, 2, 2)
        loss = bootstrapped_cross_entropy(logits, torch.full((1, 2, 2), 255), 0.5)
        loss.backward()
        assert float(loss.detach()) == 0.0

    @pytest.mark.parametrize("share", [0.0, -0.5, 1.1, math.nan])
    def test_a_share_that_is_none_is_refused(self, share: float) -> None:
        with pytest.raises(ValueError, match="above 0, to 1"):
            bootstrapped_cross_entropy(_logits(1, 2, 2, 2), torch.zeros(1, 2, 2).long(), share)

    def test_labels_that_are_not_trusted_are_not_hard(self) -> None:
        logits, labels = _logits(1, 3, 4, 4), torch.ones(1, 4, 4).long()
        hardest = logits.log_softmax(dim=1)[0, 1].argmin()
        weights = torch.ones(1, 4, 4)
        weights.view(-1)[hardest] = 0.0
        share = 1 / 16
        trusting = bootstrapped_cross_entropy(logits, labels, share)
        doubting = bootstrapped_cross_entropy(logits, labels, share, weights)
        assert float(doubting.detach()) < float(trusting.detach())

    def test_a_class_counts_by_its_weight(self) -> None:
        logits, labels = _logits(1, 3, 4, 4), torch.ones(1, 4, 4).long()
        plain = bootstrapped_cross_entropy(logits, labels, 0.5)
        heavy = torch.tensor([1.0, 3.0, 1.0])
        weighted = bootstrapped_cross_entropy(logits, labels, 0.5, class_weights=heavy)
        assert torch.allclose(weighted, 3 * plain)


class TestDice:
    def test_by_hand(self) -> None:
        """Two pixels, p(0) = 0.5 each, labelled 0 and 1: Dice 2 · 0.5 / (1 + 1) for both."""
        assert float(dice(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))) == pytest.approx(0.5)

    def test_a_perfect_prediction_costs_nothing(self) -> None:
        labels = torch.tensor([[[0, 1], [2, 0]]])
        logits = 50.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2)
        assert float(dice(logits, labels)) == pytest.approx(0.0, abs=1e-6)

    def test_small_things_count_as_much_as_large_ones(self) -> None:
        labels = torch.zeros(1, 10, 10, dtype=torch.int64)
        labels[0, 0, 0] = 1
        logits = torch.zeros(1, 2, 10, 10)
        logits[:, 0] = 20.0
        assert float(dice(logits, labels)) == pytest.approx(0.5, abs=0.01)
        assert float(cross_entropy(logits / 10, labels)) < 0.2

    def test_what_is_not_labelled_does_not_count(self) -> None:
        logits, labels = _logits(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
        labels[:, 2:] = 255
        assert torch.allclose(dice(logits, labels), dice(logits[:, :, :2], labels[:, :2]))

    def test_nothing_labelled_is_zero_and_can_be_differentiated(self) -> None:
        logits = _logits(1, 3, 2, 2)
        loss = dice(logits, torch.full((1, 2, 2), 255))
        loss.backward()
        assert float(loss.detach()) == 0.0
