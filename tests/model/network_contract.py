"""What every network must do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.networks import Segmenter, build, class_rows


class NetworkContract:
    """What every network must do; a test class inherits it and names its network."""

    name: str
    max_parameters: int | None = None
    left_to_learn: float = 0.3
    """Share of the loss that 30 steps on one image may leave."""

    @pytest.fixture
    def network(self) -> Segmenter:
        torch.manual_seed(0)
        return self.make(3)

    def make(self, num_classes: int) -> Segmenter:
        return build(self.name, num_classes)

    def test_tells_its_name_and_classes(self, network: Segmenter) -> None:
        assert network.name == self.name
        assert network.num_classes == 3

    @pytest.mark.parametrize("size", [(64, 96), (45, 61), (33, 32)])
    def test_logits_have_the_size_of_the_image(
        self, network: Segmenter, size: tuple[int, int]
    ) -> None:
        logits = network.eval().logits(torch.rand(2, 3, *size))
        assert logits.shape == (2, 3, *size)
        assert logits.dtype == torch.float32
        assert torch.isfinite(logits).all()

    def test_logits_and_features_are_those_of_each_alone(self, network: Segmenter) -> None:
        images = torch.rand(1, 3, 45, 61)
        with torch.no_grad():
            logits, features = network.eval().logits_and_features(images)
            torch.testing.assert_close(logits, network.logits(images))
            torch.testing.assert_close(features, network.features(images))

    def test_features_do_not_depend_on_the_classes(self, network: Segmenter) -> None:
        images = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            before = network.eval().features(images)
            network.change_classes([0, None, 2, None])
            after = network.features(images)
        assert before.ndim == 4
        assert before.shape[0] == 2
        assert torch.equal(before, after)

    def test_an_image_is_scored_alike_alone_and_in_a_batch(self, network: Segmenter) -> None:
        images = torch.rand(3, 3, 48, 48)
        with torch.no_grad():
            together = network.eval().logits(images)
            alone = torch.cat([network.logits(image[None]) for image in images])
        assert torch.allclose(together, alone, atol=1e-4)

    def test_every_weight_learns(self, network: Segmenter) -> None:
        network.train()
        network.logits(torch.rand(2, 3, 64, 64)).square().mean().backward()
        without = [name for name, p in network.named_parameters() if p.grad is None]
        assert not without
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)

    def test_learns_one_image_by_heart(self, network: Segmenter) -> None:
        torch.manual_seed(1)
        image = torch.rand(1, 3, 32, 32) * 0.2
        image[:, 0, :, 16:] += 0.7
        labels = torch.zeros(1, 32, 32, dtype=torch.int64)
        labels[:, :, 16:] = 1
        network.train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
        losses = []
        for _ in range(30):
            loss = nn.functional.cross_entropy(network.logits(image), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < self.left_to_learn * losses[0]

    def test_classes_of_the_same_name_keep_what_they_learnt(self, network: Segmenter) -> None:
        images = torch.rand(1, 3, 48, 48)
        with torch.no_grad():
            before = network.eval().logits(images)
            network.change_classes(class_rows(["a", "b", "c"], ["c", "new", "a"]))
            after = network.logits(images)
        assert network.num_classes == 3
        assert torch.allclose(after[:, 0], before[:, 2], atol=1e-5)
        assert torch.allclose(after[:, 2], before[:, 0], atol=1e-5)
        assert not torch.allclose(after[:, 1], before[:, 1], atol=1e-5)

    @torch.no_grad()
    def test_scores_are_lowered_class_by_class_and_raised_again(self, network: Segmenter) -> None:
        images = torch.rand(1, 3, 48, 48)
        before = network.eval().logits(images)
        network.lower((0.5, 0.0, 0.25))
        network.lower((2.0, 0.0, -1.0))
        off = torch.tensor([2.0, 0.0, -1.0])[:, None, None]
        assert torch.allclose(network.logits(images), before - off, atol=1e-4)
        network.change_classes([2, None, 0])
        assert network.lowered == (-1.0, 0.0, 2.0)
        network.lower(())
        assert network.lowered == ()
        assert torch.allclose(network.logits(images)[:, [2, 0]], before[:, [0, 2]], atol=1e-4)

    def test_every_class_is_lowered_or_none(self, network: Segmenter) -> None:
        with pytest.raises(ValueError, match="2 values cannot lower 3 classes"):
            network.lower((1.0, 2.0))

    @pytest.mark.parametrize("rows", [[], [3], [-1, 0]])
    def test_refuses_classes_it_does_not_have(
        self, network: Segmenter, rows: list[int | None]
    ) -> None:
        with pytest.raises(ValueError, match="class"):
            network.change_classes(rows)

    def test_can_be_built_again_from_its_options(self, network: Segmenter) -> None:
        other = build(network.name, network.num_classes, **dict(network.options()))
        other.load_state_dict(network.state_dict())
        images = torch.rand(1, 3, 40, 56)
        with torch.no_grad():
            assert torch.equal(network.eval().logits(images), other.eval().logits(images))

    def test_is_the_same_for_the_same_seed(self, network: Segmenter) -> None:
        torch.manual_seed(0)
        again = self.make(3)
        for first, second in zip(network.parameters(), again.parameters(), strict=True):
            assert torch.equal(first, second)

    def test_is_small_enough(self, network: Segmenter) -> None:
        if self.max_parameters is not None:
            assert sum(p.numel() for p in network.parameters()) <= self.max_parameters

    def test_has_no_batch_statistics(self, network: Segmenter) -> None:
        """Batches of one or two frames are too small for them."""
        if self.name == "compact":
            assert not any(
                isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()
            )
