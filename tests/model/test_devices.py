from __future__ import annotations

import pytest
import torch

from model.devices import check_device, images_on, network_on, precision
from model.networks import build


def test_on_a_processor_nothing_changes() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert images_on(images, torch.device("cpu")) is images
    with precision(torch.device("cpu")):
        assert (torch.rand(4, 4) @ torch.rand(4, 4)).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_on_cuda_channels_go_last_and_products_are_bfloat16() -> None:
    device = torch.device("cuda")
    network = network_on(build("compact", 3), device)
    images = images_on(torch.rand(2, 3, 32, 32), device)
    assert images.is_contiguous(memory_format=torch.channels_last)
    with precision(device):
        logits = network.logits(images)
    expected = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    assert logits.dtype == expected


class _Cuda:
    """Stands in for a CUDA device where there is none."""

    type = "cuda"


def test_cuda_gets_bfloat16_where_the_card_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, torch.dtype, bool]] = []

    def autocast(kind: str, dtype: torch.dtype, enabled: bool) -> None:
        asked.append((kind, dtype, enabled))

    monkeypatch.setattr(torch, "autocast", autocast)
    for known in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda known=known: known)
        precision(_Cuda())  # type: ignore[arg-type]
    assert asked == [("cuda", torch.bfloat16, True), ("cuda", torch.bfloat16, False)]


def test_the_processor_is_always_there() -> None:
    assert check_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "CPU", "cuda:", "cuda:x", "cuda:-1", "meta", "cpu:0"])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be cpu, cuda, or cuda:1 and so on, not"):
        check_device(name)


@pytest.mark.parametrize(
    ("built", "cards", "name", "message"),
    [
        (None, 0, "cuda", "built without CUDA; use cpu, or install"),
        ("12.4", 0, "cuda", "finds no CUDA card; check that nvidia-smi lists one"),
        ("12.4", 1, "cuda:1", "the cards here are cuda:0$"),
        ("12.4", 2, "cuda:7", "the cards here are cuda:0, cuda:1$"),
    ],
)
def test_cuda_that_is_not_there_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, built: str | None, cards: int, name: str, message: str
) -> None:
    _pretend(monkeypatch, built, cards)
    with pytest.raises(ValueError, match=message):
        check_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1"])
def test_cards_that_are_there_are_taken(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _pretend(monkeypatch, "12.4", 2)
    assert check_device(name) == torch.device(name)


def _pretend(monkeypatch: pytest.MonkeyPatch, built: str | None, cards: int) -> None:
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
