"""The audit log: append one entry, list the newest, find one. Usable by others; builds no ORM objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Table, insert, select
from sqlalchemy.orm import Session

from yoq_audit.models import Entry
from yoq_web import Event, dumps

VERSION = 1
"""How entries are written now; stored with each."""

TABLE: Table = Entry.__table__  # type: ignore[assignment]  # SQLAlchemy types it as any FROM clause
INSERT = insert(TABLE)
SHOWN = (
    "recorded_at",
    "actor",
    "action",
    "target",
    "outcome",
    "id",
    "event_id",
    "time",
    "actor_kind",
    "reason",
    "request_id",
    "node",
    "peer",
    "details",
    "version",
)
"""An entry's members in order. The first five are yoq's, and yoq's clients need them first."""

NEWEST = select(*(TABLE.c[name] for name in SHOWN)).order_by(TABLE.c.id.desc())


def append(event: Event, session: Session) -> None:
    """Store a settled event, in the session's transaction."""
    row = {
        "event_id": event.id,
        "recorded_at": event.time // 1_000_000,
        "time": event.time,
        "actor": event.actor.label,
        "actor_kind": event.actor.kind,
        "action": event.operation.name,
        "target": event.target,
        "outcome": event.outcome,
        "reason": event.reason,
        "request_id": event.request_id,
        "node": event.node,
        "peer": event.peer,
        "details": dumps(dict(event.details)),
        "version": VERSION,
    }
    session.connection().execute(INSERT, row)


def newest(session: Session, limit: int) -> Sequence[Row[Any]]:
    """The newest entries first, at most `limit`, with the columns SHOWN."""
    return session.execute(NEWEST.limit(limit)).all()


def find(session: Session, event_id: str) -> Row[Any] | None:
    """One entry by the id of its event, with the columns SHOWN, or None."""
    return session.execute(NEWEST.where(TABLE.c.event_id == event_id)).first()
