"""The tables of apps: their releases, how each of these rolls out, and what is assigned to the agents."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web.database.session import Model

Number = BigInteger().with_variant(Integer, "sqlite")
"""The type of a number that the database counts up; SQLite does so only for its own INTEGER."""

QUIET = {"synchronize_session": False}
"""How statements that write are executed: nobody keeps rows of these tables in a session."""


class App(Model):
    """An app and its newest release."""

    __tablename__ = "apps"

    name: Mapped[str] = mapped_column(primary_key=True)
    newest: Mapped[int] = mapped_column(ForeignKey("releases.number"), unique=True)

    def __repr__(self) -> str:
        return f"<App {self.name}>"


class Release(Model):
    """A release as it was asked for: it never changes. `body` is the request's, byte for byte; times are seconds."""

    __tablename__ = "releases"
    __table_args__ = (Index("ix_releases_app_number", "app", "number"),)

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    app: Mapped[str]
    trigger: Mapped[str]
    source: Mapped[str | None]
    manifest_hash: Mapped[str]
    body: Mapped[bytes]
    services: Mapped[int]
    workers: Mapped[int]
    crons: Mapped[int]
    training_jobs: Mapped[int]
    created_at: Mapped[int] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"<Release {self.id} of {self.app}>"


class RolloutRow(Model):
    """How far a release has got. `state` is the machine's as JSON; `due_at` is when somebody must look again."""

    __tablename__ = "rollouts"
    __table_args__ = (
        Index("ix_rollouts_app_status_number", "app", "status", "number"),
        Index("ix_rollouts_due_at", "due_at"),
    )

    number: Mapped[int] = mapped_column(ForeignKey("releases.number"), primary_key=True, autoincrement=False)
    app: Mapped[str]
    status: Mapped[str]
    control: Mapped[str]
    state: Mapped[str]
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    # How often this row was written.
    version: Mapped[int] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"<RolloutRow {self.number} of {self.app}: {self.status}>"


class AssignmentRow(Model):
    """One part of a workload, and the agent that runs it; without one it waits for a place.

    `replaced_by` is the rollout that put another in its place and may yet bring it back: no agent sees it meanwhile.
    """

    __tablename__ = "assignments"
    __table_args__ = (
        Index("ix_assignments_agent_id_number", "agent_id", "number"),
        Index("ix_assignments_app_workload", "app", "kind", "workload"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    agent_id: Mapped[str | None] = mapped_column(ForeignKey("agents.id", ondelete="SET NULL"))
    release: Mapped[int | None] = mapped_column(BigInteger)
    app: Mapped[str | None]
    kind: Mapped[str | None]
    workload: Mapped[str | None]
    # What is to run, as the manifest had it: enough to place it anew under the same conditions.
    image: Mapped[str]
    command: Mapped[str]
    cpu: Mapped[int] = mapped_column(BigInteger)
    memory_mb: Mapped[int] = mapped_column(BigInteger)
    labels: Mapped[str]
    health_check: Mapped[str | None]
    gpus: Mapped[int] = mapped_column(BigInteger)
    gpu_model: Mapped[str | None]
    gpu_vram_mb: Mapped[int] = mapped_column(BigInteger)
    # The parts of one gang share it: the id of the first of them as it was made.
    gang: Mapped[str | None] = mapped_column(index=True)
    rank: Mapped[int | None]
    ranks: Mapped[int | None]
    master: Mapped[str | None]
    master_port: Mapped[int | None]
    status: Mapped[str]
    reason: Mapped[str | None]
    replaced_by: Mapped[int | None] = mapped_column(BigInteger, index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"<Assignment {self.id} on {self.agent_id}>"
