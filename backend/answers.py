"""Stored masks as answers of Label Studio's protocol: results, a score, a model version."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from backend.artifacts import ArtifactError, Artifacts
from backend.formats import encode
from backend.labelconfig import LabelConfig, parse_label_config
from backend.store import Store
from backend.tables import Prediction, Round

__all__ = ["Answers"]


class Answers:
    """Reads what rounds stored and says it in Label Studio's words. Needs no torch."""

    def __init__(self, store: Store, artifacts: Artifacts) -> None:
        self._store = store
        self._artifacts = artifacts

    def of_round(
        self, row: Round, label_config: str, task_ids: Iterable[int] | None = None
    ) -> Iterable[dict[str, Any]]:
        """A round's predictions as Label Studio imports them, in ranked order, one at a time.

        Args:
            row: The round.
            label_config: The project's labelling configuration, as text.
            task_ids: Only these tasks; all when not given.

        Yields:
            ``{"task", "result", "score", "model_version"}``.

        Raises:
            LabelConfigError: When the configuration can't be served.
        """
        config = _parsed(label_config)
        for task_id, prediction in self._store.predictions(row.id, task_ids).items():
            yield {
                "task": task_id,
                "result": self._result(prediction, row, config),
                "score": prediction.score,
                "model_version": row.version,
            }

    def _result(
        self, prediction: Prediction, row: Round, config: LabelConfig
    ) -> list[dict[str, Any]]:
        if prediction.mask is None:
            return []
        try:
            mask = self._artifacts.read_mask(prediction.mask)
        except ArtifactError:
            # A newer round may have replaced the file between two reads; no mask is better than
            # an error, which Label Studio would show to nobody.
            return []
        # Classes may have been added or moved since: a mask's numbers are the round's, not the
        # configuration's.
        names = list(row.figures.get("class_names", config.class_names))
        lookup = np.zeros(256, dtype=np.uint8)
        for index, name in enumerate(names):
            lookup[index] = config.class_names.index(name) if name in config.class_names else 0
        confidences = {
            int(lookup[int(index)]): float(value)
            for index, value in prediction.confidences.items()
            if int(index) > 0
        }
        return encode(lookup[mask], config, scores=confidences)


@lru_cache(maxsize=64)
def _parsed(label_config: str) -> LabelConfig:
    return parse_label_config(label_config)
