"""The pruner: announce, seal, raise the minimum index, then delete bundle by bundle. Each is a transaction of its own.

The order is what makes it safe against a crash. Rows are deleted only under a minimum index; the database lets the
minimum rise only to what a sealed entry announced; and that entry is committed before. Wherever it stops, what is
missing was announced, and what was announced is deleted later, from where `audit_pruned` says that it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_audit.retention import announcements
from yoq_audit.retention.plan import Plan, make_plan
from yoq_audit.sealing.removal import Erasure, Pruning, sign_removal
from yoq_audit.storage.models import ENTRIES, ERASED, LEAVES, MINIMUMS, PRUNED
from yoq_audit.storage.tombstones import FINGERPRINT_SIZE, find_minimum, fingerprint
from yoq_audit.storage.tree import select_places
from yoq_audit.tlog.tiles import TILE
from yoq_web import Operation, Problem, ProgressCallback, db, unit_of_work

logger = get_logger("yoq_web")

audit_prune = Operation(
    "audit_prune",
    "Prune old entries of the trail",
    "*",
    details=(
        "minimum_before",
        "minimum_after",
        "entries",
        "older_than",
        "cutoff",
        "archive",
        "archive_sha256",
        "archive_bytes",
        "asked_by",
        "signature",
    ),
    audit_failure="refuse",
    activity="delete",
)


@dataclass(frozen=True)
class WrittenArchive:
    """An archive that is on disk: its name without the folder, its SHA-256 in hexadecimal and its size in bytes."""

    name: str
    sha256: str
    size: int


def prepare_plan(older_than: int) -> Plan:
    """Make a plan, once what was announced before is done. Raises a Problem where this machine can announce nothing."""
    announcements.require_signer()
    if not complete_removals():  # what was announced goes by its own cutoff
        raise Problem(409, "another machine is pruning", "try again when it has ended")
    return make_plan(find_first_kept(db.session()), older_than)


def find_first_kept(session: Session) -> int:
    """Return the index of the first entry that nothing announced as pruned."""
    found = announcements.find_newest_pruning(session)
    return max(find_minimum(session), found.minimum if found else 0)


def announce(planned: Plan, older_than: str, asked_by: str, archive: WrittenArchive | None = None) -> None:
    """Leave the entry without which nothing is deleted, and seal it."""
    statement = Pruning(planned.reached, planned.cutoff)
    details: dict[str, str | int] = {
        "minimum_before": planned.before,
        "minimum_after": planned.reached,
        "entries": planned.entries,
        "older_than": older_than,
        "cutoff": planned.cutoff,
        "asked_by": asked_by,
        "signature": sign_removal(statement, announcements.require_signer()),
    }
    if archive is not None:
        details |= {"archive": archive.name, "archive_sha256": archive.sha256, "archive_bytes": archive.size}
    with audit_prune.performed(planned.target, **details) as session:
        announcements.lock_retention(session)
        if find_first_kept(session) != planned.before:
            raise Problem(409, "pruned meanwhile", "somebody else announced it first; nothing was pruned by this")
    announcements.seal_announcement()


def complete_removals(until: float | None = None, progress: ProgressCallback = lambda _done, _size: None) -> bool:
    """Remove what sealed entries announce as removed and what is still there; returns whether nothing is left.

    Ends early when the monotonic clock says `until`, or when another node is at it. `progress` is told how many places
    are done.
    """
    _raise_minimum(announcements.find_sealed_pruning(db.session()))
    for event_id, erasure in announcements.find_sealed_erasures(db.session()):
        _delete_erased(event_id, erasure)
    db.session.rollback()
    end = find_minimum(db.session())
    first = done = _find_next_bundle(db.session()) * TILE
    while done < end:
        began = time.monotonic()
        if until is not None and began > until:
            return False
        with unit_of_work() as session:
            if not announcements.lock_retention(session, wait=False):
                return False
            number = _find_next_bundle(session)
            if number * TILE < end:
                _delete_bundle(session, number)
        done = (number + 1) * TILE
        progress(done - first, end - first)
        # Writers get at least as much of the database as this does.
        time.sleep(time.monotonic() - began)
    return True


def _raise_minimum(found: tuple[str, Pruning] | None) -> None:
    if found is None or found[1].minimum <= find_minimum(db.session()):
        return
    event_id, pruning = found
    with unit_of_work() as session:
        announcements.lock_retention(session)
        if pruning.minimum > find_minimum(session):
            values = {"minimum": pruning.minimum, "event_id": event_id, "cutoff": pruning.cutoff}
            session.execute(insert(MINIMUMS).values(values))


def _find_next_bundle(session: Session) -> int:
    last = session.scalar(select(func.max(PRUNED.c.number)))
    return 0 if last is None else last + 1


def _delete_bundle(session: Session, number: int) -> None:
    """Delete a bundle under the minimum index, and keep what tells its events again."""
    first = number * TILE
    places = select_places(first, TILE)
    rows = session.execute(
        select(places.c.leaf_index, ENTRIES.c.id, ENTRIES.c.event_id, ENTRIES.c.outcome, ENTRIES.c.time).join(
            ENTRIES, ENTRIES.c.id == places.c.entry_id
        )
    ).all()
    events = bytearray(TILE * FINGERPRINT_SIZE)
    known = [(row.leaf_index, fingerprint(row.event_id, row.outcome)) for row in rows]
    erased = select(ERASED.c.leaf_index, ERASED.c.event_id).where(ERASED.c.leaf_index.between(first, first + TILE - 1))
    known += [(index, fingerprint(event_id, "")) for index, event_id in session.execute(erased)]
    for index, key in known:
        at = (index - first) * FINGERPRINT_SIZE
        events[at : at + FINGERPRINT_SIZE] = key
    times = [row.time for row in rows] or [0]
    values = {"number": number, "first_time": min(times), "last_time": max(times), "events": bytes(events)}
    session.execute(insert(PRUNED).values(values))
    session.execute(delete(ENTRIES).where(ENTRIES.c.id.in_([row.id for row in rows])))
    session.execute(delete(LEAVES).where(LEAVES.c.leaf_index.between(first, first + TILE - 1)))


def _delete_erased(event_id: str, erasure: Erasure) -> None:
    """Delete the entries of an event, and keep their places. What is left of them in the database's files is wiped."""
    standing = (
        select(LEAVES.c.leaf_index, ENTRIES.c.id)
        .join(ENTRIES, ENTRIES.c.id == LEAVES.c.entry_id)
        .where(LEAVES.c.leaf_index.in_(erasure.places), ENTRIES.c.event_id == erasure.event_id)
    )
    with unit_of_work() as session:
        announcements.lock_retention(session)
        rows = session.execute(standing).all()
        if len(rows) != len(erasure.places):
            logger.error("what is announced as erased is not there", audit_id=erasure.event_id, found=len(rows))
            return
        with _overwrite_deleted(session):
            values = [
                {"leaf_index": row.leaf_index, "event_id": erasure.event_id, "announced_by": event_id} for row in rows
            ]
            session.execute(insert(ERASED), values)
            session.execute(delete(ENTRIES).where(ENTRIES.c.id.in_([row.id for row in rows])))


@contextmanager
def _overwrite_deleted(session: Session) -> Iterator[None]:
    """Have SQLite overwrite with zeros what is deleted inside the block."""
    if session.get_bind().dialect.name != "sqlite":
        yield
        return
    connection = session.connection()
    before = connection.scalar(text("PRAGMA secure_delete"))
    connection.execute(text("PRAGMA secure_delete = ON"))
    try:
        yield
    except BaseException:
        # A statement that sets it back may fail, too: it would hide the cause and leave the pool a changed connection.
        connection.invalidate()
        raise
    connection.execute(text(f"PRAGMA secure_delete = {before}"))
