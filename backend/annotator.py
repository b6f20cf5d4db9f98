"""The settings' annotator for a clip: one recipe, for rounds and for measuring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backend.settings import Settings
from backend.threads import usable_cores
from model.clip import FrameSource
from model.finetune import FinetuneSettings
from model.pipeline import ClipAnnotator
from model.presets import MOST_SECONDS, seconds_for
from model.propagate import PropagationSettings

__all__ = ["annotator_for"]

# The best propagation matches outlines, which DIS's refinement would smooth away.
_SHARPER = {"dis": "dis-sharp"}

# Refinement is used as far as held-out key frames say, and not at all where there are none: on
# clips that move fast it can do harm.
_REFINE = 0.0


def annotator_for(
    source: FrameSource, class_names: Sequence[str], settings: Settings
) -> ClipAnnotator:
    """Make what labels a clip's frames, as the settings say.

    Raises:
        ValueError: A setting names a method, flow or network that there is not.
    """
    ahead = usable_cores() > 1
    best = settings.method == "maskloop"
    propagation = PropagationSettings.best(refine=_REFINE) if best else PropagationSettings()
    return ClipAnnotator(
        source,
        class_names,
        method=settings.method,
        flow=_flow_name(settings),
        network=settings.network,
        finetune=FinetuneSettings.preset(
            settings.preset,
            seconds=_seconds(settings, len(source)),
            consistency=settings.consistency,
            seed=settings.seed,
            device=settings.device,
            ahead=ahead,
        ),
        propagation=replace(propagation, ahead=ahead),
        device=settings.device,
    )


def _seconds(settings: Settings, frames: int) -> float:
    """How long a clip of so many frames may be fine-tuned."""
    if settings.finetune_seconds != "auto":
        return settings.finetune_seconds
    light = settings.network == "compact" and settings.preset == "fast"
    return seconds_for(frames) if light else MOST_SECONDS


def _flow_name(settings: Settings) -> str:
    """The flow estimator in use: for the method `maskloop` the sharper kind of the one that is set,
    where there is one."""
    if settings.method != "maskloop":
        return settings.flow
    return _SHARPER.get(settings.flow, settings.flow)
