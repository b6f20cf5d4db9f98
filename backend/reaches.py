"""The temporal reach of a clip's frames: measured once, kept beside the rounds.

It depends on the pictures and the flow alone, not on labels, so every later round reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from backend.artifacts import ArtifactError, Artifacts, folder_name
from model.clip import FrameSource
from model.flow import get_flow
from model.propagate import Progress
from model.reach import matches
from selection.reach import Reach
from selection.strategies import get_strategy

__all__ = ["kept_reach", "measure_reach", "wants_reach"]


def wants_reach(strategy: str) -> bool:
    """Whether a strategy chooses by temporal reach, so that it has to be measured.

    Raises:
        ValueError: When there is no such strategy.
    """
    return bool(getattr(get_strategy(strategy), "needs_reach", False))


def measure_reach(source: FrameSource, flow: str, progress: Progress | None = None) -> Reach:
    """Measure how far a label on each frame would reach; about 0.05 s a frame.

    Args:
        source: The clip.
        flow: Name of a flow estimator.
        progress: Called with (frames done, frames in all).

    Raises:
        ClipError: A frame cannot be read.
    """
    return Reach.from_matches(matches(source, get_flow(flow), progress=progress), len(source))


def kept_reach(
    artifacts: Artifacts,
    project_id: int,
    clip: str,
    urls: Sequence[str],
    source: FrameSource,
    flow: str,
    progress: Progress | None = None,
) -> Reach:
    """The clip's reach, measured where it is not kept yet or its frames have changed.

    Args:
        artifacts: Where it is kept.
        project_id: The project.
        clip: The clip's name.
        urls: Picture of each frame.
        source: The clip's frames; not read where the reach is kept.
        flow: Name of a flow estimator.
        progress: Called with (frames done, frames in all) while measuring.

    Raises:
        ClipError: A frame cannot be read.
    """
    digest = hashlib.sha256(json.dumps([list(urls), flow]).encode()).hexdigest()[:16]
    key = f"{project_id}/reach/{folder_name(clip)}.npz"
    note = f"{project_id}/reach/{folder_name(clip)}.json"
    try:
        if artifacts.exists(key) and artifacts.read_record(note) == {"digest": digest}:
            arrays = artifacts.read_arrays(key)
            return Reach(arrays["between"], arrays["before"], arrays["after"])
    except (ArtifactError, KeyError, ValueError):
        pass  # damaged: measured again
    reach = measure_reach(source, flow, progress)
    artifacts.write_arrays(key, between=reach.between, before=reach.before, after=reach.after)
    artifacts.write_record(note, {"digest": digest})
    return reach
