"""The settings' annotator for a clip: one recipe, for rounds and for measuring."""

from __future__ import annotations

from collections.abc import Sequence

from backend.settings import Settings
from model.clip import FrameSource
from model.finetune import FinetuneSettings
from model.pipeline import ClipAnnotator
from model.propagate import PropagationSettings

__all__ = ["annotator_for"]


def annotator_for(
    source: FrameSource, class_names: Sequence[str], settings: Settings
) -> ClipAnnotator:
    """Make what labels a clip's frames, as the settings say.

    Raises:
        ValueError: A setting names a method, flow or network that there is not.
    """
    return ClipAnnotator(
        source,
        class_names,
        method=settings.method,
        flow=settings.flow,
        network=settings.network,
        finetune=FinetuneSettings(
            seconds=settings.finetune_seconds,
            consistency=settings.consistency,
            seed=settings.seed,
            device=settings.device,
        ),
        propagation=PropagationSettings(),
        device=settings.device,
    )
