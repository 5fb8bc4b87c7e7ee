"""The sealer: appends committed entries to the tree in batches, and signs the size that is committed.

One process of all nodes seals at a time: on SQLite under the write lock, on PostgreSQL under an advisory lock. A root
is signed only after it was committed, so that no two roots are ever signed for one size, whatever crashes in between.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from sqlalchemy import insert, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_audit.sealing import edge, keys
from yoq_audit.sealing.edge import Edge, check_edge
from yoq_audit.sealing.signer import (
    CannotSign,
    HeadMissing,
    Rewound,
    SigningTurn,
    check_head,
    ensure_first_key,
    find_turn,
    list_signers,
    retire_replaced_key,
    take_turn,
)
from yoq_audit.storage.models import CHECKPOINTS, LEAVES, StoredTile
from yoq_audit.storage.tree import find_watermark, select_unsealed
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.hashes import hash_leaf
from yoq_audit.tlog.leaf import encode_leaf
from yoq_audit.tlog.tile_writer import TileWriter
from yoq_web import AppLocal, SettingsError, confirm_commit, db, render_exception, unit_of_work, upsert

logger = get_logger("yoq_web")

Made = tuple[int, bytes] | None
"""A size and its root that this process committed in its last transaction."""


@dataclass
class SealingState:
    """What came of this process's last sealing: `failure` says why nothing is sealed; None if it is.

    Up to the entry id `settled` everything is sealed for good, as it was before the last look at all that is not.
    """

    tried: bool = False
    failure: str | None = None
    settled: int | None = None


current_sealing: AppLocal[SealingState] = AppLocal("audit_sealing", lambda _app: SealingState())


def try_to_seal() -> None:
    """Seal; what stands in the way is remembered, and logged when it is new. The first time the head is looked at."""
    state = current_sealing()
    before = state.failure
    try:
        retire_replaced_key()
        seal(check=not state.tried or before is not None)
        state.failure = None
    except (Rewound, HeadMissing, CannotSign, SettingsError, LogError) as error:
        state.failure = f"nothing is sealed: {error}"
    except SQLAlchemyError as error:
        state.failure = f"nothing is sealed: the database refuses ({type(error).__name__})"
    except Exception as error:  # noqa: BLE001 - whatever is stored there, /health says that nothing is sealed
        state.failure = f"nothing is sealed: what is stored cannot be read ({type(error).__name__})"
        if state.failure != before:
            logger.error("the log cannot be read", exception=render_exception(error))  # noqa: TRY400 - told in one line
    state.tried = True
    if state.failure and state.failure != before:
        logger.error("the log cannot be sealed", reason=state.failure)
    elif before and not state.failure:
        logger.warning("the log is sealed again")


def seal(*, check: bool = False, begin: bool = False) -> int:
    """Seal every committed entry, in batches, and sign the last size. Returns how many entries were sealed.

    With `check` the database is held against the head kept outside even if there is nothing to seal. With `begin` the
    log gets its first key even before its first entry: not unasked, for a log that has begun gives way to no backup.

    Does nothing on a machine that has no key. Raises CannotSign if its key is not the log's or was replaced, Rewound
    if the database was cut back or changed behind the head, and HeadMissing if there is no head to tell by.
    """
    state, settled = current_sealing(), find_watermark(db.session())
    # On PostgreSQL a transaction that ended just now may have left an entry below: what is settled now must be looked
    # at once more before it is passed over.
    floor = settled if state.settled is None else min(settled, state.settled)
    due = _is_due(db.session(), floor)
    if not due:
        state.settled = settled
    if not due and not check:
        return 0
    if not due:
        if begin:
            ensure_first_key()
        # The head is read first and the tree after it: in the snapshot that is open the tree may look cut back.
        db.session.rollback()
        turn = find_turn()
        if turn is not None and turn.promoted:
            promote_key()
        if turn is not None:
            check_head(db.session(), turn.chain)
        return 0
    ensure_first_key()
    sealed = 0
    after = floor
    made: Made = None
    while True:
        with unit_of_work() as session:
            turn = take_turn(session)
            if turn is None:
                return 0
            check_head(session, turn.chain)
            newest = _sign_committed(session, turn, made)
            count, after, made = _seal_batch(session, after, newest.writer if newest else TileWriter())
        sealed += count
        if count < edge.BATCH:
            state.settled = settled
            break
    with unit_of_work() as session:
        turn = take_turn(session)
        signed = _sign_committed(session, turn, made) if turn else None
    if turn is not None and signed is not None and signed.note is not None:
        keys.keep_head(signed.note, signed.size, turn.chain.keys)
        if turn.key.verifier != turn.chain.keys[-1] and keys.read_next_signer() is not None:
            promote_key()
    return sealed


def promote_key() -> None:
    """Put the next key in its place, if it is its turn."""
    with unit_of_work() as session:
        take_turn(session)


def _is_due(session: Session, floor: int) -> bool:
    """Tell whether there is anything to seal beyond the entry id `floor`, to sign or to refuse.

    Asked every second, and without the write lock.
    """
    if not edge.is_even(session):
        return True
    return session.execute(select_unsealed(floor).limit(1)).first() is not None


def _seal_batch(session: Session, after: int, writer: TileWriter) -> tuple[int, int, Made]:
    """Seal one batch beyond the entry id `after`; returns how many, the last entry's id, and what was made."""
    size = writer.size
    rows = session.execute(select_unsealed(after).limit(edge.BATCH)).all()
    if not rows:
        return 0, after, None
    full = writer.append(hash_leaf(encode_leaf(row[1:])) for row in rows)
    places = [{"leaf_index": size + number, "entry_id": row.id} for number, row in enumerate(rows)]
    session.execute(insert(LEAVES), places)
    tiles = [
        {"level": tile.level, "number": tile.index, "hashes": hashes} for tile, hashes in (*full, *writer.partials)
    ]
    session.execute(upsert(StoredTile, key=("level", "number"), update=("hashes",)), tiles)
    root = writer.root
    committed = {
        "size": writer.size,
        "root": root,
        "note": None,
        "last_entry": rows[-1].id,
        "horizon": _read_horizon(session),
        "sealed_at": int(time.time()),
    }
    session.execute(insert(CHECKPOINTS).values(committed))
    return len(rows), rows[-1].id, (writer.size, root)


def _read_horizon(session: Session) -> int:
    """Read a transaction number above those of all that ran when the batch was read: for PostgreSQL, else 0."""
    if session.get_bind().dialect.name == "sqlite":
        return 0
    return session.scalar(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")) or 0


def _sign_committed(session: Session, turn: SigningTurn, made: Made) -> Edge | None:
    """Sign the newest committed size if it is not signed yet, and return it. Raises LogError for one not to be signed.

    `made` is what this process committed last.
    """
    newest = check_edge(session, turn.chain.keys, made)
    if newest is None or newest.note is not None:
        return newest
    confirm_commit()  # another process may have committed it just now, and what is signed must not get lost
    note = keys.sign_checkpoint(newest.size, newest.root, *list_signers(session, turn, newest.size))
    session.execute(update(CHECKPOINTS).where(CHECKPOINTS.c.size == newest.size).values(note=note))
    return replace(newest, note=note)
