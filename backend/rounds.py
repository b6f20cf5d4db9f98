"""One round: collect → fine-tune → propagate → select → publish.

Each step leaves its result in the round's folder before it counts as finished, so a round that
died is taken up again after its last finished step.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from backend.answers import Answers
from backend.artifacts import ArtifactError, Artifacts
from backend.clipwork import ClipWork
from backend.collect import Collector
from backend.earlier import clips_that_failed, find_unchanged, keep_earlier_masks
from backend.effort import count_clicks, samples_a_round
from backend.labelconfig import asks_for
from backend.media import MediaCache, MediaError
from backend.order import ClipState, order_frames
from backend.publish import publish
from backend.quality import expected_of_project, for_people
from backend.retention import kept_versions
from backend.roundfiles import ClipRecord, RoundFiles
from backend.roundprogress import Run
from backend.samplework import ClipSamples, ask, asked_first, valued_by_samples
from backend.settings import Settings
from backend.snapshot import ClipSnapshot, Snapshot
from backend.store import Store
from backend.studio import Studio
from backend.sync import look, remember
from backend.tables import Round
from backend.taskrows import first_frames, task_rows
from model.clip import ClipError

__all__ = ["ClipFailedError", "NothingToServeError", "RoundRunner", "make_version"]

log = logging.getLogger(__name__)

# What fails one clip without ending the round for the others.
_CLIP_ERRORS = (MediaError, ClipError, ValueError)
_TOLD = 3


class ClipFailedError(RuntimeError):
    """No clip with labels could be worked on; the sentence says why of each."""


class NothingToServeError(ValueError):
    """The project has nothing that a round could work on; the sentence says what to add."""


def make_version(project_id: int) -> Callable[[int], str]:
    """From a round's number to a model version that no other round has, even of a lost store."""
    salt = hashlib.sha256(f"{project_id} {time.time_ns()}".encode()).hexdigest()[:6]
    return lambda number: f"maskloop-r{number}-{salt}"


@dataclass(slots=True)
class RoundRunner:
    """Runs rounds; everything it needs from outside is given to it."""

    store: Store
    artifacts: Artifacts
    studio: Studio
    media: MediaCache
    settings: Settings

    def run(self, row: Round) -> None:
        """Run a round from after its last finished step to its end.

        Args:
            row: The round.

        Raises:
            NothingToServeError: When the project has no usable configuration or no frames.
            StudioError: When Label Studio can't be asked or refuses.
        """
        steps: dict[str, Callable[[Run], None]] = {
            "collect": self._collect,
            "finetune": self._finetune,
            "propagate": self._propagate,
            "select": self._select,
            "publish": self._publish,
        }
        files = RoundFiles(self.artifacts, row.project_id, row.version)
        names = list(steps)
        done = 0 if row.finished_step is None else names.index(row.finished_step) + 1
        for name in names[done:]:
            log.info("project %d: %s: %s", row.project_id, row.version, name)
            run = Run(self.store, row, files, name)
            run.report(0.0)
            steps[name](run)
            self.store.set_round(row.id, finished_step=name, attempts=1)
        self._finish(row, files)

    def publish_again(self, row: Round) -> None:
        """Show an older round's masks and order again; the next round goes on from it.

        Labels that came since are not new: they count with the next ones that change.

        Raises:
            StudioError: When Label Studio can't be asked or refuses.
        """
        log.info("project %d: going back to %s", row.project_id, row.version)
        self._show(row, lambda share: None)
        self.store.set_project(row.project_id, version=row.version)

    # Steps --------------------------------------------------------------------------------------

    def _collect(self, run: Run) -> None:
        view = look(self.studio, run.row.project_id)
        remember(self.store, run.row.project_id, view)
        if view.config is not None:
            count_clicks(self.store, run.row.project_id, view.frames, view.config)
        if view.config is None:
            raise NothingToServeError(view.problems[0])
        if not view.frames:
            raise NothingToServeError((view.problems or ["The project has no tasks yet."])[0])
        problems = list(view.problems)
        project = self.store.project(run.row.project_id)
        collector = Collector(
            run.files,
            self.media,
            view.config,
            self.settings.unlabelled,
            self.settings.objects,
            problems,
            lambda task_id: self._shown(run, view.label_config, task_id),
            edition=project.refreshes if project else 0,
        )
        snapshot = collector.snapshot(view.frames, self._settings_digest())
        shown, previous = self.store.published_round(run.row.project_id), self._previous(run)
        if previous is not None:
            task_ids = [frame.task_id for frame in view.frames]
            snapshot.clips += clips_that_failed(collector.failed, snapshot, previous[1], task_ids)
        if not snapshot.clips:
            reasons = [*problems, *collector.failed.values(), "The project has no tasks yet."]
            raise NothingToServeError(reasons[0])
        snapshot.annotators = view.annotators
        if previous is not None:
            failed = shown.figures.get("failed", {}) if shown else {}
            find_unchanged(snapshot, *previous, failed)
        collector.labels(snapshot.clips, view.frames, previous, run.report)
        tried = {str(f.task_id): f.digest for f in view.frames if f.clip in collector.failed}
        run.figures(failed=collector.failed, tried=tried)
        self._check_not_all_failed(run, snapshot)
        self.store.set_project(run.row.project_id, problems=problems)
        run.files.write_snapshot(snapshot)
        inside = {clip.name: clip.inside for clip in snapshot.clips if clip.is_task}
        asks = asks_for(view.config)
        run.figures(class_names=snapshot.class_names, inside=inside, asks=asks)
        found = [problem for problem in problems if problem not in view.problems]
        run.figures(terms=view.terms, refreshes=collector.edition, problems=found)
        self.store.set_round(run.row.id, labels=snapshot.key_frames)

    def _finetune(self, run: Run) -> None:
        snapshot = run.files.read_snapshot()
        todo = [clip for clip in snapshot.clips if clip.key_frames and clip.reused_from is None]
        fits: dict[str, Any] = {}
        for done, clip in enumerate(todo):
            work = self._work(run, snapshot, clip)
            with self._contained(run, clip):
                fits[clip.name] = work.finetune(
                    warm_starts=self._earlier_networks(run, clip),
                    progress=lambda share, note, done=done: run.report(  # type: ignore[misc]
                        (done + share) / len(todo), note
                    ),
                )
        run.figures(fits=fits)
        self._check_not_all_failed(run, snapshot)

    def _propagate(self, run: Run) -> None:
        snapshot = run.files.read_snapshot()
        total = sum(len(clip) for clip in snapshot.clips)
        failed = run.known_figures().get("failed", {})
        before = 0
        for clip in snapshot.clips:
            if clip.name in failed and clip.labelled and not clip.key_frames:
                self._keep_earlier(run, snapshot, clip)  # its labels could not be read
            elif clip.reused_from is not None:
                earlier = RoundFiles(self.artifacts, run.row.project_id, clip.reused_from)
                run.files.reuse_clip(earlier, clip.name, clip.keys)
            elif not run.files.has_record(clip.name):
                with self._contained(run, clip):
                    self._work(run, snapshot, clip).propagate(
                        progress=lambda done, _, before=before, clip=clip: run.report(  # type: ignore[misc]
                            (before + done) / total, f"{clip.name}: frame {done} of {len(clip)}"
                        )
                    )
                if not run.files.has_record(clip.name):
                    self._keep_earlier(run, snapshot, clip)
            before += len(clip)
            run.report(before / total)
        self._check_not_all_failed(run, snapshot)

    def _select(self, run: Run) -> None:
        snapshot = run.files.read_snapshot()
        records = [self._record(run, clip) for clip in snapshot.clips]
        states = [
            self._state(run, snapshot, clip, record)
            for clip, record in zip(snapshot.clips, records, strict=True)
        ]
        samples = self._samples(run, snapshot, records)
        states = valued_by_samples(states, samples)
        limits = self.settings.budget, self.settings.budget_clicks
        budget = samples_a_round(self.store, run.row.project_id, *limits)
        seed = self.settings.seed + run.row.number
        order = order_frames(states, self.settings.strategy, budget, seed, snapshot.annotators)
        places = [(place.clip, place.frame) for place in order]
        chosen = [(place.clip, place.frame) for place in order if place.chosen]
        asked = ask(samples, chosen, self.settings.strategy, seed)
        # Labelled tasks go last, and carry their own label should someone label them anew.
        for index, clip in enumerate(snapshot.clips):
            places += [(index, frame) for frame in clip.done]
        rows = task_rows(run.files, snapshot, records, places)
        self.store.save_predictions(run.row.id, rows)
        run.figures(
            quality={
                clip.name: for_people(record.findings, clip)
                for clip, record in zip(snapshot.clips, records, strict=True)
                if record.findings
            },
            expected_miou=expected_of_project(records),
            chosen=chosen,
            samples_asked=asked,
            samples_of=asked_first(samples, [(each.clip, each.frame) for each in order]),
            first_frames=first_frames(snapshot, [(each.clip, each.frame) for each in order]),
        )

    def _publish(self, run: Run) -> None:
        self._show(run.row, run.report)

    # What the steps share -----------------------------------------------------------------------

    def _show(self, row: Round, progress: Callable[[float], None]) -> None:
        publish(
            self.store,
            self.studio,
            self._answers,
            row,
            keep=self.settings.keep_versions,
            columns=self.settings.columns,
            progress=progress,
        )

    def _shown(self, run: Run, label_config: str, task_id: int) -> list[dict[str, Any]]:
        """The result that people were shown of a task."""
        row = self.store.published_round(run.row.project_id)
        answers = self._answers.of_round(row, label_config, [task_id]) if row else ()
        return [region for answer in answers for region in answer["result"]]

    @property
    def _answers(self) -> Answers:
        return Answers(self.store, self.artifacts, self.settings.encode_options)

    def _work(self, run: Run, snapshot: Snapshot, clip: ClipSnapshot) -> ClipWork:
        return ClipWork(run.files, clip, self.media, self.settings, snapshot.queries)

    def _samples(
        self, run: Run, snapshot: Snapshot, records: Sequence[ClipRecord]
    ) -> dict[int, ClipSamples]:
        """The rectangles or super-pixels of clips that have masks, by the clip's index."""
        pairs = zip(snapshot.clips, records, strict=True)
        parts = [self._work(run, snapshot, c).parts if r.has_masks else None for c, r in pairs]
        return {index: each for index, each in enumerate(parts) if each is not None}

    def _state(
        self, run: Run, snapshot: Snapshot, clip: ClipSnapshot, record: ClipRecord
    ) -> ClipState:
        labelled = np.zeros(len(clip), dtype=bool)
        labelled[[*clip.labelled, *clip.done]] = True
        labelled[clip.open_again] = False
        positions = np.array(clip.positions, dtype=np.int64)
        skipped = np.zeros(len(clip), dtype=bool)
        skipped[clip.skipped] = True
        # Nobody can label a picture that nobody can see.
        skipped[[int(index) for index in record.findings.get("unreadable", {})]] = True
        state = ClipState(positions, labelled, record.uncertainty, record.features, skipped=skipped)
        try:
            work = self._work(run, snapshot, clip)
            reach = work.reach(
                progress=lambda done, total: run.report(
                    done / total, f"{clip.name}: how far labels reach, frame {done} of {total}"
                )
            )
            return (
                state if reach is None else replace(state, reach=reach, clicks=work.label_clicks())
            )
        except _CLIP_ERRORS as error:  # the order goes by time then
            log.warning("project %d: reach of clip %s: %s", run.row.project_id, clip.name, error)
            return state

    @contextmanager
    def _contained(self, run: Run, clip: ClipSnapshot) -> Iterator[None]:
        """Keep one clip's failure from ending the round for the others; it is tried again later."""
        try:
            yield
        except _CLIP_ERRORS as error:
            log.warning("project %d: clip %s: %s", run.row.project_id, clip.name, error)
            failed = {**run.known_figures().get("failed", {}), clip.name: str(error)}
            run.figures(failed=failed)

    def _keep_earlier(self, run: Run, snapshot: Snapshot, clip: ClipSnapshot) -> None:
        """Let a clip that failed keep the masks of the round before."""
        previous = self._previous(run)
        if previous is not None:
            keep_earlier_masks(run.files, clip, *previous)
            run.files.write_snapshot(snapshot)

    def _check_not_all_failed(self, run: Run, snapshot: Snapshot) -> None:
        failed: dict[str, str] = run.known_figures().get("failed", {})
        labelled = [clip.name for clip in snapshot.clips if clip.labelled]
        if labelled and all(name in failed for name in labelled):
            run.figures(failed={})
            raise ClipFailedError(_failure(failed))

    def _finish(self, row: Round, files: RoundFiles) -> None:
        done = self.store.round(row.id)
        failed: dict[str, str] = done.figures.get("failed", {}) if done else {}
        snapshot = files.read_snapshot()
        known = {
            task_id: (clip.name not in failed, digest)
            for clip in snapshot.clips
            for task_id, digest in clip.labels.items()
        }
        efforts = self.store.efforts(row.project_id)
        clicks = sum(n for task, (label, n) in efforts.items() if known.get(task) == (True, label))
        kind = str(snapshot.queries.granularity) if snapshot.queries else "frame"
        figures = {**(done.figures if done else {}), "clicks": clicks, "granularity": kind}
        last = self.store.published_round(row.project_id)
        before = last.figures if last else {}
        # Then what a clip that failed was labelled with before is still to be done.
        renew = any(before.get(name) != figures.get(name) for name in ("terms", "refreshes"))
        known |= {int(task): (True, digest) for task, digest in snapshot.set_aside.items()}
        failure = _failure(failed) if failed else None
        tried = {str(task): digest for task, (used, digest) in known.items() if not used}
        figures["tried"] = figures.get("tried", {}) | tried
        self.store.set_round(row.id, figures=figures)
        self.store.finish_round(row.id, known, failure=failure, renew=renew)
        self._prune(row)

    def _record(self, run: Run, clip: ClipSnapshot) -> ClipRecord:
        if run.files.has_record(clip.name):
            return run.files.read_record(clip.name)
        # The clip failed: as uncertain as can be.
        return ClipRecord.unknown(len(clip), len(clip.class_names))

    def _previous(self, run: Run) -> tuple[RoundFiles, Snapshot] | None:
        """The round whose version is shown: the last one, or the one that was gone back to."""
        last = self.store.published_round(run.row.project_id)
        if last is None:
            return None
        files = RoundFiles(self.artifacts, run.row.project_id, last.version)
        try:
            return (files, files.read_snapshot()) if files.has_snapshot() else None
        except ArtifactError as error:  # everything is worked out anew then
            log.warning("project %d: %s", run.row.project_id, error)
            return None

    def _earlier_networks(self, run: Run, clip: ClipSnapshot) -> list[Path]:
        """Networks to go on from: of the version that is shown, then of older ones."""
        shown = self.store.published_round(run.row.project_id)
        rounds = [row for row in self.store.rounds(run.row.project_id) if row.state == "done"]
        rounds.sort(key=lambda row: (shown is not None and row.id == shown.id, row.id))
        files = [RoundFiles(self.artifacts, row.project_id, row.version) for row in rounds]
        return [
            each.network_path(clip.name) for each in reversed(files) if each.has_network(clip.name)
        ]

    def _settings_digest(self) -> str:
        settings = self.settings
        parts = (settings.method, settings.network, settings.flow, settings.unlabelled)
        fit = (settings.preset, settings.consistency, settings.finetune_seconds)
        return repr((*parts, *fit))

    def _prune(self, row: Round) -> None:
        rounds = self.store.rounds(row.project_id)
        kept = kept_versions(rounds, row.version, self.settings.keep_versions)
        self.store.drop_rounds(past.id for past in rounds if past.version not in kept)
        self.artifacts.keep_rounds(row.project_id, kept)


def _failure(failed: Mapping[str, str]) -> str:
    told = [
        f"Clip {name!r} keeps its earlier masks and is tried again: {sentence.rstrip('.')}."
        for name, sentence in islice(failed.items(), _TOLD)
    ]
    if len(failed) > _TOLD:
        told.append(f"So it is with {len(failed) - _TOLD} more clips.")
    return " ".join(told)
