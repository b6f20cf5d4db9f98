"""Durable state: projects, frames, rounds and predictions, in SQLite or any SQLAlchemy URL."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, delete, event, func, select, update
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.orm import Session, sessionmaker

from backend.schema import prepare
from backend.tables import Effort, Frame, Prediction, Project, Round

__all__ = ["Store"]


class Store:
    """The service's memory. Every method is one short transaction, safe from several processes.

    Rows that methods return are detached: plain values to read, never to write back.

    Args:
        url: SQLAlchemy URL. A SQLite file's folder is created, and the file put in WAL mode.

    Raises:
        StoreError: When a newer Maskloop made the store, or it can't be opened.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = _engine(url)
        prepare(self.engine)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    # Projects -----------------------------------------------------------------------------------

    def projects(self) -> list[Project]:
        """All projects, by id."""
        with self._session() as session:
            return list(session.scalars(select(Project).order_by(Project.id)))

    def project(self, project_id: int) -> Project | None:
        """One project, or None."""
        with self._session() as session:
            return session.get(Project, project_id)

    def ring(self, project_id: int, *, train_now: bool = False, **known: Any) -> bool:
        """Note that something happened to a project, which is created if it is new.

        Args:
            project_id: Label Studio's id.
            train_now: A round is wanted at once.
            **known: Columns of the project that the caller knows (title, label_config).

        Returns:
            Whether the caller should put the project in the queue: not where it waits there.
        """
        with self._session() as session:
            project = session.get(Project, project_id)
            if project is None:
                project = Project(id=project_id, queued=False, train_now=False)
                session.add(project)
            for key, value in known.items():
                setattr(project, key, value)
            project.rung_at = time.time()
            project.train_now = project.train_now or train_now
            waits, project.queued = project.queued, True
            return not waits

    def enqueue(self, project_id: int) -> bool:
        """Mark a project as queued; whether it was not."""
        with self._session() as session:
            changed = session.execute(
                update(Project)
                .where(Project.id == project_id, Project.queued.is_(False))
                .values(queued=True)
            )
            return bool(changed.rowcount)  # type: ignore[attr-defined]

    def clear_queue_marks(self) -> None:
        """Forget which projects were queued: at the start of a worker, whose queue may be lost."""
        with self._session() as session:
            session.execute(update(Project).values(queued=False))

    def set_project(self, project_id: int, **values: Any) -> None:
        """Set columns of a project."""
        with self._session() as session:
            session.execute(update(Project).where(Project.id == project_id).values(**values))

    def fail_project(self, project_id: int, sentence: str) -> None:
        """Keep the last error of a project, and count it."""
        with self._session() as session:
            session.execute(
                update(Project)
                .where(Project.id == project_id)
                .values(error=sentence, error_at=time.time(), failures=Project.failures + 1)
            )

    def remove_project(self, project_id: int) -> None:
        """Forget a project that no longer exists in Label Studio."""
        with self._session() as session:
            session.execute(delete(Project).where(Project.id == project_id))

    # Frames -------------------------------------------------------------------------------------

    def frames(self, project_id: int) -> list[Frame]:
        """All frames of a project, by clip and position."""
        with self._session() as session:
            query = select(Frame).where(Frame.project_id == project_id)
            return list(session.scalars(query.order_by(Frame.clip, Frame.position, Frame.task_id)))

    def sync_frames(self, project_id: int, seen: Sequence[dict[str, Any]]) -> bool:
        """Make the frames equal to what was seen in Label Studio.

        Args:
            project_id: Label Studio's id.
            seen: Dictionaries with ``task_id, clip, position, url, label``.

        Returns:
            Whether anything changed.
        """
        with self._session() as session:
            query = select(Frame).where(Frame.project_id == project_id)
            known = {frame.task_id: frame for frame in session.scalars(query)}
            changed = False
            # Ids are Label Studio's. Where another project has one, it is of a Label Studio that
            # was there before, or of a project that is gone.
            new = [values["task_id"] for values in seen if values["task_id"] not in known]
            for start in range(0, len(new), 500):
                session.execute(delete(Frame).where(Frame.task_id.in_(new[start : start + 500])))
            for values in seen:
                frame = known.pop(values["task_id"], None)
                if frame is None:
                    session.add(Frame(project_id=project_id, **values))
                    changed = True
                    continue
                moved = any(getattr(frame, k) != values[k] for k in ("clip", "position", "url"))
                if moved:
                    frame.ranked = False
                if moved or frame.label != values["label"]:
                    for key, value in values.items():
                        setattr(frame, key, value)
                    changed = True
            for frame in known.values():
                session.delete(frame)
                changed = True
            return changed

    def pending(self, project_id: int) -> tuple[int, int]:
        """What the last finished round did not know: ``(changed labels, unranked tasks)``."""
        with self._session() as session:
            frames = select(func.count()).where(Frame.project_id == project_id)
            labels = session.scalar(frames.where(Frame.label.is_distinct_from(Frame.used_label)))
            unranked = session.scalar(frames.where(Frame.ranked.is_(False)))
            return labels or 0, unranked or 0

    def untried(self, project_id: int) -> tuple[int, int, int]:
        """What is pending and was not tried in vain by the last finished round.

        Returns:
            ``(changed labels, unranked tasks, clicks of these labels)``.
        """
        done = [row for row in self.rounds(project_id) if row.state == "done"]
        tried: dict[str, str | None] = done[-1].figures.get("tried", {}) if done else {}
        efforts = self.efforts(project_id)
        labels = unranked = clicks = 0
        for frame in self.frames(project_id):
            if tried.get(str(frame.task_id), "") == frame.label:
                continue
            unranked += not frame.ranked
            if frame.label != frame.used_label:
                labels += 1
                label, cost = efforts.get(frame.task_id, (None, 0))
                clicks += cost if label == frame.label else 0
        return labels, unranked, clicks

    def efforts(self, project_id: int) -> dict[int, tuple[str, int]]:
        """Of each task with a counted label: the label's digest, and its clicks."""
        with self._session() as session:
            query = select(Effort).where(Effort.project_id == project_id)
            return {row.task_id: (row.label, row.clicks) for row in session.scalars(query)}

    def save_efforts(self, project_id: int, rows: Iterable[dict[str, Any]]) -> None:
        """Keep what labels cost: dictionaries with ``task_id, label, clicks``."""
        with self._session() as session:
            for row in rows:
                session.merge(Effort(project_id=project_id, **row))

    # Rounds -------------------------------------------------------------------------------------

    def rounds(self, project_id: int) -> list[Round]:
        """All rounds of a project, oldest first."""
        with self._session() as session:
            query = select(Round).where(Round.project_id == project_id).order_by(Round.id)
            return list(session.scalars(query))

    def round(self, round_id: int) -> Round | None:
        """One round, or None."""
        with self._session() as session:
            return session.get(Round, round_id)

    def unfinished_round(self, project_id: int) -> Round | None:
        """The round in progress of a project, whoever owns it, or None."""
        with self._session() as session:
            query = select(Round).where(Round.project_id == project_id, Round.state == "running")
            return session.scalars(query.order_by(Round.id.desc())).first()

    def start_round(self, project_id: int, make_version: Any, owner: str) -> Round | None:
        """Create a round, unless one of the project is in progress.

        Of several workers that find a round due at the same time, one starts it.

        Args:
            project_id: Label Studio's id.
            make_version: From the round's number to its model version.
            owner: Who runs it.

        Returns:
            The round, or None where one is in progress.
        """
        now = time.time()
        with self._session() as session:
            running = (Round.project_id == project_id) & (Round.state == "running")
            if session.scalar(select(Round.id).where(running).limit(1)) is not None:
                return None
            last = session.scalar(
                select(func.max(Round.number)).where(Round.project_id == project_id)
            )
            number = 0 if last is None else last + 1
            row = Round(
                project_id=project_id,
                number=number,
                version=make_version(number),
                state="running",
                owner=owner,
                started_at=now,
                heartbeat_at=now,
                attempts=0,
            )
            session.add(row)
            session.flush()
            return row

    def claim_round(self, round_id: int, owner: str, stale_before: float) -> bool:
        """Take over a round: atomic, so that of several workers only one gets it.

        Args:
            round_id: The round.
            owner: The new owner.
            stale_before: A round of another owner is taken only if its heartbeat is older.
        """
        with self._session() as session:
            taken = session.execute(
                update(Round)
                .where(Round.id == round_id, Round.state == "running")
                .where((Round.owner == owner) | (Round.heartbeat_at < stale_before))
                .values(owner=owner, heartbeat_at=time.time(), attempts=Round.attempts + 1)
            )
            return bool(taken.rowcount)  # type: ignore[attr-defined]

    def set_round(self, round_id: int, **values: Any) -> None:
        """Set columns of a round, and its heartbeat."""
        values.setdefault("heartbeat_at", time.time())
        with self._session() as session:
            session.execute(update(Round).where(Round.id == round_id).values(**values))

    def finish_round(
        self,
        round_id: int,
        known: Mapping[int, tuple[bool, str | None]],
        failure: str | None = None,
        *,
        renew: bool = False,
    ) -> None:
        """Close a published round: its version is the project's from now on.

        Args:
            round_id: The round.
            known: Of each ranked task, by id, whether the round used its label, and the label's
                digest. A label that was not used counts as new.
            failure: What went wrong with a part of it, to be tried again.
            renew: Whether labels that were not used count as new though an earlier round used
                them.
        """
        now = time.time()
        with self._session() as session:
            row = session.get_one(Round, round_id)
            row.state, row.finished_at, row.heartbeat_at = "done", now, now
            row.step, row.share, row.error, row.note = None, 1.0, failure, ""
            project = session.get_one(Project, row.project_id)
            project.version, project.error = row.version, failure
            project.error_at = now if failure else None
            project.failures = project.failures + 1 if failure else 0
            query = select(Frame).where(Frame.project_id == row.project_id)
            for frame in session.scalars(query):
                if frame.task_id in known:
                    used, digest = known[frame.task_id]
                    frame.ranked = True
                    frame.used_label = digest if used else None if renew else frame.used_label

    # Predictions --------------------------------------------------------------------------------

    def save_predictions(self, round_id: int, rows: Iterable[dict[str, Any]]) -> None:
        """Replace what a round says of its tasks (columns of `Prediction` but the round)."""
        values = [{"round_id": round_id, **row} for row in rows]
        with self._session() as session:
            session.execute(delete(Prediction).where(Prediction.round_id == round_id))
            if values:
                session.execute(Prediction.__table__.insert(), values)  # type: ignore[attr-defined]

    def predictions(
        self, round_id: int, task_ids: Iterable[int] | None = None
    ) -> dict[int, Prediction]:
        """What a round says of tasks (all when not given), by task id, in ranked order."""
        wanted = None if task_ids is None else list(task_ids)
        found: dict[int, Prediction] = {}
        with self._session() as session:
            query = select(Prediction).where(Prediction.round_id == round_id)
            if wanted is None:
                chunks = [query]
            else:  # SQLite limits the number of variables in one statement.
                chunks = [
                    query.where(Prediction.task_id.in_(wanted[start : start + 500]))
                    for start in range(0, len(wanted), 500)
                ]
            for chunk in chunks:
                for row in session.scalars(chunk.order_by(Prediction.rank)):
                    found[row.task_id] = row
        return found

    def published_round(self, project_id: int) -> Round | None:
        """The round whose version is the project's, or None before the first."""
        with self._session() as session:
            query = (
                select(Round)
                .join(
                    Project, (Project.id == Round.project_id) & (Project.version == Round.version)
                )
                .where(Project.id == project_id)
            )
            return session.scalars(query).first()

    def drop_rounds(self, round_ids: Iterable[int]) -> None:
        """Delete what old rounds say of tasks; their own rows stay as history."""
        with self._session() as session:
            session.execute(delete(Prediction).where(Prediction.round_id.in_(list(round_ids))))


def _engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        engine = create_engine(url, pool_pre_ping=True)
        if engine.dialect.name == "postgresql":
            # One transaction at a time, as in SQLite below: what a method looks up holds until
            # it has written. The number is no other's business, any will do.
            @event.listens_for(engine, "begin")
            def _lock(connection: Any) -> None:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1835101036)")

        return engine
    engine = create_engine(url, connect_args={"timeout": 30})

    # Explicit BEGIN IMMEDIATE: pysqlite's own begin is deferred, and a deferred transaction that
    # turns into a writer fails at once with "database is locked" instead of waiting its turn.
    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
