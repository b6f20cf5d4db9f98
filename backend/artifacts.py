"""Masks, labels, networks and small records on disk; written beside and renamed into place."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["ArtifactError", "Artifacts", "folder_name"]


class ArtifactError(RuntimeError):
    """A file that should be there is missing or damaged."""


def folder_name(clip: str) -> str:
    """A safe, unique folder name for a clip: readable characters and a digest."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", clip).strip("-")[:40] or "clip"
    return f"{readable}-{hashlib.sha256(clip.encode()).hexdigest()[:8]}"


class Artifacts:
    """Files of rounds, named by relative keys such as ``3/rounds/maskloop-r1-ab12cd/labels/7.png``.

    Args:
        root: Folder that holds everything.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def round_key(project_id: int, version: str) -> str:
        """Key of a round's folder."""
        return f"{project_id}/rounds/{version}"

    def path(self, key: str) -> Path:
        """Where a key's file is.

        Raises:
            ArtifactError: When the key leads out of the folder.
        """
        path = (self.root / key).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise ArtifactError(f"The artifact key {key!r} leads out of the artifacts' folder.")
        return path

    def exists(self, key: str) -> bool:
        """Whether the file is there."""
        return self.path(key).is_file()

    def write_mask(self, key: str, mask: npt.NDArray[np.uint8]) -> None:
        """Store a mask (H, W) uint8 as a PNG."""
        done, data = cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        if not done:
            raise ArtifactError(f"The mask {key} of shape {mask.shape} could not be encoded.")
        self._replace(key, data.tobytes())

    def read_mask(self, key: str) -> npt.NDArray[np.uint8]:
        """A stored mask (H, W) uint8.

        Raises:
            ArtifactError: When the file is missing or damaged.
        """
        path = self.path(key)
        if not path.is_file():
            raise ArtifactError(f"The mask {key} is missing from {self.root}.")
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:
            raise ArtifactError(f"The mask {key} in {self.root} is damaged.")
        return np.asarray(mask, dtype=np.uint8)

    def write_record(self, key: str, record: dict[str, Any]) -> None:
        """Store a JSON object."""
        self._replace(key, json.dumps(record).encode())

    def read_record(self, key: str) -> dict[str, Any]:
        """A stored JSON object.

        Raises:
            ArtifactError: When the file is missing or damaged.
        """
        try:
            record = json.loads(self.path(key).read_bytes())
        except FileNotFoundError:
            raise ArtifactError(f"The record {key} is missing from {self.root}.") from None
        except ValueError:
            raise ArtifactError(f"The record {key} in {self.root} is damaged.") from None
        if not isinstance(record, dict):
            raise ArtifactError(f"The record {key} in {self.root} is damaged.")
        return record

    def write_arrays(self, key: str, **arrays: npt.NDArray[Any]) -> None:
        """Store arrays by name."""
        with self._beside(key) as path, path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def read_arrays(self, key: str) -> dict[str, npt.NDArray[Any]]:
        """Stored arrays by name.

        Raises:
            ArtifactError: When the file is missing or damaged.
        """
        try:
            with self.path(key).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except FileNotFoundError:
            raise ArtifactError(f"The arrays {key} are missing from {self.root}.") from None
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
            raise ArtifactError(f"The arrays {key} in {self.root} are damaged: {error}") from None

    def reuse(self, key: str, earlier: str) -> None:
        """Give an earlier round's file a second name: a hard link where the disk can."""
        source = self.path(earlier)
        if not source.is_file():
            raise ArtifactError(f"The artifact {earlier} is missing from {self.root}.")
        with self._beside(key) as beside:
            beside.unlink()
            try:
                os.link(source, beside)
            except OSError:
                shutil.copyfile(source, beside)

    def remove(self, key: str) -> None:
        """Delete a file, if it is there."""
        self.path(key).unlink(missing_ok=True)

    def keep_rounds(self, project_id: int, versions: Iterable[str]) -> None:
        """Delete the folders of all rounds of a project but these."""
        folder = self.path(f"{project_id}/rounds")
        kept = set(versions)
        if folder.is_dir():
            for entry in folder.iterdir():
                if entry.name not in kept:
                    shutil.rmtree(entry, ignore_errors=True)

    def remove_project(self, project_id: int) -> None:
        """Delete all that was made for a project."""
        shutil.rmtree(self.path(str(project_id)), ignore_errors=True)

    @contextmanager
    def _beside(self, key: str) -> Iterator[Path]:
        """An empty temporary file in the folder of the key's file, which it becomes in the end.

        When writing fails it is removed: what is left of it would fill a full disk further.
        """
        folder = self.path(key).parent
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".writing-")
        os.close(handle)
        path = Path(name)
        try:
            yield path
            os.replace(path, self.path(key))
        finally:
            path.unlink(missing_ok=True)

    def _replace(self, key: str, data: bytes) -> None:
        with self._beside(key) as path:
            path.write_bytes(data)
