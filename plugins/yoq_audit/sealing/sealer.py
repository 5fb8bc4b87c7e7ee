"""The sealer: appends committed entries to the tree in batches, and signs the size that is committed.

One process of all nodes seals at a time: on SQLite under the write lock, on PostgreSQL under an advisory lock. A root
is signed only after it was committed, so that no two roots are ever signed for one size, whatever crashes in between.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from sqlalchemy import insert, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_audit.sealing import keys
from yoq_audit.sealing.signer import (
    CannotSign,
    HeadMissing,
    Rewound,
    check_head,
    ensure_first_key,
    find_turn,
    take_turn,
)
from yoq_audit.storage.models import CHECKPOINTS, ENTRIES, LEAVES, StoredTile
from yoq_audit.storage.tree import UNSEALED, SignedTree, find_newest_checkpoint, find_watermark, read_tile
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.hashing import hash_leaf
from yoq_audit.tlog.leaf import encode_leaf
from yoq_audit.tlog.note import Signer
from yoq_audit.tlog.tile_writer import TileWriter
from yoq_web import AppLocal, SettingsError, db, unit_of_work, upsert

logger = get_logger("yoq_web")

BATCH = 1000
"""Entries sealed in one transaction, which holds SQLite's write lock."""


@dataclass
class SealingState:
    """What came of this process's last sealing: `failure` says why nothing is sealed; None if it is."""

    tried: bool = False
    failure: str | None = None


current_sealing: AppLocal[SealingState] = AppLocal("audit_sealing", lambda _app: SealingState())


def try_to_seal() -> None:
    """Seal; what stands in the way is remembered, and logged when it is new. The first time the head is looked at."""
    state = current_sealing()
    before = state.failure
    try:
        keys.retire_replaced_key()
        seal(check=not state.tried or before is not None)
        state.failure = None
    except (Rewound, HeadMissing, CannotSign, SettingsError, LogError) as error:
        state.failure = f"nothing is sealed: {error}"
    except SQLAlchemyError as error:
        state.failure = f"nothing is sealed: the database refuses ({type(error).__name__})"
    state.tried = True
    if state.failure and state.failure != before:
        logger.error("the log cannot be sealed", reason=state.failure)
    elif before and not state.failure:
        logger.warning("the log is sealed again")


def seal(*, check: bool = False) -> int:
    """Seal every committed entry, in batches, and sign the last size. Returns how many entries were sealed.

    With `check` the database is held against the head kept outside even if there is nothing to seal.

    Does nothing on a machine that has no key. Raises CannotSign if its key is not the log's or was replaced, Rewound
    if the database was cut back or changed behind the head, and HeadMissing if there is no head to tell by.
    """
    due = _is_due(db.session())
    if not due and not check:
        return 0
    if not due:
        # The head is read first and the tree after it: in the snapshot that is open the tree may look cut back.
        db.session.rollback()
        turn = find_turn()
        if turn is not None:
            check_head(db.session(), turn.chain)
        return 0
    ensure_first_key()
    sealed = 0
    after = 0
    while True:
        with unit_of_work() as session:
            turn = take_turn(session)
            if turn is None:
                return 0
            check_head(session, turn.chain)
            _sign_committed(session, turn.key)
            count, after = _seal_batch(session, after)
        sealed += count
        if count < BATCH:
            break
    with unit_of_work() as session:
        turn = take_turn(session)
        newest = _sign_committed(session, turn.key) if turn else None
    if turn is not None and newest is not None:
        keys.keep_head(newest.note, newest.size, turn.chain.keys)
        if turn.key.verifier != turn.chain.keys[-1] and keys.read_next_signer() is not None:
            promote_key()
    return sealed


def promote_key() -> None:
    """Put the next key in its place, if it is its turn."""
    with unit_of_work() as session:
        take_turn(session)


def _is_due(session: Session) -> bool:
    """Tell whether there is anything to seal or to sign; asked every second, and without the write lock."""
    newest = find_newest_checkpoint(session)
    unsigned = newest is not None and newest.note is None
    return (
        unsigned or session.execute(UNSEALED.where(ENTRIES.c.id > find_watermark(session)).limit(1)).first() is not None
    )


def _seal_batch(session: Session, after: int) -> tuple[int, int]:
    """Seal one batch beyond the entry id `after`; returns how many, and the last entry's id."""
    newest = find_newest_checkpoint(session)
    size = newest.size if newest else 0
    rows = session.execute(UNSEALED.where(ENTRIES.c.id > max(after, find_watermark(session))).limit(BATCH)).all()
    if not rows:
        return 0, after
    writer = TileWriter(size, partial(read_tile, session))
    full = writer.append(hash_leaf(encode_leaf(row[1:])) for row in rows)
    places = [{"leaf_index": size + number, "entry_id": row.id} for number, row in enumerate(rows)]
    session.execute(insert(LEAVES), places)
    tiles = [
        {"level": tile.level, "number": tile.index, "hashes": hashes} for tile, hashes in (*full, *writer.partials)
    ]
    session.execute(upsert(StoredTile, key=("level", "number"), update=("hashes",)), tiles)
    # Of a batch that is not the last one, entries before its end may be unsealed still: late ones, on PostgreSQL.
    last = rows[-1].id if len(rows) == BATCH or newest is None else max(rows[-1].id, newest.last_entry)
    committed = {
        "size": writer.size,
        "root": writer.root,
        "note": None,
        "last_entry": last,
        "horizon": _read_horizon(session),
        "sealed_at": int(time.time()),
    }
    session.execute(insert(CHECKPOINTS).values(committed))
    return len(rows), rows[-1].id


def _read_horizon(session: Session) -> int:
    """Read a transaction number above those of all that ran when the batch was read: for PostgreSQL, else 0."""
    if session.get_bind().dialect.name == "sqlite":
        return 0
    return session.scalar(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")) or 0


def _sign_committed(session: Session, key: Signer) -> SignedTree | None:
    """Sign the newest committed size if it is not signed yet, and return it."""
    newest = find_newest_checkpoint(session)
    if newest is None:
        return None
    note = newest.note
    if note is None:
        note = keys.sign_checkpoint(newest.size, bytes(newest.root), key)
        session.execute(update(CHECKPOINTS).where(CHECKPOINTS.c.size == newest.size).values(note=note))
    return SignedTree(newest.size, bytes(newest.root), note)
