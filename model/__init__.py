"""Frames in, masks out: clips, optical flow, propagation, segmentation networks and their measures.

A library of its own: arrays in, arrays out, no knowledge of Label Studio, of HTTP or of the
environment. Nothing imported here loads torch.
"""

from model.benchmark import LabelledClip, open_labelled
from model.clip import ClipError, FolderClip, FrameSource, ListClip, VideoClip, open_clip
from model.features import appearance
from model.flow import DISFlow, FlowEstimator, get_flow
from model.metrics import Scores, measure_frame
from model.propagate import FrameResult, PropagationSettings, propagate
from model.quality import Calibration, QualityEstimate, reverse_test
from model.spots import Spot, find_spots
from model.synthetic import RenderedClip, render_clip, write_clip

__all__ = [
    "Calibration",
    "ClipError",
    "DISFlow",
    "FlowEstimator",
    "FolderClip",
    "FrameResult",
    "FrameSource",
    "LabelledClip",
    "ListClip",
    "PropagationSettings",
    "QualityEstimate",
    "RenderedClip",
    "Scores",
    "Spot",
    "VideoClip",
    "appearance",
    "find_spots",
    "get_flow",
    "measure_frame",
    "open_clip",
    "open_labelled",
    "propagate",
    "render_clip",
    "reverse_test",
    "write_clip",
]
