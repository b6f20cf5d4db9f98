"""The files of one round: where each lies, how it is written and read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.artifacts import ArtifactError, Artifacts, folder_name
from backend.snapshot import Snapshot

__all__ = ["ClipRecord", "RoundFiles"]


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """What propagation found out about a clip's N frames.

    Attributes:
        uncertainty: (N,) float64, 0..1; 1 before the clip has a label.
        features: (N, C) float32.
        confidences: (N, K) float64, mean confidence of each class's region; NaN where absent.
        has_masks: Whether the clip's frames have masks.
        quality: (N,) float64, the mIoU to expect of each frame; NaN where nothing is known.
        findings: What the reverse test found out about the clip; see `backend.quality`.
    """

    uncertainty: npt.NDArray[np.float64]
    features: npt.NDArray[np.float32]
    confidences: npt.NDArray[np.float64]
    has_masks: bool
    quality: npt.NDArray[np.float64]
    findings: dict[str, Any]

    @classmethod
    def unknown(cls, frames: int, classes: int) -> ClipRecord:
        """Of a clip of which nothing could be found out."""
        nothing = np.full(frames, np.nan)
        features = np.zeros((frames, 1), np.float32)
        confidences = np.full((frames, classes), np.nan)
        return cls(np.ones(frames), features, confidences, False, nothing, {})


@dataclass(frozen=True, slots=True)
class RoundFiles:
    """The folder of one round among the artifacts."""

    artifacts: Artifacts
    project_id: int
    version: str

    @property
    def _folder(self) -> str:
        return self.artifacts.round_key(self.project_id, self.version)

    def mask_key(self, frame: int | str) -> str:
        """Key of a frame's mask; see `ClipSnapshot.keys`."""
        return f"{self._folder}/masks/{frame}.png"

    def label_key(self, frame: int | str) -> str:
        """Key of a frame's label as a mask."""
        return f"{self._folder}/labels/{frame}.png"

    def samples_key(self, frame: int | str) -> str:
        """Key of what a frame's rectangles or super-pixels are worth."""
        return f"{self._folder}/samples/{frame}.npz"

    def query_key(self, frame: int | str) -> str:
        """Key of what is asked for on a frame; see `backend.samplework`."""
        return f"{self._folder}/queries/{frame}.png"

    def network_key(self, clip: str) -> str:
        """Key of the network fine-tuned on a clip."""
        return f"{self._folder}/networks/{folder_name(clip)}.pt"

    def network_path(self, clip: str) -> Path:
        """Where that network is, whether or not it exists; its folder does."""
        path = self.artifacts.path(self.network_key(clip))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def has_network(self, clip: str) -> bool:
        """Whether a network was fine-tuned on the clip in this round."""
        return self.artifacts.exists(self.network_key(clip))

    def has_record(self, clip: str) -> bool:
        """Whether the clip's propagation is finished."""
        return self.artifacts.exists(self._record_key(clip))

    def is_record_sound(self, clip: str) -> bool:
        """Whether the clip's propagation is finished, and what it found out can still be read."""
        try:
            self.read_record(clip)
        except ArtifactError:
            return False
        return True

    def has_snapshot(self) -> bool:
        """Whether the round's input was collected."""
        return self.artifacts.exists(self._snapshot_key)

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Store what the round works on."""
        self.artifacts.write_record(self._snapshot_key, snapshot.record())

    def read_snapshot(self) -> Snapshot:
        """What the round works on.

        Raises:
            ArtifactError: When it is missing or damaged.
        """
        return Snapshot.of(self.artifacts.read_record(self._snapshot_key))

    def write_record(self, clip: str, record: ClipRecord) -> None:
        """Store what propagation found out: from now on the clip counts as finished."""
        self.artifacts.write_arrays(
            self._record_key(clip),
            uncertainty=record.uncertainty,
            features=record.features,
            confidences=record.confidences,
            has_masks=np.array(record.has_masks),
            quality=record.quality,
            findings=np.array(json.dumps(record.findings)),
        )

    def read_record(self, clip: str) -> ClipRecord:
        """What propagation found out.

        Raises:
            ArtifactError: When it is missing or damaged.
        """
        arrays: dict[str, Any] = self.artifacts.read_arrays(self._record_key(clip))
        try:
            return ClipRecord(
                arrays["uncertainty"],
                arrays["features"],
                arrays["confidences"],
                bool(arrays["has_masks"]),
                arrays["quality"],
                json.loads(str(arrays["findings"])),
            )
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"The record of clip {clip!r} is damaged: {error}") from None

    def reuse_clip(self, earlier: RoundFiles, clip: str, frames: list[str]) -> None:
        """Take over an earlier round's masks, network and record of an unchanged clip."""
        if earlier.has_network(clip):
            self.artifacts.reuse(self.network_key(clip), earlier.network_key(clip))
        self.reuse_masks(earlier, frames)
        self.artifacts.reuse(self._record_key(clip), earlier._record_key(clip))

    def reuse_masks(self, earlier: RoundFiles, frames: list[str]) -> None:
        """Take over an earlier round's masks and queries of frames, where it has them."""
        for frame in frames:
            for key_of in (RoundFiles.mask_key, RoundFiles.samples_key, RoundFiles.query_key):
                if self.artifacts.exists(key_of(earlier, frame)):
                    self.artifacts.reuse(key_of(self, frame), key_of(earlier, frame))

    @property
    def _snapshot_key(self) -> str:
        return f"{self._folder}/snapshot.json"

    def _record_key(self, clip: str) -> str:
        return f"{self._folder}/clips/{folder_name(clip)}.npz"
