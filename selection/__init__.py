"""Which samples to label next: uncertainty, then diversity, then an order over all tasks."""

from selection.asking import SamplePool, answered, choose_samples, labelled_samples
from selection.budget import Advice, Progress, expected_clicks, recommend, share
from selection.clicks import boundary_clicks, correction_clicks
from selection.disagreement import disagreement, temporal_disagreement
from selection.diversity import core_set, facility_location, kmeans_centroids, spread
from selection.granularity import Granularity, parse_granularity, partition
from selection.planning import plan
from selection.ranking import apart, order, rank, scores
from selection.reach import Reach
from selection.samples import FrameSamples, describe, pool, query_mask
from selection.strategies import (
    STRATEGIES,
    Candidates,
    Strategy,
    get_strategy,
    register_strategy,
    strategy_names,
)
from selection.timeline import evenly, farthest_in_time
from selection.uncertainty import (
    MEASURES,
    NonFiniteWarning,
    entropy,
    least_confidence,
    margin,
    normalise,
    rankable,
    reduce,
)

__all__ = [
    "MEASURES",
    "STRATEGIES",
    "Advice",
    "Candidates",
    "FrameSamples",
    "Granularity",
    "NonFiniteWarning",
    "Progress",
    "Reach",
    "SamplePool",
    "Strategy",
    "answered",
    "apart",
    "boundary_clicks",
    "choose_samples",
    "core_set",
    "correction_clicks",
    "describe",
    "disagreement",
    "entropy",
    "evenly",
    "expected_clicks",
    "facility_location",
    "farthest_in_time",
    "get_strategy",
    "kmeans_centroids",
    "labelled_samples",
    "least_confidence",
    "margin",
    "normalise",
    "order",
    "parse_granularity",
    "partition",
    "plan",
    "pool",
    "query_mask",
    "rank",
    "rankable",
    "recommend",
    "reduce",
    "register_strategy",
    "scores",
    "share",
    "spread",
    "strategy_names",
    "temporal_disagreement",
]
