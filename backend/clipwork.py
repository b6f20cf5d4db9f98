"""Fine-tuning and propagating one clip of a round, between the model and the round's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.annotator import annotator_for
from backend.frames import clip_frames
from backend.media import MediaCache
from backend.passes import appearances, propagated, uncertainty_map
from backend.quality import judge
from backend.querylayer import QueryLayer
from backend.reaches import kept_reach, wants_reach
from backend.roundfiles import ClipRecord, RoundFiles
from backend.samplework import ClipSamples
from backend.settings import Settings
from backend.snapshot import ClipSnapshot
from model.checkpoint import CheckpointError
from model.finetune import FinetuneProgress
from model.pipeline import ClipAnnotator
from selection.clicks import boundary_clicks
from selection.reach import Reach

__all__ = ["ClipWork"]


class ClipWork:
    """One clip in one round.

    Args:
        files: The round's files.
        clip: The clip as it was collected.
        media: Fetches frames.
        settings: The service's settings.
        queries: What is asked for, where it is not whole frames.
    """

    def __init__(
        self,
        files: RoundFiles,
        clip: ClipSnapshot,
        media: MediaCache,
        settings: Settings,
        queries: QueryLayer | None = None,
    ) -> None:
        self._files = files
        self._clip = clip
        # A clip's masks may hold objects: see `backend.objects`.
        self._class_names = clip.class_names
        self._settings = settings
        self.source = clip_frames(media, clip, clip.key_frames)
        self._samples: ClipSamples | None = None
        if queries is not None and not clip.is_task:
            self._samples = ClipSamples(files, clip, self.source, queries)

    def finetune(
        self, *, warm_starts: Sequence[Path], progress: Callable[[float, str], None]
    ) -> dict[str, Any]:
        """Fine-tune the network on the clip's labels and keep it; nothing where it is kept.

        Args:
            warm_starts: Networks of earlier rounds, the one to go on from first; a damaged one is
                noted, and the next is taken.
            progress: Called with the share done and a note for people.

        Returns:
            Figures for people: losses, seconds, how it stopped, notes; empty without a network.
        """
        if self._files.has_network(self._clip.name):
            return {}

        def report(step: FinetuneProgress) -> None:
            losses = ", ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
            progress(
                step.epoch / max(step.epochs, 1),
                f"{self._clip.name}: epoch {step.epoch} of {step.epochs}, {losses}, "
                f"{step.seconds_left:.0f} s left",
            )

        path = self._files.network_path(self._clip.name)
        outcome, notes = None, []
        for warm_start in (*warm_starts, None):
            try:
                outcome = self._annotator.finetune(
                    self._labels(),
                    warm_start=warm_start,
                    resume=path.with_suffix(".training"),
                    progress=report,
                )
                break
            except CheckpointError as error:
                notes.append(f"{error}; the network before it is taken instead")
        if outcome is None:
            return {}
        figures = {
            "losses": {name: round(value, 5) for name, value in outcome.losses.items()},
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 1),
            "stopped": outcome.stopped,
            "notes": [*notes, *outcome.notes],
        }
        metadata = {
            "clip": self._clip.name,
            "version": self._files.version,
            "parent": warm_start.parent.parent.name if warm_start else None,
            "labels": self._clip.digest,
            "settings": {"network": self._settings.network, "method": self._settings.method},
            "figures": figures,
        }
        self._annotator.save(path, metadata)
        return figures

    @property
    def parts(self) -> ClipSamples | None:
        """The rectangles or super-pixels that are asked for; None where frames are."""
        samples = self._samples
        return None if samples is None or samples.layer.kind == "frame" else samples

    def propagate(self, *, progress: Callable[[int, int], None]) -> None:
        """Give every frame a mask; frames of a clip without labels only their features.

        Args:
            progress: Called with (frames done, frames in all).
        """
        count = len(self._clip)
        classes = len(self._class_names)
        uncertainty = np.ones(count)
        confidences = np.full((count, classes), np.nan)
        quality = np.full(count, np.nan)
        findings: dict[str, Any] = {}
        labels = self._labels()
        parts = self.parts if labels else None
        if self._samples is not None and parts is None:
            self._samples.ask_whole()
        if not labels:
            features = appearances(self._annotator, self.source)
        else:
            if self._files.has_network(self._clip.name):
                self._annotator.load(self._files.network_path(self._clip.name))
            estimate, findings = judge(self._annotator, labels)
            rows: list[npt.NDArray[np.float32]] = []
            for result, summary in propagated(self._annotator, self.source, labels, progress):
                key = self._clip.keys[result.index]
                self._files.artifacts.write_mask(self._files.mask_key(key), result.mask)
                uncertainty[result.index] = summary.uncertainty
                for index, value in summary.confidences.items():
                    confidences[result.index, index] = value
                rows.append(summary.feature)
                if parts is not None:
                    # The very array that the network was asked about: it is not asked again.
                    image = result.image
                    if image is None:
                        image = self.source.read(result.index)
                    parts.describe(
                        result.index,
                        uncertainty=uncertainty_map(result),
                        features=self._annotator.feature_map(image),
                        mask=result.mask,
                        label=labels.get(result.index),
                    )
                estimate.add(result)
            features = np.stack(rows)
            for index, value in estimate.frames.items():
                quality[index] = value
            findings["expected_miou"] = round(estimate.mean_iou, 4)
        if self.source.unreadable:
            findings["unreadable"] = {str(i): why for i, why in self.source.unreadable.items()}
        self._files.write_record(
            self._clip.name,
            ClipRecord(uncertainty, features, confidences, bool(labels), quality, findings),
        )

    def reach(self, *, progress: Callable[[int, int], None]) -> Reach | None:
        """How far a label on each frame reaches; None where the strategy does not ask.

        Args:
            progress: Called with (frames done, frames in all) where it has to be measured.
        """
        if not wants_reach(self._settings.strategy):
            return None
        return kept_reach(
            self._files.artifacts,
            self._files.project_id,
            self._clip.name,
            [*self._clip.keys, *self._clip.urls],
            self.source,
            self._settings.flow,
            progress,
        )

    def label_clicks(self) -> npt.NDArray[np.float64]:
        """What the labels cost, (N,) clicks; NaN where there is none."""
        clicks = np.full(len(self._clip), np.nan)
        for index, mask in self._labels().items():
            clicks[index] = boundary_clicks(mask, {0})
        return clicks

    @cached_property
    def _annotator(self) -> ClipAnnotator:
        return annotator_for(self.source, self._class_names, self._settings)

    def _labels(self) -> dict[int, npt.NDArray[np.uint8]]:
        return {
            index: self._files.artifacts.read_mask(self._files.label_key(self._clip.keys[index]))
            for index in self._clip.key_frames
        }
