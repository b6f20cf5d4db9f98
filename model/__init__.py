"""Frames in, masks out: clips, optical flow, propagation, segmentation networks and their measures.

A library of its own: arrays in, arrays out, no knowledge of Label Studio, of HTTP or of the
environment. Nothing imported here loads torch.
"""

from model.clip import ClipError, FolderClip, FrameSource, ListClip, VideoClip, open_clip
from model.features import appearance
from model.flow import DISFlow, FlowEstimator, get_flow
from model.propagate import FrameResult, PropagationSettings, propagate

__all__ = [
    "ClipError",
    "DISFlow",
    "FlowEstimator",
    "FolderClip",
    "FrameResult",
    "FrameSource",
    "ListClip",
    "PropagationSettings",
    "VideoClip",
    "appearance",
    "get_flow",
    "open_clip",
    "propagate",
]
