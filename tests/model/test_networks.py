from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.devices import precision
from model.networks import (
    NETWORKS,
    NetworkError,
    Segmenter,
    build,
    class_rows,
    register_network,
    registry,
)
from tests.model.network_contract import NetworkContract


class TestCompact(NetworkContract):
    name = "compact"
    max_parameters = 3_000_000

    def test_one_pixel_is_an_image(self, network: Segmenter) -> None:
        assert network.eval().logits(torch.rand(1, 3, 1, 1)).shape == (1, 3, 1, 1)

    @pytest.mark.parametrize("size", [(33, 1), (48, 3), (48, 5), (48, 8), (200, 16)])
    def test_narrow_images_have_the_same_scores_whatever_lies_in_memory(
        self, network: Segmenter, size: tuple[int, int]
    ) -> None:
        """In bfloat16 they had not, on processors that have it."""
        images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), precision(torch.device("cpu")):
            expected = network.logits(images)
            for _ in range(10):
                for count in (400, 2000, 20_000):
                    torch.full((count,), float("nan"), dtype=torch.bfloat16)
                assert torch.equal(network.logits(images), expected)
        assert torch.isfinite(expected).all()

    @pytest.mark.parametrize("widths", [(8, 16, 24), (8, 16, 24, 30), (0, 8, 8, 8)])
    def test_refuses_widths_that_do_not_fit(self, widths: Sequence[int]) -> None:
        with pytest.raises(ValueError, match="widths must be four multiples of 8"):
            build("compact", 2, widths=widths)


class _Flat(Segmenter):
    """Scores each pixel by its colour alone."""

    name = "flat"

    def __init__(self, num_classes: int, variant: str = "", **options: Any) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.variant = variant
        self.head = nn.Conv2d(3, num_classes, 1)

    def logits(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(images)
        return out

    def features(self, images: Tensor) -> Tensor:
        return images

    def classifiers(self) -> Sequence[tuple[nn.Module, str]]:
        return [(self, "head")]


class TestRegistry:
    @pytest.fixture(autouse=True)
    def own_networks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "NETWORKS", NETWORKS.copy())

    def test_a_registered_network_is_built_by_its_name(self) -> None:
        register_network("flat", _Flat)
        assert isinstance(build("flat", 2), _Flat)

    def test_what_follows_a_colon_is_the_variant(self) -> None:
        register_network("flat", _Flat)
        network = build("flat:a:b", 2)
        assert isinstance(network, _Flat)
        assert network.variant == "a:b"
        assert network.name == "flat:a:b"

    def test_an_installed_package_can_offer_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Point:
            name = "theirs"

            def load(self) -> type[_Flat]:
                return _Flat

        def entry_points(group: str) -> list[Point]:
            return [Point()] if group == "maskloop.networks" else []

        monkeypatch.setattr(registry, "entry_points", entry_points)
        assert isinstance(build("theirs", 4), _Flat)

    def test_an_unknown_name_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(NetworkError, match=r"'resnet'; the networks are .*compact"):
            build("resnet", 2)

    @pytest.mark.parametrize("name", ["compact", "a:b", ""])
    def test_a_name_that_is_taken_or_no_name_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="name"):
            register_network(name, _Flat)

    @pytest.mark.parametrize("num_classes", [0, -1])
    def test_no_class_is_refused(self, num_classes: int) -> None:
        with pytest.raises(NetworkError, match="at least one class"):
            build("compact", num_classes)

    def test_an_option_that_it_does_not_know_is_refused(self) -> None:
        with pytest.raises(NetworkError, match="depth"):
            build("compact", 2, depth=3)


def test_class_rows_match_by_name() -> None:
    assert class_rows(["a", "b"], ["b", "c", "a"]) == [1, None, 0]
