"""Tombstones: what is known of entries that are gone. They were recorded, and stood there in the log."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from yoq_audit.storage.models import ERASED, MINIMUMS, PRUNED
from yoq_audit.tlog.tiles import TILE, Bundle
from yoq_web import Event, NotFound, Problem

FRESH_MICROSECONDS = 5_000_000
"""Microseconds for which an event cannot have been recorded before and be gone already: nothing so young may go."""

FINGERPRINT_SIZE = 8
"""Bytes that are kept of a pruned event's id: enough to know it again among thousands of millions."""


@dataclass(frozen=True)
class Tombstone:
    """The place of an entry that is gone; the event that announced its erasure, or None if it was pruned."""

    index: int
    announced_by: str | None

    def __str__(self) -> str:
        place = f"number {self.index} of the log"
        if self.announced_by is None:
            return f"it was pruned: {place}"
        return f"it was erased: {place}; the entry {self.announced_by} says why"


def fingerprint(event_id: str, outcome: str) -> bytes:
    """Compute what is kept of a pruned entry, to know it again."""
    # An event that acts outside the database has two entries, one when it starts and one when it ends.
    name = f"started\0{event_id}" if outcome == "started" else event_id
    return sha256(name.encode(errors="surrogateescape")).digest()[:FINGERPRINT_SIZE]


def was_recorded(event: Event, connection: Connection) -> bool:
    """Tell whether the event was recorded once and is gone, so that it must not be recorded again.

    Costs nothing for an event that has just ended; one that comes late is from a spool, or took long.
    """
    if 0 <= time.time_ns() // 1000 - event.time < FRESH_MICROSECONDS:
        return False
    if connection.execute(select(ERASED.c.leaf_index).where(ERASED.c.event_id == event.id).limit(1)).first():
        return True
    return _find_pruned(connection, fingerprint(event.id, str(event.outcome)), event.time, event.time) is not None


def find_tombstone(session: Session, event_id: str) -> Tombstone | None:
    """Find out what became of an entry that is not there; None if nothing is known."""
    erased = session.execute(
        select(ERASED.c.leaf_index, ERASED.c.announced_by)
        .where(ERASED.c.event_id == event_id)
        .order_by(ERASED.c.leaf_index.desc())
    ).first()
    if erased is not None:
        return Tombstone(erased.leaf_index, erased.announced_by)
    with suppress(ValueError):
        # An event's id is a UUIDv7, which begins with its milliseconds.
        began = int(event_id.replace("-", "")[:12], 16) * 1000
        if began < 2**62:
            index = _find_pruned(session.connection(), fingerprint(event_id, "ok"), began, began + 999)
            return None if index is None else Tombstone(index, None)
    return None


def explain_absence(session: Session, event_id: str) -> NotFound:
    """Return what is answered for an entry that is not there: whether it ever was, as far as that is known."""
    known = find_tombstone(session, event_id)
    return NotFound("not found", str(known) if known else f"there is no entry {event_id!r}")


def check_served(session: Session, bundle: Bundle) -> None:
    """Raise a Problem for a bundle under the minimum index, and for one that holds an erased entry."""
    first = find_minimum(session)
    end = bundle.start + bundle.width
    if end <= first:
        raise Problem(410, "the bundle was pruned", f"the log's minimum index is {first}; tiles are served still")
    erased = session.scalars(
        select(ERASED.c.leaf_index).where(ERASED.c.leaf_index >= bundle.start, ERASED.c.leaf_index < end).limit(10)
    ).all()
    if erased:
        numbers = ", ".join(map(str, sorted(erased)))
        raise Problem(
            410, "the bundle holds an erased entry", f"number {numbers}; each of the others can be proved alone"
        )


def find_cutoff(session: Session) -> int:
    """Return the time before which entries may be pruned, in microseconds since 1970; 0 if none are."""
    return session.scalar(select(MINIMUMS.c.cutoff).order_by(MINIMUMS.c.minimum.desc()).limit(1)) or 0


def find_minimum(session: Session) -> int:
    """Return the minimum index: entries under it are pruned, or about to be."""
    return session.scalar(select(func.max(MINIMUMS.c.minimum))) or 0


def _find_pruned(connection: Connection, key: bytes, first: int, last: int) -> int | None:
    """Return the index at which the event with this fingerprint stood, if a bundle of that time had it."""
    candidates: Any = connection.execute(
        select(PRUNED.c.number, PRUNED.c.events).where(
            PRUNED.c.last_time >= first,
            PRUNED.c.first_time <= last,
            # Whatever is kept of bundles: nothing from the cutoff on was pruned, as a signed entry says.
            select(func.max(MINIMUMS.c.cutoff)).scalar_subquery() > first,
        )
    )
    for number, events in candidates:
        known = bytes(events)
        at = known.find(key)
        while at >= 0:
            if at % FINGERPRINT_SIZE == 0:
                return int(number) * TILE + at // FINGERPRINT_SIZE
            at = known.find(key, at + 1)
    return None
