from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model import devices
from model.devices import check_device, has_amx, images_on, network_on, precision
from model.inference import NetworkEvidence
from model.networks import build


@pytest.mark.parametrize(("units", "kind"), [(False, torch.float32), (True, torch.bfloat16)])
def test_a_processor_gets_bfloat16_where_it_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch, units: bool, kind: torch.dtype
) -> None:
    monkeypatch.setattr(devices, "has_amx", lambda: units)
    images = torch.rand(2, 3, 8, 8)
    assert images_on(images, torch.device("cpu")) is images
    with precision(torch.device("cpu")):
        assert (torch.rand(4, 4) @ torch.rand(4, 4)).dtype == kind


def test_in_bfloat16_the_finest_maps_and_sums_stay_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_amx", lambda: True)
    network = build("compact", 3)
    kinds: dict[str, torch.dtype] = {}
    for name in ("stem", "stages.0.0", "stages.1.1", "stages.2.2.second", "fuses.0", "fuses.2"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: kinds.update({name: out.dtype})
        )
    with precision(torch.device("cpu")):
        network.logits(torch.rand(1, 3, 32, 32))
    exact = {name for name, kind in kinds.items() if kind == torch.float32}
    assert exact == {"stem", "stages.1.1", "fuses.2"}
    assert {kind for name, kind in kinds.items() if name not in exact} == {torch.bfloat16}


def test_bfloat16_says_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores stay float32, and probabilities are those of float32 within a few hundredths."""
    torch.manual_seed(0)
    network = build("compact", 3)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    said = []
    for units in (False, True):
        monkeypatch.setattr(devices, "has_amx", lambda units=units: units)
        said.append(NetworkEvidence(network)(0, image))
        with precision(torch.device("cpu")):
            assert network.logits(torch.rand(1, 3, 16, 16)).dtype == torch.float32
    assert not np.array_equal(*said)
    assert np.abs(said[0] - said[1]).max() < 0.05


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 avx512_fp16 amx_tile amx_int8\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16\n", False),
        ("flags\t\t: fpu amx_tile\n", False),
        ("bugs\t\t: amx_bf16 amx_tile\n", False),
        ("", False),
        (None, False),
    ],
)
def test_what_the_system_says_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, expected: bool
) -> None:
    told = tmp_path / "cpuinfo"
    if text is not None:
        told.write_text(text)
    monkeypatch.setattr(devices, "_CPUINFO", told)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert has_amx.__wrapped__() is expected
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not has_amx.__wrapped__()


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
