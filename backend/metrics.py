"""Figures of the service for Prometheus, told from the store at each scrape.

Told from the store, they are the same whichever web process answers, and survive restarts.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from backend.store import Store

__all__ = ["render_metrics"]


class _StoreCollector:
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterable[Metric]:
        label = ["project"]
        frames = GaugeMetricFamily("maskloop_frames", "Frames of the project.", labels=label)
        labelled = GaugeMetricFamily("maskloop_labelled_frames", "Labelled frames.", labels=label)
        pending = GaugeMetricFamily(
            "maskloop_new_labels", "Labels that no round has used yet.", labels=label
        )
        running = GaugeMetricFamily(
            "maskloop_round_share", "Share done of the step in progress.", labels=[*label, "step"]
        )
        seconds = GaugeMetricFamily(
            "maskloop_last_round_seconds", "Duration of the last finished round.", labels=label
        )
        rounds = CounterMetricFamily(
            "maskloop_rounds", "Rounds by outcome.", labels=[*label, "state"]
        )
        failures = GaugeMetricFamily(
            "maskloop_failures", "Failures since the last finished round.", labels=label
        )
        for project in self._store.projects():
            name = [str(project.id)]
            known = self._store.frames(project.id)
            frames.add_metric(name, len(known))
            labelled.add_metric(name, sum(frame.label is not None for frame in known))
            pending.add_metric(name, self._store.pending(project.id)[0])
            failures.add_metric(name, project.failures)
            history = self._store.rounds(project.id)
            for state in ("done", "failed"):
                count = sum(row.state == state for row in history)
                rounds.add_metric([*name, state], count)
            for row in history:
                if row.state == "running" and row.step:
                    running.add_metric([*name, row.step], row.share)
            done = [row for row in history if row.state == "done" and row.finished_at]
            if done and done[-1].finished_at is not None:
                seconds.add_metric(name, done[-1].finished_at - done[-1].started_at)
        yield from (frames, labelled, pending, running, seconds, rounds, failures)


def render_metrics(store: Store) -> tuple[bytes, str]:
    """The text of ``/metrics`` and its content type."""
    registry = CollectorRegistry()
    registry.register(_StoreCollector(store))
    return generate_latest(registry), CONTENT_TYPE_LATEST
