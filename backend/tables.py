"""The rows of the store. What may be lost (queue, cache) is not here; what must survive is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Effort", "Frame", "Prediction", "Project", "Round", "Schema"]


class Base(DeclarativeBase):
    """Declarative base; times are seconds since the epoch."""

    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012


class Schema(Base):
    """The version of these tables, one row; see `backend.schema` for what to do on a change."""

    __tablename__ = "schema_version"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]


class Project(Base):
    """A Label Studio project that this service serves."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title: Mapped[str] = mapped_column(default="")
    label_config: Mapped[str] = mapped_column(default="")
    # What Label Studio orders and shows by; set only when a round is published whole.
    version: Mapped[str | None] = mapped_column(default=None)
    # The bell: what webhooks said since the project was last looked at.
    rung_at: Mapped[float | None] = mapped_column(default=None)
    train_now: Mapped[bool] = mapped_column(default=False)
    queued: Mapped[bool] = mapped_column(default=False)
    # A version that a person wants back; the worker publishes it again.
    wanted_version: Mapped[str | None] = mapped_column(default=None)
    # What was last seen in Label Studio.
    fingerprint: Mapped[str | None] = mapped_column(default=None)
    looked_at: Mapped[float | None] = mapped_column(default=None)
    changed_at: Mapped[float | None] = mapped_column(default=None)
    # Digest of what rounds depend on beside labels: see `backend.sync.ProjectView.terms`.
    terms: Mapped[str | None] = mapped_column(default=None)
    # How often a person had the pictures fetched anew.
    refreshes: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(default=None)
    error_at: Mapped[float | None] = mapped_column(default=None)
    failures: Mapped[int] = mapped_column(default=0)
    # Since when Label Studio does not know it.
    gone_at: Mapped[float | None] = mapped_column(default=None)
    # What can't be served, in plain sentences: the configuration, tasks without a place in a clip.
    problems: Mapped[list[str]] = mapped_column(default=list)


class Frame(Base):
    """A task of Label Studio as a frame of a clip."""

    __tablename__ = "frames"
    __table_args__ = (Index("frames_of_project", "project_id", "clip", "position"),)

    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    clip: Mapped[str]
    # Files may be numbered by the time at which they were taken, in milliseconds.
    position: Mapped[int] = mapped_column(BigInteger)
    url: Mapped[str]
    # Digest of the label as last seen in Label Studio, and as the last finished round used it.
    label: Mapped[str | None] = mapped_column(default=None)
    used_label: Mapped[str | None] = mapped_column(default=None)
    # Whether the last finished round knew this task.
    ranked: Mapped[bool] = mapped_column(default=False)


class Effort(Base):
    """What a task's label cost, in clicks."""

    __tablename__ = "efforts"

    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    # Digest of the label that was counted.
    label: Mapped[str]
    clicks: Mapped[int]


class Round(Base):
    """One pass of collect → fine-tune → propagate → select → publish."""

    __tablename__ = "rounds"
    __table_args__ = (UniqueConstraint("project_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    number: Mapped[int]
    version: Mapped[str]
    state: Mapped[str] = mapped_column(default="running")  # running, done, failed
    finished_step: Mapped[str | None] = mapped_column(default=None)
    step: Mapped[str | None] = mapped_column(default=None)
    share: Mapped[float] = mapped_column(default=0.0)
    note: Mapped[str] = mapped_column(default="")
    labels: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(default=None)
    started_at: Mapped[float]
    heartbeat_at: Mapped[float]
    finished_at: Mapped[float | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(default=None)
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Prediction(Base):
    """What a round says of one task."""

    __tablename__ = "predictions"

    round_id: Mapped[int] = mapped_column(
        ForeignKey("rounds.id", ondelete="CASCADE"), primary_key=True
    )
    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    rank: Mapped[int]
    score: Mapped[float]
    uncertainty: Mapped[float | None] = mapped_column(default=None)
    # The mIoU to expect of the mask, from the reverse test; none before the clip has a label.
    quality: Mapped[float | None] = mapped_column(default=None)
    # Where the mask is among the artifacts; none before the clip has a label.
    mask: Mapped[str | None] = mapped_column(default=None)
    # Mean confidence of each class's region, by class index.
    confidences: Mapped[dict[str, Any]] = mapped_column(default=dict)
