"""Choosing samples that differ: by features, by time, or by both.

Nothing here knows labels or uncertainty; indices come back, unique and deterministic by seed.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from selection.timeline import evenly, farthest_in_time
from selection.uncertainty import NonFiniteWarning

__all__ = ["core_set", "facility_location", "kmeans_centroids", "spread"]

_MINI_BATCH_FROM = 200_000_000
"""Samples × channels × clusters from which k-means runs on mini-batches."""
_WIDE = 192
"""Channels to which wider features are projected where every pair may be compared."""
_FULL_GREEDY = 2_000
"""Samples up to which facility location looks at all of them in each step."""


def kmeans_centroids(features: ArrayLike, budget: int, seed: int = 0) -> NDArray[np.intp]:
    """Cluster into `budget` clusters and take the sample nearest to each centroid (HVSA, 3.2).

    Args:
        features: (N, C), a row a sample.
        budget: How many to choose, ≥ 0; all where it exceeds N.
        seed: Of the clustering.

    Returns:
        (min(budget, N),) unique indices, those of the largest clusters first.

    Raises:
        ValueError: `features` is not (N, C), or `budget` is negative.

    Warns:
        NonFiniteWarning: Some feature is not finite; it counts as 0.
    """
    points = _finite(features)
    count = _checked_budget(budget, len(points))
    if count in (0, len(points)):
        return np.arange(count, dtype=np.intp)
    if points.shape[1] == 0:  # nothing to tell them apart by
        points = np.zeros((len(points), 1), dtype=np.float32)
    return _medoids(points, count, seed, None)


def spread(
    features: ArrayLike, positions: ArrayLike, budget: int, seed: int = 0, time_weight: float = 1.0
) -> NDArray[np.intp]:
    """Choose the first frames of a clip: spread over it, and different to look at.

    k-means over appearance joined with time, begun from an even spacing; the frame nearest to each
    centroid. On a clip that always looks the same it is an even spacing; a stretch in which much
    changes gets more frames than one in which nothing does. Neighbours that look alike (twins) fall
    into one cluster, so only one of them is chosen.

    Args:
        features: (N, C) appearance, a row a frame.
        positions: (N,) frame indices.
        budget: How many to choose, ≥ 0; all where it exceeds N.
        seed: Of the clustering.
        time_weight: Weight of time against appearance, each scaled to unit variance.

    Returns:
        (min(budget, N),) unique indices: the one in the middle first, then always the one farthest
        in time from those before it, so that any first few of them are spread too.

    Raises:
        ValueError: Shapes don't fit, or `budget` is negative.

    Warns:
        NonFiniteWarning: Some feature is not finite; it counts as 0.
    """
    appearance = _finite(features)
    times = np.asarray(positions, dtype=np.float64)
    if times.shape != (len(appearance),):
        raise ValueError(
            f"positions must be ({len(appearance)},), one a row of features; got {times.shape}"
        )
    count = _checked_budget(budget, len(appearance))
    if count == 0:
        return np.zeros(0, dtype=np.intp)
    chosen: NDArray[np.intp] = np.arange(len(appearance), dtype=np.intp)
    if count < len(appearance):
        time = (times - times.mean())[:, None]
        joint = np.hstack([_scaled(appearance), time_weight * _scaled(time)])
        start = joint[evenly(times, count)]
        chosen = _medoids(joint, count, seed, start)
    return chosen[farthest_in_time(times[chosen])]


def core_set(
    features: ArrayLike, budget: int, seed: int = 0, covered: ArrayLike | None = None
) -> NDArray[np.intp]:
    """Choose so that no sample is far from a chosen one: greedy k-centre (Sener & Savarese 2018).

    Args:
        features: (N, C), a row a sample.
        budget: How many to choose, ≥ 0; all where it exceeds N.
        seed: Of the projection of wide features.
        covered: (M, C) features of samples labelled already.

    Returns:
        (min(budget, N),) unique indices, each the farthest from `covered` and those before it; with
        nothing covered, the one nearest to the mean first.

    Raises:
        ValueError: `features` is not (N, C), or `budget` is negative.

    Warns:
        NonFiniteWarning: Some feature is not finite; it counts as 0.
    """
    points = _finite(features)
    count = _checked_budget(budget, len(points))
    known = np.zeros((0, points.shape[1]), np.float32) if covered is None else _finite(covered)
    everything = _narrowed(np.vstack([points, known]), seed)
    points, known = everything[: len(points)], everything[len(points) :]
    chosen = np.zeros(count, dtype=np.intp)
    away: NDArray[np.float32] = np.full(len(points), np.inf, dtype=np.float32)
    for place in known:
        away = np.minimum(away, _away(points, place))
    for n in range(count):
        if n == 0 and not len(known):
            pick = int(_away(points, points.mean(axis=0)).argmin())
        else:
            pick = int(away.argmax())
        chosen[n] = pick
        away = np.minimum(away, _away(points, points[pick]))
        away[pick] = -1.0  # never again, however alike the others are
    return chosen


def facility_location(features: ArrayLike, budget: int, seed: int = 0) -> NDArray[np.intp]:
    """Choose so that samples are near to a chosen one on the mean: greedy facility location.

    Minimises Σ_i min_j |x_i − x_j|² over the chosen j, greedily; for many samples each step looks
    at a random part of them (stochastic greedy, Mirzasoleiman et al. 2015).

    Args:
        features: (N, C), a row a sample.
        budget: How many to choose, ≥ 0; all where it exceeds N.
        seed: Of the projection of wide features, and of the random parts.

    Returns:
        (min(budget, N),) unique indices, the one that serves most first.

    Raises:
        ValueError: `features` is not (N, C), or `budget` is negative.

    Warns:
        NonFiniteWarning: Some feature is not finite; it counts as 0.
    """
    points = _finite(features)
    count = _checked_budget(budget, len(points))
    if count == 0:
        return np.zeros(0, dtype=np.intp)
    points = _narrowed(points, seed)
    points = points - points.mean(axis=0)
    squares = np.einsum("nc,nc->n", points, points)
    rng = np.random.default_rng(seed)
    served = 2 * (squares + squares.max())  # no two are farther apart
    free = np.ones(len(points), dtype=bool)
    chosen = np.zeros(count, dtype=np.intp)
    part = -(-3 * len(points) // count)  # 3 = ln(1 / 0.05): within 5 % of greedy on the mean
    with threadpool_limits(1):  # one thread: the same sums everywhere, and no waiting for others
        for n in range(count):
            pool = np.flatnonzero(free)
            if len(points) > _FULL_GREEDY and part < len(pool):
                pool = np.sort(rng.choice(pool, part, replace=False))
            parts = np.array_split(pool, -(-len(pool) // 512))
            gains = np.concatenate([_gains(points, squares, served, some) for some in parts])
            pick = int(pool[gains.argmax()])
            chosen[n] = pick
            free[pick] = False
            away = squares + squares[pick] - 2 * (points @ points[pick])
            served = np.minimum(served, np.maximum(away, 0.0))
    return chosen


def _gains(
    points: NDArray[np.float32],
    squares: NDArray[np.float32],
    served: NDArray[np.float32],
    some: NDArray[np.intp],
) -> NDArray[np.float32]:
    """How much nearer all points come to a chosen one with each of `some` chosen as well."""
    nearer = points @ (2 * points[some]).T
    nearer += (served - squares)[:, None]
    nearer -= squares[some]
    np.maximum(nearer, 0.0, out=nearer)
    return np.asarray(nearer.sum(axis=0), dtype=np.float32)


def _away(points: NDArray[np.float32], place: NDArray[np.floating]) -> NDArray[np.float32]:
    """Squared distances to one place."""
    apart = points - place
    return np.asarray(np.einsum("nc,nc->n", apart, apart), dtype=np.float32)


def _narrowed(points: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Project features of many channels at random; keeps distances within about a tenth."""
    channels = points.shape[1]
    if channels <= _WIDE:
        return points
    axes = np.random.default_rng(seed).standard_normal((channels, _WIDE)) / np.sqrt(_WIDE)
    return np.asarray(points @ axes.astype(np.float32), dtype=np.float32)


def _medoids(
    points: NDArray[np.float32], count: int, seed: int, start: NDArray[np.float32] | None
) -> NDArray[np.intp]:
    """K-means, then for each centroid (largest cluster first) the nearest sample still free."""
    large = points.size * count > _MINI_BATCH_FROM
    if large:
        points = _narrowed(points, seed)
        start = None
    kind, tries, rounds = (MiniBatchKMeans, 1, 20) if large else (KMeans, 4, 100)
    models = [kind(count, n_init=tries, max_iter=rounds, random_state=seed)]
    if start is not None:
        models.append(kind(count, init=start, n_init=1, max_iter=rounds, random_state=seed))
    with warnings.catch_warnings(), threadpool_limits(1):  # one thread: the same sums everywhere
        # Fewer distinct points than clusters: the search below gives every cluster its own sample.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = min((model.fit(points) for model in models), key=lambda model: model.inertia_)
    members = model.labels_
    sizes = np.bincount(members, minlength=count)
    free = np.ones(len(points), dtype=bool)
    chosen = []
    for cluster in np.argsort(-sizes, kind="stable"):
        own = np.flatnonzero(free & (members == cluster))
        pool = own if own.size else np.flatnonzero(free)
        gap = ((points[pool] - model.cluster_centers_[cluster]) ** 2).sum(axis=1)
        pick = int(pool[np.argmin(gap)])
        free[pick] = False
        chosen.append(pick)
    return np.array(chosen, dtype=np.intp)


def _scaled(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Centre, and divide by the root of the total variance (not channel by channel)."""
    centred = points - points.mean(axis=0)
    size = float(np.sqrt((centred.astype(np.float64) ** 2).sum(axis=1).mean()))
    return np.asarray(centred / size if size > 0 else centred, dtype=np.float32)


def _finite(features: ArrayLike) -> NDArray[np.float32]:
    points = np.asarray(features, dtype=np.float32)
    if points.ndim != 2:
        raise ValueError(f"features must be (N, C), a row a sample; got {points.shape}")
    if not np.isfinite(points).all():
        warnings.warn(
            f"{int((~np.isfinite(points)).any(axis=1).sum())} of {len(points)} samples have "
            "features that are not finite; these count as 0",
            NonFiniteWarning,
            stacklevel=3,
        )
        points = np.nan_to_num(points, nan=0.0, posinf=0.0, neginf=0.0)
    return points


def _checked_budget(budget: int, count: int) -> int:
    if budget < 0:
        raise ValueError(f"a budget is a number of samples, 0 or more; got {budget}")
    return min(int(budget), count)
