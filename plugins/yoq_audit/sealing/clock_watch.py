"""The clock watch: what was stored lately lies in the future by this machine's clock, so one clock is wrong.

It is said for a day. Later nobody can do anything about it: what was signed stays, and the trail shows it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from yoq_audit.storage.clocks import AHEAD, BEGINNING, SECOND, find_sealing
from yoq_audit.storage.models import CHECKPOINTS, ENTRIES, LEAVES
from yoq_web import AppLocal, db, format_time

LOOK_SECONDS = 60.0
"""How often is looked."""

LATELY = 86_400 * SECOND
"""For how many microseconds after an entry was sealed its time is told of."""

LAST = 253_402_300_799 * SECOND
"""The end of the year 9999: what SQLite stores beyond it is no time."""


@dataclass
class ClockWatch:
    """When this process looks again, by the monotonic clock, and what it saw."""

    next_look: float = 0.0
    concern: str | None = None


current_clock_watch: AppLocal[ClockWatch] = AppLocal("audit_clock_watch", lambda _app: ClockWatch())


def look() -> None:
    """Look whether something lies in the future, if it is time. Where the database does not answer, others say so."""
    watch, now = current_clock_watch(), time.monotonic()
    if now >= watch.next_look:
        watch.next_look = now + LOOK_SECONDS
        with suppress(SQLAlchemyError):
            watch.concern = find_concern(db.session(), time.time_ns() // 1000)


def find_concern(session: Session, now: int) -> str | None:
    """Say what lies in the future, for anybody to read; `now` is in microseconds since 1970."""
    sealed = session.scalar(select(CHECKPOINTS.c.sealed_at).order_by(CHECKPOINTS.c.size.desc()).limit(1))
    if isinstance(sealed, int) and now + AHEAD < sealed * SECOND < LAST:
        return f"the newest checkpoint lies in the future: it was made {format_time(sealed * SECOND)}"
    found = session.execute(
        select(ENTRIES.c.event_id, ENTRIES.c.time, LEAVES.c.leaf_index)
        .outerjoin(LEAVES, LEAVES.c.entry_id == ENTRIES.c.id)
        .where(ENTRIES.c.time.between(now + AHEAD + 1, LAST))
        .order_by(ENTRIES.c.id.desc())
        .limit(1)
    ).first()
    if found is None:
        return None
    known = None if found.leaf_index is None else find_sealing(session, found.leaf_index, BEGINNING, now)
    if known is not None and known < now - LATELY:
        return None
    return f"an entry lies in the future: {found.event_id} is of {format_time(found.time)}"
