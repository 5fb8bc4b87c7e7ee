"""The table of entries."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web import Model


class Entry(Model):
    """An event and its outcome as stored. Entries are appended and never changed.

    `recorded_at` is in seconds since 1970 and `time` the same moment in microseconds; `details` is JSON text; `version`
    says by which rules the row was written, for readers of another time.
    """

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    event_id: Mapped[str] = mapped_column(unique=True)
    recorded_at: Mapped[int] = mapped_column(BigInteger)
    time: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]
    actor_kind: Mapped[str]
    action: Mapped[str]
    target: Mapped[str | None]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    request_id: Mapped[str | None]
    node: Mapped[str]
    peer: Mapped[str | None]
    details: Mapped[str]
    version: Mapped[int]
