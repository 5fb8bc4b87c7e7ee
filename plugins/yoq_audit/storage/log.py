"""The audit log: append one entry, find one. Usable by others; builds no ORM objects."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select
from sqlalchemy.orm import Session

from yoq_audit.storage.models import ENTRIES, SETTLED, STARTED
from yoq_audit.storage.tombstones import was_recorded
from yoq_web import Event, dumps, spooled

VERSION = 1
"""How entries are written now; stored with each."""

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

_FULL = select(*(ENTRIES.c[name] for name in SHOWN)).order_by(ENTRIES.c.id.desc())
_BY_EVENT = [
    select(*(ENTRIES.c[name] for name in STORED)).where(ENTRIES.c.event_id == bindparam("event_id"), kind)
    for kind in (SETTLED, STARTED)
]
"""The entry of an event that has ended, and that of its intent."""


class Clash(Exception):
    """Somebody stored another entry under an event's id: this one is not recorded."""


def append(event: Event, session: Session) -> None:
    """Store an event that has ended, or the intent of one, in the session's transaction.

    Raises Clash if another entry is stored under its id; the same one may be there already.
    """
    connection = session.connection()
    if was_recorded(event, connection):
        return
    # Through the driver: even a Core insert costs five times as much, on the path of every operation.
    with closing(connection.connection.cursor()) as cursor:
        row = make_row(event)
        cursor.execute(_insert(connection.dialect.paramstyle), row)
        if cursor.rowcount == 0:
            _check_stored(event, row, connection)


def _check_stored(event: Event, row: Sequence[Any], connection: Connection) -> None:
    """Raise Clash unless what is stored under the event's id is this event, however late it was stored."""
    stored = connection.execute(_BY_EVENT[event.outcome == "started"], {"event_id": event.id}).one()
    # The outcome that was stored first is the right one, if that of a doubtful event was. Its details may say more.
    free = {"nonce", "outcome", "reason", "details"} if event.doubtful else {"nonce"}
    differing = [name for name, was, now in zip(STORED, stored, row, strict=True) if was != now and name not in free]
    if differing == ["details"] and _leave_out_late(stored.details) == _leave_out_late(dumps(dict(event.details))):
        return
    if differing:
        raise Clash(f"another entry is stored under the id of {event.id}: it differs in {', '.join(differing)}")


def _leave_out_late(details: str) -> str | dict[str, Any]:
    """Return details without the core's word for when an event was stored that had to wait."""
    with suppress(ValueError, AttributeError):  # altered
        return {name: value for name, value in json.loads(details).items() if name != "stored_at"}
    return details


def make_row(event: Event) -> tuple[Any, ...]:
    """Make an event's row, with the columns STORED."""
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
        f"INSERT INTO {ENTRIES.name} ({', '.join(STORED)}) VALUES ({marks}) "  # noqa: S608 - our own names only
        "ON CONFLICT DO NOTHING"
    )


def find(session: Session, event_id: str) -> Row[Any] | None:
    """Find the entry of an event, with the columns SHOWN, or None. Of one that has not ended that is its intent."""
    by_id = _FULL.where(ENTRIES.c.event_id == event_id)
    return session.execute(by_id.where(SETTLED)).first() or session.execute(by_id.where(STARTED)).first()


def find_intent(session: Session, event_id: str) -> Row[Any] | None:
    """Find the entry that an event left when it started, if it acts outside the database, with the columns SHOWN."""
    return session.execute(_FULL.where(ENTRIES.c.event_id == event_id, STARTED)).first()


def match_event(event_id: str) -> ColumnElement[bool]:
    """Make the condition to be one of the at most two entries of an event."""
    # Each of the two kinds has an index of its own.
    one, other = (select(ENTRIES.c.id).where(ENTRIES.c.event_id == event_id, kind) for kind in (SETTLED, STARTED))
    return ENTRIES.c.id.in_(one.union_all(other))


def find_ids(session: Session, beginning: str, most: int) -> list[str]:
    """Find the ids of at most so many events that begin with these hexadecimal digits and dashes, the first ones."""
    found: set[str] = set()
    for kind in (SETTLED, STARTED):
        # The letter behind every digit ends the range, in any collation; what begins so is told exactly beside it.
        ids = select(ENTRIES.c.event_id).where(
            ENTRIES.c.event_id >= beginning,
            ENTRIES.c.event_id < f"{beginning}g",
            func.substr(ENTRIES.c.event_id, 1, len(beginning)) == beginning,
            kind,
        )
        found.update(session.scalars(ids.order_by(ENTRIES.c.event_id).limit(most)))
    return sorted(found)[:most]


def find_in_spool(row: Row[Any] | None, event_id: str) -> Event | None:
    """Return the event if the spool has what the log should show of it: all, or the outcome of what is begun.

    `row` is what find() gave.
    """
    if row is not None and row.outcome != "started":
        return None
    event = spooled(event_id)
    return event if event and (row is None or event.outcome != "started") else None
