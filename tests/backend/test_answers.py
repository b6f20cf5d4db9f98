from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.answers import Answers
from backend.artifacts import Artifacts
from backend.labelconfig import make_label_config
from backend.roundfiles import RoundFiles
from backend.snapshot import ClipSnapshot, Snapshot
from backend.store import Store
from backend.tables import Round

CONFIG = make_label_config(["car", "road"])


@pytest.fixture
def published(tmp_path: Path):
    """A round of one frame, whose clip's only label is the second of the configuration."""
    store, artifacts = Store(f"sqlite:///{tmp_path / 's.db'}"), Artifacts(tmp_path / "projects")
    store.ring(1)
    row = store.start_round(1, lambda number: f"v{number}", "me")
    assert row is not None
    files = RoundFiles(artifacts, 1, row.version)
    clip = ClipSnapshot("c", [7], ["u"], [0], [None], items=[None])
    clip.channels, clip.class_names = [["background", ""], ["road", ""]], ["background", "road"]
    files.write_snapshot(Snapshot(["background", "car", "road"], [clip]))
    artifacts.write_mask(files.mask_key("7"), np.ones((4, 4), np.uint8))
    place = {"task_id": 7, "rank": 0, "score": 0.0, "mask": files.mask_key("7")}
    store.save_predictions(row.id, [place])
    store.set_round(row.id, figures={"class_names": ["background", "car", "road"]})
    yield store, artifacts, store.round(row.id)
    store.close()


def labels(answers: Answers, row: Round) -> list[list[str]]:
    (answer,) = answers.of_round(row, CONFIG, [7])
    return [region["value"]["brushlabels"] for region in answer["result"]]


def test_a_thread_that_pushes_out_what_another_has_just_read_does_it_no_harm(published) -> None:
    store, artifacts, row = published

    class Crowded(dict):  # type: ignore[type-arg]
        def __setitem__(self, key: object, value: object) -> None:
            """Pushed out at once by other threads."""

    answers = Answers(store, artifacts)
    answers._clips = Crowded()
    assert labels(answers, row) == [["road"]]


def test_what_could_not_be_read_once_is_read_again(published) -> None:
    store, artifacts, row = published
    answers = Answers(store, artifacts)
    path = artifacts.path(f"1/rounds/{row.version}/snapshot.json")
    whole = path.read_bytes()
    path.write_bytes(b"")  # on a shared volume that lags behind
    assert labels(answers, row) == []  # not some other label
    path.write_bytes(whole)
    assert labels(answers, row) == [["road"]]
