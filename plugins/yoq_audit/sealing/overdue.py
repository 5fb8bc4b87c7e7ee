"""Overdue entries: committed, but without a place in the signed tree for longer than sealing can explain.

Sealing derives where it goes on from what is stored, and what is stored can be changed. So one looks from outside, too:
at what waits behind the last sealed entry, and at every entry again when it is some minutes old.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Row, Select, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from yoq_audit.storage.models import CHECKPOINTS, ENTRIES, LEAVES
from yoq_audit.storage.tree import find_watermark, select_unsealed
from yoq_audit.tlog.errors import LogError
from yoq_web import AppLocal, db

MOST_SECONDS = 120
"""How long an entry may be seen to wait. Sealing takes a second, or more where the machine that does it restarts."""

LOOK_SECONDS = 10.0
"""How often is looked. The entries that became MOST_SECONDS old since the last time are looked at."""

FIRST_SECONDS = 600
"""How far back is looked the first time."""

OVERLAP_SECONDS = 2
"""How much is looked at twice: the two clocks do not run alike."""

# Not EXISTS, for which PostgreSQL may read all places into a hash table beforehand.
_PLACE = (
    select(LEAVES.c.leaf_index)
    .where(
        LEAVES.c.entry_id == ENTRIES.c.id, LEAVES.c.leaf_index < select(func.max(CHECKPOINTS.c.size)).scalar_subquery()
    )
    .limit(1)
    .scalar_subquery()
)


@dataclass(frozen=True)
class Waiting:
    """An entry that waits: its id, its event, and the event's time in microseconds since 1970."""

    id: int
    event_id: str
    time: int

    @property
    def age(self) -> int:
        """How many seconds ago its event was."""
        return max(0, int(time.time()) - self.time // 1_000_000)

    @property
    def complaint(self) -> str:
        """What is said of it when it waits for too long."""
        return f"an entry is not sealed for longer than sealing can explain: {self.event_id}, {self.age} seconds old"


@dataclass
class OverdueWatch:
    """What this process saw: when it looks again, when it last saw no old entry wait, and which wait since when.

    All by the monotonic clock: the other one may jump, and no entry is to be passed over then, or looked at for ever.
    """

    next_look: float = 0.0
    looked: float = field(default_factory=lambda: time.monotonic() - FIRST_SECONDS)
    waiting: dict[str, tuple[Waiting, float]] = field(default_factory=dict)


current_overdue: AppLocal[OverdueWatch] = AppLocal("audit_overdue", lambda _app: OverdueWatch())


def look() -> None:
    """Look for entries that wait, if it is time. Where the database does not answer, sealing says so."""
    watch, now = current_overdue(), time.monotonic()
    if now < watch.next_look:
        return
    watch.next_look = now + LOOK_SECONDS
    with suppress(SQLAlchemyError, LogError):
        session = db.session()
        until = int(time.time() - MOST_SECONDS) * 1_000_000
        _remember(watch, "behind", session.execute(_find_behind(session)).first())
        since = until - int(now - watch.looked + OVERLAP_SECONDS) * 1_000_000
        aged = session.execute(_find_aged(since, until)).first()
        _remember(watch, "aged", aged)
        if aged is None:
            watch.looked = now


def describe() -> str | None:
    """Say which entry waits for too long and how old it is, if one does."""
    late = [found for found, seen in current_overdue().waiting.values() if time.monotonic() - seen >= MOST_SECONDS]
    return min(late, key=lambda found: found.time).complaint if late else None


def is_sealed(session: Session, entry_id: int) -> bool:
    """Tell whether an entry has its place in the tree, or is gone."""
    return session.scalar(select(ENTRIES.c.id).where(ENTRIES.c.id == entry_id, _PLACE.is_(None))) is None


def _find_behind(session: Session) -> Select[tuple[int, str, int]]:
    """Find the first entry that waits behind what is sealed."""
    columns = (ENTRIES.c.id, ENTRIES.c.event_id, ENTRIES.c.time)
    return select_unsealed(find_watermark(session)).with_only_columns(*columns).limit(1)


def _find_aged(since: int, until: int) -> Select[tuple[int, str, int]]:
    """Find the first entry of this time that has no place in the tree, wherever its id is."""
    return (
        select(ENTRIES.c.id, ENTRIES.c.event_id, ENTRIES.c.time)
        .where(ENTRIES.c.time > since, ENTRIES.c.time <= until, _PLACE.is_(None))
        .order_by(ENTRIES.c.time)
        .limit(1)
    )


def _remember(watch: OverdueWatch, where: str, row: Row[tuple[int, str, int]] | None) -> None:
    if row is None:
        watch.waiting.pop(where, None)
    elif where not in watch.waiting or watch.waiting[where][0].id != row.id:
        moment = row.time if isinstance(row.time, int) else 0  # SQLite stores anything anywhere
        watch.waiting[where] = Waiting(row.id, str(row.event_id), moment), time.monotonic()
