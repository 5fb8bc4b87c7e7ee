"""The audit log: append one entry, list the newest, find one. Usable by others; builds no ORM objects."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from sqlalchemy import Row, Table, select
from sqlalchemy.orm import Session

from yoq_audit.models import Entry
from yoq_audit.retention.forgotten import was_recorded
from yoq_web import Event, dumps

VERSION = 1
"""How entries are written now; stored with each."""

TABLE: Table = Entry.__table__  # type: ignore[assignment]  # SQLAlchemy types it as any FROM clause
STORED = (
    "recorded_at",
    "actor",
    "action",
    "target",
    "outcome",
    "event_id",
    "time",
    "actor_kind",
    "reason",
    "request_id",
    "node",
    "peer",
    "details",
    "version",
    "nonce",
)
"""What append() stores, in order."""

SHOWN = (*STORED[:5], "id", *STORED[5:])
"""An entry's members in order. The first five are yoq's, and yoq's clients need them first."""

NEWEST = select(*(TABLE.c[name] for name in SHOWN)).order_by(TABLE.c.id.desc())


def append(event: Event, session: Session) -> None:
    """Store a settled event, in the session's transaction."""
    connection = session.connection()
    if was_recorded(event, connection):
        return
    # Through the driver: even a Core insert costs five times as much, on the path of every operation.
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(_insert(connection.dialect.paramstyle), values(event))


def values(event: Event) -> tuple[Any, ...]:
    """An event's row, with the columns STORED."""
    return (
        event.time // 1_000_000,
        event.actor.label,
        event.operation.name,
        event.target,
        event.outcome,
        event.id,
        event.time,
        event.actor.kind,
        event.reason,
        event.request_id,
        event.node,
        event.peer,
        dumps(dict(event.details)),
        VERSION,
        os.urandom(16).hex(),
    )


@functools.cache
def _insert(paramstyle: str) -> str:
    mark = "?" if paramstyle == "qmark" else "%s"
    marks = ", ".join([mark] * len(STORED))
    # An event has one entry, however often it is handed over.
    return (
        f"INSERT INTO {TABLE.name} ({', '.join(STORED)}) VALUES ({marks}) "  # noqa: S608 - our own names only
        "ON CONFLICT (event_id) DO NOTHING"
    )


def newest(session: Session, limit: int) -> Sequence[Row[Any]]:
    """The newest entries first, at most `limit`, with the columns SHOWN."""
    return session.execute(NEWEST.limit(limit)).all()


def find(session: Session, event_id: str) -> Row[Any] | None:
    """One entry by the id of its event, with the columns SHOWN, or None."""
    return session.execute(NEWEST.where(TABLE.c.event_id == event_id)).first()
