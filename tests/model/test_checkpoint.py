from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from model.networks import Segmenter, build

_WIDTHS = [8, 8, 8, 8]


@pytest.fixture
def network() -> Segmenter:
    torch.manual_seed(0)
    return build("compact", 3, widths=_WIDTHS)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("written") / "network.pt"
    torch.manual_seed(0)
    save_checkpoint(path, build("compact", 3, widths=_WIDTHS), {"round": 1})
    return path.read_bytes()


def test_what_is_saved_is_loaded(network: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "network.pt"
    save_checkpoint(path, network, {"class_names": ["a", "b", "c"], "round": 2})
    loaded, metadata = load_checkpoint(path)
    assert metadata == {"class_names": ["a", "b", "c"], "round": 2}
    assert loaded.name == "compact"
    assert not loaded.training
    images = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        assert torch.equal(network.eval().logits(images), loaded.logits(images))


def test_what_biases_carry_is_kept(network: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    network.lower((1.0, 0.0, -0.5))
    save_checkpoint(path, network)
    loaded, _ = load_checkpoint(path)
    assert loaded.lowered == (1.0, 0.0, -0.5)
    network.lower(())
    loaded.lower(())
    for ours, theirs in zip(network.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("lowered", "loads"), [(None, True), ([1.0, 2.0], False)])
def test_files_from_before_biases_carried_anything(
    lowered: list[float] | None, loads: bool, network: Segmenter, tmp_path: Path
) -> None:
    path = tmp_path / "network.pt"
    save_checkpoint(path, network)
    content = torch.load(path, weights_only=True)
    del content["lowered"]
    torch.save(content if lowered is None else {**content, "lowered": lowered}, path)
    if loads:
        assert load_checkpoint(path)[0].lowered == ()
    else:
        with pytest.raises(CheckpointError, match="does not hold a network"):
            load_checkpoint(path)


def test_nothing_but_the_file_is_left(network: Segmenter, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "network.pt", network)
    save_checkpoint(tmp_path / "network.pt", network)
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt"]


def test_a_failed_save_leaves_the_old_file(
    network: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "network.pt"
    save_checkpoint(path, network, {"round": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"network\.pt: cannot be written .*No space left"):
        save_checkpoint(path, network, {"round": 2})
    assert load_checkpoint(path)[1] == {"round": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_metadata_must_be_json(network: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="metadata must be JSON"):
        save_checkpoint(tmp_path / "network.pt", network, {"when": object()})
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pt: there is no such checkpoint"):
        load_checkpoint(tmp_path / "nowhere.pt")


@pytest.mark.parametrize("content", [b"", b"PK", b"nonsense" * 100])
def test_what_is_no_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.pt: is damaged"):
        load_checkpoint(path)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_file_is_named_or_harmless(
    written: bytes, data: st.DataObject, tmp_path: Path
) -> None:
    """Cut off or changed anywhere: a CheckpointError, or the very network that was saved."""
    content = bytearray(written)
    if data.draw(st.booleans(), label="cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), label="length")]
    else:
        place = data.draw(st.integers(0, len(content) - 1), label="place")
        content[place] ^= data.draw(st.integers(1, 255), label="change")
    path = tmp_path / "damaged.pt"
    path.write_bytes(bytes(content))
    try:
        network, metadata = load_checkpoint(path)
    except CheckpointError as error:
        if "damaged.pt" not in str(error):
            raise
        return
    torch.manual_seed(0)
    expected = build("compact", 3, widths=_WIDTHS)
    assert metadata == {"round": 1}
    for first, second in zip(network.parameters(), expected.parameters(), strict=True):
        assert torch.equal(first, second)


def _content(segmenter: Segmenter, **changes: object) -> dict[str, object]:
    return {
        "format": 1,
        "network": "compact",
        "num_classes": 3,
        "options": '{"widths": [8, 8, 8, 8]}',
        "state": segmenter.state_dict(),
        "metadata": "{}",
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "is of format 2, and this version reads 1"),
        ({"network": "gone"}, "there is no network named 'gone'"),
        ({"num_classes": 4}, "does not hold a network"),
        ({"options": '{"widths": [8, 8, 8, 16]}'}, "does not hold a network"),
        ({"options": "{"}, "does not hold a network"),
        ({"state": {}}, "does not hold a network"),
    ],
)
def test_content_that_does_not_fit_is_named(
    network: Segmenter, changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.pt"
    torch.save(_content(network, **changes), path)
    with pytest.raises(CheckpointError, match=rf"other\.pt: {message}"):
        load_checkpoint(path)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "pwned"),)  # type: ignore[return-value]

    path = tmp_path / "evil.pt"
    torch.save({"format": 1, "metadata": Evil()}, path)
    with pytest.raises(CheckpointError, match=r"evil\.pt"):
        load_checkpoint(path)
    assert not (tmp_path / "pwned").exists()
