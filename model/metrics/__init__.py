"""How good masks are against the truth: streamed, a frame at a time.

Every measure keeps counts of fixed size, so memory does not depend on the clip's length. Void (255)
never counts: its pixels are left out of everything.

The conventions that the published definitions leave open:

- Counts are accumulated over the clip first, and the mean over classes is taken last, over the
  classes that occur in the truth or in the prediction. J, F and VC are means over frames, or
  windows, as their authors define them.
- A pixel predicted as void, or as a class that does not exist, is wrong.
"""

from model.metrics.boundary import boundary_band, boundary_counts
from model.metrics.davis import contour_accuracy, mask_boundary, region_similarity
from model.metrics.regions import confusion, ious, mean_iou
from model.metrics.scores import FrameCounts, Scores, measure_frame
from model.metrics.temporal import TemporalConsistency, VideoConsistency

__all__ = [
    "FrameCounts",
    "Scores",
    "TemporalConsistency",
    "VideoConsistency",
    "boundary_band",
    "boundary_counts",
    "confusion",
    "contour_accuracy",
    "ious",
    "mask_boundary",
    "mean_iou",
    "measure_frame",
    "region_similarity",
]
