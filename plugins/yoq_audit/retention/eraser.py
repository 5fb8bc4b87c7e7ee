"""The eraser: one event's entry goes, its place in the tree stays, and an entry says so. Never over HTTP.

Whoever steals an administrator's token must not be able to erase what he does with it: this needs the machine that has
the log's key.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from yoq_audit.proofs import prover
from yoq_audit.retention import announcements
from yoq_audit.retention.pruner import complete_removals
from yoq_audit.sealing.removal import Erasure, sign_removal
from yoq_audit.storage.clocks import SECOND, is_ahead
from yoq_audit.storage.log import match_event
from yoq_audit.storage.models import ENTRIES, ERASED, LEAVES
from yoq_audit.storage.tombstones import find_tombstone
from yoq_web import NotFound, Operation, Problem, db, format_local, spooled

audit_erase = Operation(
    "audit_erase",
    "Erase one entry of the trail",
    "*",
    details=("index", "started_index", "reason", "signature"),
    audit_failure="refuse",
    activity="delete",
)

YOUNGEST = 60 * SECOND
"""Microseconds: younger entries are not erased, for a spool may be handing them over once more. One of the future is
erased: it would be looked up before it is stored again, as late ones are."""

KEPT = ("audit_prune", "audit_erase", "audit_key_rotate")
"""The actions whose entries are not erased: they say what is gone, and whose keys the log's are."""


@dataclass(frozen=True)
class Erasable:
    """An event whose entries may be erased: their indexes, and what an operator knows it by."""

    event_id: str
    places: tuple[int, ...]
    action: str
    actor: str
    target: str | None


def find_erasable(event_id: str) -> Erasable:
    """Find the entry that is to be erased, and seal it. Raises a Problem if it is not there or must not be erased."""
    announcements.require_signer()
    complete_removals()
    prover.seal_now()
    found = _read_erasable(db.session(), event_id)
    if spooled(event_id):
        raise Problem(409, "the entry is in the spool, too", "run any command, which hands it over, and try again")
    return found


def erase(found: Erasable, reason: str) -> None:
    """Announce the erasure, seal the announcement, and delete the entry."""
    signature = sign_removal(Erasure(found.event_id, found.places), announcements.require_signer())
    places = dict(zip(("started_index", "index"), found.places, strict=True)) if len(found.places) > 1 else {}
    details: dict[str, str | int] = {"index": found.places[-1], **places, "reason": reason, "signature": signature}
    with audit_erase.performed(found.event_id, **details) as session:
        announcements.lock_retention(session)
        if _read_erasable(session, found.event_id) != found:
            raise Problem(409, "the entry is not what it was", "nothing was erased")
    announcements.seal_announcement()
    complete_removals()
    if not db.session.scalar(select(exists().where(ERASED.c.event_id == found.event_id))):
        raise Problem(503, "not erased yet", "it is announced, and done as soon as the announcement can be sealed")


def _read_erasable(session: Session, event_id: str) -> Erasable:
    rows = session.execute(
        select(
            ENTRIES.c.action, ENTRIES.c.actor, ENTRIES.c.target, ENTRIES.c.outcome, ENTRIES.c.time, LEAVES.c.leaf_index
        )
        .outerjoin(LEAVES, LEAVES.c.entry_id == ENTRIES.c.id)
        .where(match_event(event_id))
        .order_by(ENTRIES.c.id)
    ).all()
    if not rows:
        known = find_tombstone(session, event_id)
        raise NotFound("not found", f"{event_id!r} is gone: {known}" if known else f"there is no entry {event_id!r}")
    row = rows[-1]
    if any(found.action in KEPT for found in rows):
        raise Problem(409, "this entry cannot be erased", "it is needed to verify the log")
    if all(found.outcome == "started" for found in rows):
        raise Problem(409, "the operation has not ended yet", "its entry can be erased when it has")
    now = time.time_ns() // 1000
    if now - YOUNGEST <= row.time and not is_ahead(row.time, now):
        raise Problem(409, "the entry is too young", f"it can be erased after {format_local(row.time + YOUNGEST)}")
    places = tuple(found.leaf_index for found in rows if found.leaf_index is not None)
    if len(places) != len(rows):
        raise Problem(503, "the entry is not sealed yet", prover.NOT_HERE)
    return Erasable(event_id, places, row.action, row.actor, row.target)


def wipe_free_space(*, rewrite: bool) -> None:
    """Shorten SQLite's write-ahead log to nothing; with `rewrite` write the table's file anew, without free pages."""
    db.session.rollback()
    on_sqlite = db.engine.dialect.name == "sqlite"
    connection = db.engine.raw_connection()
    try:
        driver = connection.driver_connection
        assert driver is not None  # noqa: S101 - just opened
        if on_sqlite:
            if rewrite:
                driver.execute("PRAGMA temp_store=FILE")  # where all of the database is written first
                try:
                    driver.execute("VACUUM")
                finally:
                    driver.execute("PRAGMA temp_store=MEMORY")
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        elif rewrite:
            driver.autocommit = True
            driver.execute("VACUUM (FULL) audit_log")
            driver.autocommit = False
    finally:
        connection.close()
