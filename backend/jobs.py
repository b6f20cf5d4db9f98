"""The worker: what is due, who runs it, and how what was lost is found again."""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import psutil
from sqlalchemy.exc import DBAPIError, OperationalError

from backend.effort import count_clicks
from backend.jobqueue import Queue
from backend.labelconfig import LabelConfigError, asks_for, parse_label_config
from backend.rounds import NothingToServeError, RoundRunner, make_version
from backend.schema import trouble
from backend.settings import Settings
from backend.studio import StudioError
from backend.sync import look, remember
from backend.tables import Project, Round

__all__ = ["Foreman"]

log = logging.getLogger(__name__)

# Rounds that fail are tried again later and later, so often, before they are given up.
_ATTEMPTS = 5
_LONGEST_PAUSE = 900.0
# Where a part of a project fails and the rest goes on: each round publishes all of it anew.
_LONGEST_RETRY = 6 * 3600.0
# A round of another machine's worker is taken over when it has been silent so long.
_STALE_SECONDS = 60.0
_BEAT_SECONDS = 5.0
# What was made for a project that Label Studio no longer knows is kept for so long.
_KEPT_DAYS = 7
_NOT_WRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


class Foreman:
    """Decides what is due and runs it: the worker's whole mind.

    Args:
        runner: Runs rounds.
        settings: The service's settings.
    """

    def __init__(self, runner: RoundRunner, settings: Settings) -> None:
        self.runner = runner
        self.store = runner.store
        self.settings = settings
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self.queue = Queue(settings, self.consider)

    def work(self) -> None:
        """Run the worker: first what was left undone, then jobs as they come."""
        self.store.clear_queue_marks()
        threading.Thread(target=self._tick, name="check", daemon=True).start()
        self.queue.consume()

    def _tick(self) -> None:
        """Look at every project now and then: finds lost webhooks, jobs and rounds."""
        while True:
            try:
                idle = self.queue.is_empty
                for project in self.store.projects():
                    # A project that waits in an empty queue has lost its job.
                    if self.store.enqueue(project.id) or idle:
                        self.queue.put(project.id)
            except Exception as error:
                sentence = _sentence(error)
                log.error("the regular check: %s", sentence, exc_info=not _is_told(error))
            time.sleep(self.settings.check_seconds)

    def consider(self, project_id: int) -> None:
        """Look at a project, and run a round where one is due. Never raises."""
        try:
            self.store.set_project(project_id, queued=False)
            project = self.store.project(project_id)
            if project is None or self._pausing(project):
                return
            unfinished = self.store.unfinished_round(project_id)
            if unfinished is not None:
                self._run(unfinished)
                return
            if project.wanted_version is not None:
                self._go_back(project)
            self._look(project)
            due, wait = self._due(project_id)
            if due:
                version = make_version(project_id)
                row = self.store.start_round(project_id, version, self.owner)
                if row is not None:  # else another worker was quicker
                    self._run(row)
            else:
                self._recovered(project_id)
                if wait > 0:
                    self.queue.put(project_id, delay=wait)
        except StudioError as error:
            self._studio_failed(project_id, error)
        except Exception as error:
            sentence = self._sentence(error)
            log.error("project %d: %s", project_id, sentence, exc_info=not _is_told(error))
            self._failed(project_id, sentence)

    # What is due --------------------------------------------------------------------------------

    def _look(self, project: Project) -> None:
        """Learn from Label Studio what changed, at little cost where nothing did."""
        studio = self.runner.studio
        fingerprint = studio.fingerprint(project.id)
        if project.gone_at is not None:
            self.store.set_project(project.id, gone_at=None)
        rung = project.rung_at is not None
        if fingerprint != project.fingerprint or (rung and project.rung_at != project.looked_at):
            view = look(studio, project.id)
            values: dict[str, Any] = {"fingerprint": fingerprint, "looked_at": project.rung_at}
            if remember(self.store, project.id, view):
                values["changed_at"] = time.time()
            if view.config is not None:
                count_clicks(self.store, project.id, view.frames, view.config)
            self.store.set_project(project.id, **values)

    def _due(self, project_id: int) -> tuple[bool, float]:
        """Whether a round is due, or else in how many seconds to look again (0: no need)."""
        project = self.store.project(project_id)
        if project is None:
            return False, 0.0
        labels, unranked = self.store.pending(project_id)
        if labels + unranked == 0 and not self._asks_anew(project):
            if project.train_now:
                self.store.set_project(project_id, train_now=False)
            return False, 0.0
        if project.train_now:
            self.store.set_project(project_id, train_now=False)
            return True, 0.0
        labels, unranked, clicks = self.store.untried(project_id)
        if labels + unranked == 0 and not self._asks_anew(project):
            # What failed, and nothing else: tried again later and later, whoever rings.
            return self._pause_left(project, _LONGEST_RETRY) <= 0, 0.0
        if labels and self._is_full(labels, clicks):
            return True, 0.0
        quiet = _since(max(project.changed_at or 0.0, project.rung_at or 0.0))
        left = self.settings.quiet_seconds - quiet
        if unranked == 0 or labels > 0:
            return left <= 0, max(left, 0.0)
        # New tasks only: an import is usually over within seconds.
        left = min(left, self._import_seconds - quiet)
        return left <= 0, max(left, 0.0)

    def _asks_anew(self, project: Project) -> bool:
        """Whether the project asks for other masks or samples than the last round made: other
        labels, tags, samples, or other wishes of its tasks."""
        done = [row for row in self.store.rounds(project.id) if row.state == "done"]
        try:
            asks = asks_for(parse_label_config(project.label_config))
        except LabelConfigError:
            return False
        if not done or not self.store.frames(project.id):
            return False
        figures = done[-1].figures
        # Rounds of 0.1.0 did not note the terms.
        terms = figures.get("terms")
        other = terms is not None and project.terms is not None and terms != project.terms
        other = other or (figures.get("refreshes") or 0) != project.refreshes
        return bool(other or figures.get("asks", asks_for(None)) != asks)

    def _is_full(self, labels: int, clicks: int) -> bool:
        """Whether a round's budget is in, counted in clicks or in samples."""
        if self.settings.budget_clicks:
            return clicks >= self.settings.budget_clicks
        return labels >= self.settings.budget

    @property
    def _import_seconds(self) -> float:
        return min(self.settings.quiet_seconds, 3.0)

    def _pausing(self, project: Project) -> bool:
        """Whether the project failed lately, and nobody rang since: try again later."""
        if not project.failures or project.error_at is None:
            return False
        if project.rung_at is not None and project.rung_at > project.error_at:
            return False
        return self._pause_left(project, _LONGEST_PAUSE) > 0

    def _pause_left(self, project: Project, longest: float) -> float:
        """Seconds until what failed is tried again."""
        if project.error_at is None:
            return 0.0
        pause = self.settings.check_seconds * 2.0 ** min(max(project.failures, 1) - 1, 30)
        return min(pause, longest) - _since(project.error_at)

    # Rounds -------------------------------------------------------------------------------------

    def _run(self, row: Round) -> None:
        stale = math.inf if self._died(row) else time.time() - _STALE_SECONDS
        if not self.store.claim_round(row.id, self.owner, stale):
            return
        if row.attempts >= _ATTEMPTS:
            raise self._ended_again_and_again(row)
        if row.attempts >= 1:
            log.info("project %d: %s is taken up again", row.project_id, row.version)
        try:
            with self._heartbeat(row.id):
                self.runner.run(row)
        except StudioError:
            # Label Studio may come back: the round stays, and goes on from its last step.
            self.store.set_round(row.id, attempts=0)
            raise
        except Exception as error:
            sentence = self._sentence(error)
            tried = self.store.round(row.id)
            given_up = tried is None or tried.attempts >= _ATTEMPTS
            given_up = given_up or isinstance(error, NothingToServeError)
            values: dict[str, Any] = {"state": "failed" if given_up else "running"}
            if _is_of_disk(error):  # It goes on when there is room.
                values = {"state": "running", "attempts": 0}
            self.store.set_round(row.id, error=sentence, **values)
            if values["state"] == "failed":
                self._clear_away(row.project_id)
            raise
        # What came during the round is looked at right after it.
        if self.store.enqueue(row.project_id):
            self.queue.put(row.project_id)

    def _ended_again_and_again(self, row: Round) -> RuntimeError:
        """Give up a round that no worker lived through; another is begun later and later."""
        step = row.step or "first"
        error = RuntimeError(
            f"The worker ended {row.attempts} times in the step {step!r} of round {row.number} "
            "without a word, as a process does that the system ends for want of memory. Its log, "
            "or the system's, may say why; give it more memory, or smaller pictures."
        )
        self.store.set_round(row.id, error=str(error), state="failed")
        self._clear_away(row.project_id)
        return error

    def _clear_away(self, project_id: int) -> None:
        """Delete what rounds that were given up leave behind: one after another they would fill
        the disk."""
        rounds = self.store.rounds(project_id)
        kept = {row.version for row in rounds if row.state != "failed"}
        self.store.drop_rounds(row.id for row in rounds if row.version not in kept)
        self.runner.artifacts.keep_rounds(project_id, kept)

    def _go_back(self, project: Project) -> None:
        """Publish an older round again, as a person asked."""
        version = project.wanted_version
        rows = [row for row in self.store.rounds(project.id) if row.version == version]
        self.store.set_project(project.id, wanted_version=None)
        if not rows:
            return
        try:
            self.runner.publish_again(rows[0])
        except StudioError:  # It is still wanted once Label Studio answers again.
            self.store.set_project(project.id, wanted_version=version)
            raise

    def _died(self, row: Round) -> bool:
        """Whether the round's owner was a process of this machine that is no more."""
        host, _, pid = (row.owner or "").rpartition(":")
        if row.owner == self.owner:
            return True
        return host == socket.gethostname() and not bool(psutil.pid_exists(int(pid or 0)))

    @contextmanager
    def _heartbeat(self, round_id: int) -> Iterator[None]:
        """Show that the round is alive, also in steps that report nothing for long."""
        over = threading.Event()

        def beat() -> None:
            told = False
            while not over.wait(_BEAT_SECONDS):
                try:
                    self.store.set_round(round_id)
                    told = False
                except Exception as error:
                    if not told:  # once: a log that grows would fill a full disk further
                        log.error("no heartbeat for round %d: %s", round_id, self._sentence(error))
                    told = True

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _studio_failed(self, project_id: int, error: StudioError) -> None:
        sentence = str(error)
        if error.status == 404 and self._gone(project_id):
            if self._is_over(project_id):
                log.info("project %d is gone from Label Studio and forgotten", project_id)
                self.store.remove_project(project_id)
                self.runner.artifacts.remove_project(project_id)
                return
            sentence = (
                f"Label Studio at {self.settings.label_studio_url} has no project {project_id} "
                "any more, or the user of LABEL_STUDIO_API_KEY may not see it. In case one of "
                f"these is wrong, its masks and networks are kept for {_KEPT_DAYS} days."
            )
        log.warning("project %d: %s", project_id, sentence)
        self._failed(project_id, sentence)

    def _recovered(self, project_id: int) -> None:
        """Label Studio was asked and nothing is due: of what went wrong before, only what the last
        round says of its clips is still so."""
        project, rounds = self.store.project(project_id), self.store.rounds(project_id)
        if project is None or project.error is None:
            return
        error = rounds[-1].error if rounds else None
        if error is None:
            self.store.set_project(project_id, error=None, error_at=None, failures=0)
        elif error != project.error:
            self.store.set_project(project_id, error=error)

    def _is_over(self, project_id: int) -> bool:
        """Whether a project that Label Studio does not know may be forgotten: at once where no
        round was made, else when it was gone for days. A wrong address or token looks the same."""
        project = self.store.project(project_id)
        if project is None or project.version is None:
            return True
        if project.gone_at is None:
            self.store.set_project(project_id, gone_at=time.time())
            return False
        return time.time() - project.gone_at > _KEPT_DAYS * 86_400

    def _failed(self, project_id: int, sentence: str) -> None:
        """Keep what went wrong for the status. Never raises: the disk may be full."""
        try:
            self.store.fail_project(project_id, sentence)
        except Exception as error:
            log.error("project %d: the store can't be written: %s", project_id, error)

    def _gone(self, project_id: int) -> bool:
        try:
            self.runner.studio.project(project_id)
        except StudioError as error:
            return error.status == 404
        return False

    def _sentence(self, error: Exception) -> str:
        if _is_of_disk(error):
            return (
                f"MODEL_DIR ({self.settings.model_dir.resolve()}) can't be written: "
                f"{error.strerror}. Make room, or give the service's user the right to write "
                "there; what was begun goes on by itself."
            )
        return _sentence(error)


def _since(moment: float) -> float:
    """Seconds since a moment; endless where it lies ahead, as it does when the clock was put back:
    waiting until it has come again could take hours."""
    seconds = time.time() - moment
    return seconds if seconds > -_STALE_SECONDS else math.inf


def _is_of_disk(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in _NOT_WRITABLE


def _is_told(error: Exception) -> bool:
    """Whether the sentence says all that there is to know."""
    return _is_of_disk(error) or isinstance(error, OperationalError)


def _sentence(error: Exception) -> str:
    if isinstance(error, DBAPIError):
        return trouble(error)
    if isinstance(error, (ValueError, RuntimeError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}. See the worker's log for where it happened."
