"""Label, get masks on every frame, in our order: the whole loop, played through once."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from backend.local_service import LocalService
from backend.studio import Studio
from backend.studio_server import StudioServer
from backend.tables import Round
from model.synthetic import render_clip
from tests.end_to_end.loop import Loop, Mask

pytestmark = pytest.mark.end_to_end

BUDGET = 3


@dataclass
class History:
    """What happened, for the tests to judge."""

    loop: Loop
    rounds: list[Round] = field(default_factory=list)
    rankings: list[list[int]] = field(default_factory=list)
    by_score: list[list[int]] = field(default_factory=list)
    masks: list[dict[int, Mask]] = field(default_factory=list)
    versions: list[dict[str, int]] = field(default_factory=list)
    served: list[list[int]] = field(default_factory=list)

    def note_round(self, number: int) -> None:
        row = self.loop.wait_for_round(number)
        predictions = self.loop.predictions(row.version)
        assert all(len(each) == 1 for each in predictions.values())
        self.rounds.append(row)
        self.rankings.append(self.loop.ranking(row))
        self.by_score.append(sorted(predictions, key=lambda task: predictions[task][0]["score"]))
        self.masks.append(self.loop.masks(row.version))
        self.versions.append(self.loop.studio.model_versions(self.loop.project))

    def frames(self, count: int) -> set[int]:
        """The frames that were labelled when so many rounds' worth had been served."""
        return {self.loop.frame_of[task] for served in self.served[:count] for task in served}


@pytest.fixture(scope="module")
def history(
    studio: Studio, server: StudioServer, tmp_path_factory: pytest.TempPathFactory
) -> History:
    service = LocalService(
        tmp_path_factory.mktemp("loop"),
        studio_url=server.url,
        api_key=server.login.api_key,
        settings={
            "MASKLOOP_BUDGET": str(BUDGET),
            "MASKLOOP_FINETUNE_SECONDS": "8",
            # Only the webhook can start a round here.
            "MASKLOOP_QUIET_SECONDS": "3600",
            "MASKLOOP_CHECK_SECONDS": "3600",
        },
    )
    with service:
        clip = render_clip(40, (160, 120), seed=3)
        history = History(Loop(studio, service, clip, server.document_root, "the-whole-loop"))
        history.note_round(0)
        history.served.append(history.loop.label_next(BUDGET))
        history.note_round(1)
        history.served.append(history.loop.label_next(BUDGET))
        history.note_round(2)
    # The service is down: what is served now is what it left.
    history.served.append(history.loop.serve_all())
    return history


def test_every_task_is_ranked_before_any_label(history: History) -> None:
    assert sorted(history.rankings[0]) == sorted(history.loop.frame_of)
    assert history.rounds[0].labels == 0
    assert not any(mask.any() for mask in history.masks[0].values())


def test_the_first_frames_are_spread_over_the_clip(history: History) -> None:
    first = sorted(history.loop.frame_of[task] for task in history.served[0])
    gaps = [b - a for a, b in pairwise(first)]
    assert min(gaps) >= len(history.loop.clip) // (2 * BUDGET)


def test_the_first_order_served_is_ours(history: History) -> None:
    assert history.served[0] == history.rankings[0][:BUDGET]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_scores_say_the_ranking(history: History, number: int) -> None:
    assert history.by_score[number] == history.rankings[number]


@pytest.mark.parametrize("number", [1, 2])
def test_a_round_uses_the_labels_that_were_given(history: History, number: int) -> None:
    assert history.rounds[number].labels == number * BUDGET


@pytest.mark.parametrize("number", [1, 2])
def test_the_order_served_is_the_new_ranking_task_by_task(history: History, number: int) -> None:
    done = {task for served in history.served[:number] for task in served}
    ranked = [task for task in history.rankings[number] if task not in done]
    assert history.served[number] == ranked[: len(history.served[number])]
    assert len(history.served[2]) == len(history.loop.frame_of) - 2 * BUDGET


@pytest.mark.parametrize("number", [1, 2])
def test_every_other_frame_has_its_mask(history: History, number: int) -> None:
    others = set(range(len(history.loop.clip))) - history.frames(number)
    assert all(history.masks[number][frame].any() for frame in others)


def test_masks_beat_copying_the_nearest_key_frame(history: History) -> None:
    keys = history.frames(1)
    others = set(range(len(history.loop.clip))) - keys
    ours = history.loop.mean_iou(history.masks[1], others)
    copied = history.loop.mean_iou(history.loop.copied(keys, others), others)
    assert ours >= copied + 0.1


def test_the_second_round_improves_on_the_first(history: History) -> None:
    others = set(range(len(history.loop.clip))) - history.frames(2)
    first = history.loop.mean_iou(history.masks[1], others)
    second = history.loop.mean_iou(history.masks[2], others)
    assert second > first


def test_each_round_is_a_version_of_its_own(history: History) -> None:
    versions = [row.version for row in history.rounds]
    assert len(set(versions)) == 3
    assert set(history.versions[2]) == set(versions)
