"""What a round and `maskloop evaluate` both run on one clip: fine-tune, judge, propagate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import load_checkpoint, save_checkpoint
from model.clip import FrameSource
from model.devices import check_device
from model.features import appearance, appearance_map
from model.finetune import FinetuneProgress, FinetuneReport, FinetuneSettings
from model.flow import get_flow
from model.flowstore import FlowStore
from model.heldout import evidence_weight, hold_out
from model.inference import NetworkEvidence
from model.judge import frames_named, judges
from model.keyframes import IGNORE, check_keys
from model.networks import NetworkError, Segmenter, build, class_rows
from model.propagate import (
    Evidence,
    FrameResult,
    Progress,
    PropagationSettings,
    nearest,
    propagate,
)
from model.refine import Refinement, load_refiner
from model.refine_adapt import adapt
from model.smaller import smaller
from model.stages import Stages
from model.steady import steadied
from model.unjudged import FEW, agreement, planned_for_few, unjudged_weight

__all__ = ["METHODS", "ClipAnnotator"]

METHODS = ("nearest", "flow", "network", "maskloop")
"""How frames are labelled: the nearest key frame's mask, propagation, the network alone, or
propagation with the network's evidence where that helps."""

_FALLBACK = "compact"
"""The network that stands in for one that cannot be had."""

_FIRST_PART = 0.35
"""Share of a first fit in which the judging key frames are kept from the network."""

_ADAPTING = 0.1
"""Share of the time for fine-tuning in which refinement is adapted."""

_JUDGED_PIXELS = 900_000
"""Pixels that judging may pass for each second there is: about a third of the time."""

_JUDGED_SIZE = 480 * 864
"""Pixels that frames are reduced to for judging: at full size there would be no time for it."""

Labels = Mapping[int, NDArray[np.uint8]]


class ClipAnnotator:
    """Labels every frame of one clip from its key frames.

    Args:
        source: The clip.
        class_names: Names of the classes, in the order of the masks' indices.
        method: One of `METHODS`.
        flow: Name of a flow estimator.
        network: Name of a network; unused where the method needs none.
        finetune: How the network is fine-tuned.
        propagation: How propagation weighs its sources.
        device: Where networks run: "cpu", "cuda", "cuda:1", …

    Attributes:
        flow: The clip's flow, kept from one pass over it to the next.

    Raises:
        ValueError: No such method, flow or device, or no class.
    """

    def __init__(
        self,
        source: FrameSource,
        class_names: Sequence[str],
        *,
        method: str = "maskloop",
        flow: str = "dis",
        network: str = "compact",
        finetune: FinetuneSettings | None = None,
        propagation: PropagationSettings | None = None,
        device: str = "cpu",
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"the method must be one of {', '.join(METHODS)}, not {method!r}")
        if not class_names:
            raise ValueError("a clip needs at least one class, and the list of names is empty")
        if len(set(class_names)) < len(class_names):
            raise ValueError(f"class names must differ; got {', '.join(class_names)}")
        if method == "network" and finetune is not None and finetune.seconds == 0:
            raise ValueError("the method 'network' needs time to fine-tune; give it some seconds")
        self.source = source
        self.class_names = tuple(class_names)
        self.method = method
        if method in ("network", "maskloop"):
            check_device(device)
        self.settings = replace(finetune or FinetuneSettings(), device=device)
        self.propagation = propagation or PropagationSettings()
        self.evidence_weight = 0.0
        self.refinement: Refinement | None = None
        if method == "maskloop" and self.propagation.refine is not None:
            self.refinement = Refinement(load_refiner(), self.propagation.refine)
        self.notes: tuple[str, ...] = ()
        self._flow = get_flow(flow)
        self.flow = FlowStore(self._flow)
        self._network_name = network
        self._network: Segmenter | None = None
        self._asked: NetworkEvidence | None = None
        self._trained_on: tuple[int, ...] = ()

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def needs_network(self) -> bool:
        """Whether the method uses a network, and has time to fine-tune one."""
        return self.method == "network" or (self.method == "maskloop" and self.settings.seconds > 0)

    def finetune(
        self,
        labels: Labels,
        *,
        warm_start: Path | None = None,
        resume: Path | None = None,
        progress: Callable[[FinetuneProgress], None] | None = None,
    ) -> FinetuneReport | None:
        """Fine-tune the network on the labels, and judge how far its evidence is to be taken.

        All of it, judging included, keeps to `FinetuneSettings.seconds`.

        Args:
            labels: Frame index → (H, W) uint8 mask, 255 = ignore.
            warm_start: A network that `save` wrote, to go on from. Classes of the same name keep
                what they learnt; a network of another kind is left aside, with a note.
            resume: Where the state of the training is kept until it is done; with the same
                labels and settings, what was interrupted goes on from its last epoch.
            progress: Called after each epoch.

        Returns:
            What was done; None where the method needs no network.

        Raises:
            ValueError: The labels do not fit the clip or the classes, or there are none.
            CheckpointError: `warm_start` is damaged.
            ClipError: A frame cannot be read.
        """
        if not self.needs_network:
            return None
        started = time.monotonic()
        labels = check_keys(labels, self.num_classes, len(self.source))
        self.notes = ()
        network, warm = self._start(warm_start)
        propagates = self.method == "maskloop"
        few = propagates and len(labels) <= FEW
        planned = planned_for_few(self.settings) if few else self.settings
        source, seen = smaller(self.source, labels, _JUDGED_SIZE)
        held_out = judges(
            labels,
            self._trained_on,
            most=self.propagation.held_out if propagates else 0,
            frames=self.settings.seconds * _JUDGED_PIXELS / next(iter(seen.values())).size,
        )
        stages = Stages(network, self.source, self._flow, planned, started, progress, resume)
        if held_out and not warm:
            rest = {index: mask for index, mask in labels.items() if index not in held_out}
            unseen = {index: labels[index] for index in held_out}
            stages.run(rest, share=_FIRST_PART, held_out=unseen)
        if held_out:
            self._judge(network, source, seen, held_out)
            self.notes += (
                f"the network's evidence gets the weight {self.evidence_weight:.2f}, judged"
                f" on {frames_named(held_out)}",
            )
        stages.run(labels)
        if few:
            self._weigh_unjudged(network, labels, started)
        self._network, self._trained_on = network, tuple(sorted({*labels, *self._trained_on}))
        self._asked = None
        report = stages.report(self.notes)
        self.notes = report.notes
        return report

    def _start(self, warm_start: Path | None) -> tuple[Segmenter, bool]:
        """Return the network to train, and whether it goes on from an earlier round's."""
        if warm_start is not None:
            self.load(warm_start)
        network = self._network
        if network is not None and network.name == self._network_name:
            return network, bool(self._trained_on)
        try:
            fresh = self._build(self._network_name)
        except NetworkError as error:
            if self._network_name == _FALLBACK:
                raise
            self.notes += (f"{error}. Until then the network is {_FALLBACK!r}",)
            if network is not None and network.name == _FALLBACK:
                return network, bool(self._trained_on)
            fresh = self._build(_FALLBACK)
        if network is not None:
            self.notes += (
                f"the network kept so far is {network.name!r} and not {fresh.name!r}, so"
                " fine-tuning begins anew",
            )
        self.evidence_weight, self._trained_on = 0.0, ()
        return fresh, False

    def _build(self, name: str) -> Segmenter:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            return build(name, self.num_classes, class_names=self.class_names)

    def _judge(
        self, network: Segmenter, source: FrameSource, labels: Labels, held_out: Sequence[int]
    ) -> None:
        """Choose the weight of the network's evidence, and adapt refinement to the clip."""
        records = list(
            hold_out(
                source,
                labels,
                self.num_classes,
                held_out,
                flow=self.flow if source is self.source else FlowStore(self._flow),
                settings=self.propagation,
                evidence=self._evidence(network),
            )
        )
        self.evidence_weight = evidence_weight(records, self.num_classes, self.propagation)
        if self.refinement is not None:
            self.refinement = adapt(
                Refinement(load_refiner(), self.propagation.refine or 0.0),
                records,
                self.num_classes,
                weight=self.evidence_weight,
                settings=self.propagation,
                seconds=self.settings.seconds * _ADAPTING,
                seed=self.settings.seed,
            )
            self.notes += (f"refinement gets the share {self.refinement.share:.2f}",)

    def _weigh_unjudged(self, network: Segmenter, labels: Labels, started: float) -> None:
        """Choose the weight of the network's evidence where there are too few labels to judge."""
        agreed = agreement(
            self.source,
            labels,
            self.num_classes,
            self._evidence(network),
            flow=self._flow,
            max_pixels=self.settings.max_pixels,
            enough=lambda: time.monotonic() - started > self.settings.seconds,
            ahead=self.propagation.ahead,
        )
        self.evidence_weight = unjudged_weight(agreed)
        why = (
            "nothing is sure beyond the labelled frames"
            if agreed is None
            else f"it agrees with what propagation is sure of to {agreed:.2f} (mIoU)"
        )
        self.notes += (
            f"the network's evidence gets the weight {self.evidence_weight:.2f}: {why}; three"
            " labelled frames would judge it",
        )

    def _evidence(self, network: Segmenter) -> NetworkEvidence:
        return NetworkEvidence(network, self.settings.device, max_pixels=self.settings.max_pixels)

    def save(self, path: str | Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Keep the fine-tuned network, with what `load` needs besides.

        Raises:
            ValueError: Nothing was fine-tuned yet.
            CheckpointError: The file cannot be written.
        """
        if self._network is None:
            raise ValueError("there is no fine-tuned network to save; call finetune first")
        own = {
            "class_names": list(self.class_names),
            "trained_on": list(self._trained_on),
            "evidence_weight": self.evidence_weight,
            "refinement": self.refinement.to_json() if self.refinement else None,
        }
        save_checkpoint(path, self._network, {**(metadata or {}), **own})

    def load(self, path: str | Path) -> dict[str, Any]:
        """Take a network that `save` wrote, whatever its kind; its classes are matched by name.

        Returns:
            The metadata it was saved with.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        network, metadata = load_checkpoint(path, self.settings.device)
        old = [str(name) for name in metadata.get("class_names", ())]
        if tuple(old) != self.class_names:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.settings.seed)
                network.change_classes(class_rows(old, self.class_names))
        self._network, self._asked = network, None
        self._trained_on = tuple(int(index) for index in metadata.get("trained_on", ()))
        self.evidence_weight = float(metadata.get("evidence_weight", 0.0))
        if self.refinement is not None:
            kept = Refinement.from_json(metadata.get("refinement"))
            self.refinement = kept or self.refinement
        return metadata

    def propagate(
        self, labels: Labels, *, progress: Progress | None = None
    ) -> Iterator[FrameResult]:
        """Label every frame; see `model.propagate.propagate`.

        Args:
            labels: Frame index → (H, W) uint8 mask, 255 = ignore.
            progress: Called with (frames done, frames in all).

        Raises:
            ValueError: The labels do not fit, or the method is "network" and there is none yet.
            ClipError: A frame cannot be read.
        """
        labels = check_keys(labels, self.num_classes, len(self.source))
        if self.method == "nearest":
            return nearest(self.source, labels, self.num_classes, progress=progress)
        if self.method == "network":
            if self._network is None:
                raise ValueError("there is no fine-tuned network; call finetune or load first")
            self._asked = self._evidence(self._network)
            return self._predicted(labels, self._asked, progress)
        helps = self.method == "maskloop" and self._network is not None and self.evidence_weight > 0
        self._asked = self._evidence(self._network) if self._network is not None else None
        results = propagate(
            self.source,
            labels,
            self.num_classes,
            flow=self.flow,
            settings=self.propagation,
            evidence=self._asked if helps else None,
            evidence_weight=self.evidence_weight if helps else 0.0,
            refinement=self.refinement,
            progress=progress,
        )
        return steadied(results, labels, self.flow, self.source, self.propagation)

    def _predicted(
        self, keys: Labels, evidence: Evidence, progress: Progress | None
    ) -> Iterator[FrameResult]:
        """Yield what the network says; of key frames only where nobody labelled."""
        for index in range(len(self.source)):
            image = self.source.read(index)
            probabilities = evidence(index, image)
            confidence = probabilities.max(axis=0)
            mask = keys.get(index)
            if mask is not None:
                labelled = mask != IGNORE
                onehot = mask == np.arange(self.num_classes)[:, None, None]
                probabilities = np.where(labelled, onehot, probabilities).astype(np.float32)
                confidence = np.where(labelled, np.float32(1), confidence)
            whole = mask is not None and bool((mask != IGNORE).all())
            yield FrameResult(index, probabilities, confidence, whole, image)
            if progress is not None:
                progress(index + 1, len(self.source))

    def embed(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Describe a frame, (C,) float32: by the network once there is one, else by appearance."""
        if self._network is None:
            return appearance(image)
        return np.asarray(self.feature_map(image).mean(axis=(1, 2)), dtype=np.float32)

    def feature_map(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Describe a frame place by place, (C, h, w) float32; see `embed`.

        Costs nothing for the image of the result that `propagate` gave last, where the network
        was asked about it.
        """
        if self._network is None:
            return appearance_map(image)
        if self._asked is None:
            self._asked = self._evidence(self._network)
        return self._asked.feature_map(image)
