"""Which samples to label next: uncertainty, then diversity, then an order over all tasks."""

from selection.diversity import kmeans_centroids, spread
from selection.ranking import order, rank, scores
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
    "Candidates",
    "NonFiniteWarning",
    "Strategy",
    "entropy",
    "evenly",
    "farthest_in_time",
    "get_strategy",
    "kmeans_centroids",
    "least_confidence",
    "margin",
    "normalise",
    "order",
    "rank",
    "rankable",
    "reduce",
    "register_strategy",
    "scores",
    "spread",
    "strategy_names",
]
