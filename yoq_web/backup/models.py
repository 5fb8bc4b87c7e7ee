"""The table of the schedule of backups."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web.database.session import Model


class ScheduledRun(Model):
    """The newest run of the schedule: one row, shared by all servers of the database. Times are seconds since 1970.

    `node` began it. `ended_at` is None while it is under way. `taken_at` is when the last one began that succeeded:
    this one if it is the same as `begun_at`. `failure` is for /health.
    """

    __tablename__ = "backup_schedule"

    id: Mapped[int] = mapped_column(primary_key=True)
    node: Mapped[str]
    begun_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    taken_at: Mapped[int | None] = mapped_column(BigInteger)
    failure: Mapped[str | None]
