from __future__ import annotations

import errno

import numpy as np
import pytest

from backend.artifacts import ArtifactError, Artifacts, folder_name
from backend.roundfiles import ClipRecord, RoundFiles


@pytest.fixture
def artifacts(tmp_path) -> Artifacts:
    return Artifacts(tmp_path / "projects")


def test_a_mask_comes_back_as_it_was(artifacts: Artifacts) -> None:
    mask = np.random.default_rng(0).integers(0, 256, (17, 23), dtype=np.uint8)
    artifacts.write_mask("1/m.png", mask)
    np.testing.assert_array_equal(artifacts.read_mask("1/m.png"), mask)


def test_nothing_half_written_is_left_beside(artifacts: Artifacts) -> None:
    artifacts.write_mask("1/m.png", np.zeros((4, 4), np.uint8))
    artifacts.write_record("1/r.json", {"a": 1})
    names = {path.name for path in artifacts.path("1/m.png").parent.iterdir()}
    assert names == {"m.png", "r.json"}


def test_what_a_full_disk_cuts_off_does_not_fill_it_further(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **values: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    artifacts.write_mask("1/m.png", np.zeros((4, 4), np.uint8))
    monkeypatch.setattr("backend.artifacts.os.replace", full)
    monkeypatch.setattr("backend.artifacts.np.savez", full)
    for write in (
        lambda: artifacts.write_mask("1/n.png", np.zeros((4, 4), np.uint8)),
        lambda: artifacts.write_arrays("1/a.npz", a=np.zeros(3)),
        lambda: artifacts.reuse("1/n.png", "1/m.png"),
    ):
        with pytest.raises(OSError, match="No space left"):
            write()
    assert [path.name for path in artifacts.path("1/m.png").parent.iterdir()] == ["m.png"]


@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04 cut off"])
def test_damaged_arrays_are_named(artifacts: Artifacts, content: bytes) -> None:
    path = artifacts.path("1/a.npz")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"1/a\.npz .* damaged"):
        artifacts.read_arrays("1/a.npz")


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_damaged_mask_is_named(artifacts: Artifacts, content: bytes) -> None:
    path = artifacts.path("1/m.png")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"1/m\.png"):
        artifacts.read_mask("1/m.png")


def test_a_missing_file_is_named(artifacts: Artifacts) -> None:
    with pytest.raises(ArtifactError, match=r"x/y\.json is missing"):
        artifacts.read_record("x/y.json")


def test_a_key_cannot_lead_out(artifacts: Artifacts) -> None:
    with pytest.raises(ArtifactError, match="leads out"):
        artifacts.path("../../etc/passwd")


def test_reuse_survives_the_end_of_the_earlier_round(artifacts: Artifacts) -> None:
    old = RoundFiles(artifacts, 1, "v0")
    new = RoundFiles(artifacts, 1, "v1")
    mask = np.full((3, 3), 2, np.uint8)
    artifacts.write_mask(old.mask_key(5), mask)
    nothing = np.full((1, 2), np.nan)
    features = np.ones((1, 2), np.float32)
    record = ClipRecord(np.ones(1), features, nothing, True, np.ones(1), {"held_out": {"3": 0.9}})
    old.write_record("clip", record)
    new.reuse_clip(old, "clip", [5, 6])
    artifacts.keep_rounds(1, ["v1"])
    np.testing.assert_array_equal(artifacts.read_mask(new.mask_key(5)), mask)
    assert new.read_record("clip").has_masks
    assert new.read_record("clip").findings == {"held_out": {"3": 0.9}}
    assert not artifacts.exists(old.mask_key(5))


def test_overwriting_a_reused_mask_leaves_the_earlier_one(artifacts: Artifacts) -> None:
    old, new = RoundFiles(artifacts, 1, "v0"), RoundFiles(artifacts, 1, "v1")
    artifacts.write_mask(old.mask_key(5), np.zeros((3, 3), np.uint8))
    new.reuse_masks(old, [5])
    artifacts.write_mask(new.mask_key(5), np.ones((3, 3), np.uint8))
    assert artifacts.read_mask(old.mask_key(5)).max() == 0


def test_folder_names_are_safe_and_distinct() -> None:
    names = ["a/b", "a\\b", "a b", "..", "", "ä", "x" * 500, "X" * 500]
    folders = [folder_name(name) for name in names]
    assert len(set(folders)) == len(names)
    for folder in folders:
        assert len(folder) < 60
        assert folder.isascii()
        assert not set(folder) & set("/\\. ")
