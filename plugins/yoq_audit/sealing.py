"""The sealer: appends committed entries to the tree in batches, and signs the size that is committed.

One process of all nodes seals at a time: on SQLite under the write lock, on PostgreSQL under an advisory lock. A root
is signed only after it was committed, so that no two roots are ever signed for one size, whatever crashes in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Table, insert, select, text, update
from sqlalchemy.orm import Session

from yoq_audit import keys
from yoq_audit.chain import Chain
from yoq_audit.log import TABLE
from yoq_audit.models import SLACK_SECONDS, Leaf, LogKey, StoredCheckpoint, StoredTile
from yoq_audit.tlog.growth import Growth
from yoq_audit.tlog.hashing import EMPTY_ROOT, leaf_hash
from yoq_audit.tlog.leaf import FIELDS, encode_leaf
from yoq_audit.tlog.note import Signer, Verifier
from yoq_audit.tlog.tiles import Tile, subtree_from
from yoq_audit.tlog.tree import root_at
from yoq_web import db
from yoq_web.database import unit_of_work, upsert

BATCH = 1000
"""Entries sealed in one transaction, which holds SQLite's write lock."""

LOCK = 0x796F72
"""PostgreSQL's advisory lock for sealing: one number for all nodes."""

ROTATION = "audit_key_rotate"
"""The action of the entry that announces a key; its target is the key."""

HEAD_MISSING = (
    f"{keys.HEAD_FILE} is missing, without which a log that was cut off would not be noticed; put it back, or if the "
    "log is whole as far as you know, run: yoq-web audit accept-head"
)

LEAVES: Table = Leaf.__table__  # type: ignore[assignment]  # SQLAlchemy types it as any FROM clause
CHECKPOINTS: Table = StoredCheckpoint.__table__  # type: ignore[assignment]  # as above
UNSEALED = (
    select(TABLE.c.id, *(TABLE.c[name] for name in FIELDS))
    .where(~select(LEAVES.c.entry_id).where(LEAVES.c.entry_id == TABLE.c.id).exists())
    .order_by(TABLE.c.id)
)


class Rewound(Exception):
    """The database's tree is not an extension of the head kept outside it: nothing may be signed."""


class HeadMissing(Exception):
    """The head kept outside the database is gone: a database that was cut back would not be noticed."""


class CannotSign(Exception):
    """This machine's key is not the one that signs the log now, if it ever was."""


@dataclass(frozen=True)
class Sealed:
    """A committed size of the tree."""

    size: int
    root: bytes
    note: str | None


def seal(*, check: bool = False) -> int:
    """Seal every committed entry, in batches, and sign the last size. Returns how many entries were sealed.

    With `check` the database is held against the head kept outside even if there is nothing to seal.

    Does nothing on a machine that has no key. Raises CannotSign if its key is not the log's or was replaced, Rewound
    if the database was cut back or changed behind the head, and HeadMissing if there is no head to tell by.
    """
    due = _due(db.session())
    if not due and not check:
        return 0
    if not due:
        # The head is read first and the tree after it: in the snapshot that is open the tree may look cut back.
        db.session.rollback()
        signing = _settled_signing()
        if signing is not None:
            check_head(db.session(), signing.chain)
        return 0
    _begin()
    sealed = 0
    after = 0
    while True:
        with unit_of_work() as session:
            signing = _turn(session)
            if signing is None:
                return 0
            check_head(session, signing.chain)
            _sign_committed(session, signing.key)
            count, after = _seal_batch(session, after)
        sealed += count
        if count < BATCH:
            break
    with unit_of_work() as session:
        signing = _turn(session)
        newest = _sign_committed(session, signing.key) if signing else None
    if signing is not None and newest is not None and newest.note is not None:
        keys.keep_head(newest.note, newest.size, signing.chain.keys)
        if signing.key.verifier != signing.chain.keys[-1] and keys.next_signer() is not None:
            settle_key()
    return sealed


def settle_key() -> None:
    """Put the next key in its place, if it is its turn."""
    with unit_of_work() as session:
        _turn(session)


def _due(session: Session) -> bool:
    """Whether there is anything to seal or to sign; asked every second, and without the write lock."""
    newest = session.execute(select(CHECKPOINTS.c.note).order_by(CHECKPOINTS.c.size.desc()).limit(1)).first()
    unsigned = newest is not None and newest.note is None
    return unsigned or session.execute(UNSEALED.where(TABLE.c.id > settled(session)).limit(1)).first() is not None


def latest(session: Session) -> Sealed | None:
    """The newest signed size, or None before the first."""
    row = session.execute(
        select(CHECKPOINTS.c.size, CHECKPOINTS.c.root, CHECKPOINTS.c.note)
        .where(CHECKPOINTS.c.note.is_not(None))
        .order_by(CHECKPOINTS.c.size.desc())
        .limit(1)
    ).first()
    return None if row is None else Sealed(row.size, bytes(row.root), row.note)


def tile_reader(session: Session) -> Callable[[Tile], bytes]:
    """Reads the stored tiles, by level and number; a row that grows serves every width."""

    def read(tile: Tile) -> bytes:
        found = session.scalar(
            select(StoredTile.hashes).where(StoredTile.level == tile.level, StoredTile.number == tile.index)
        )
        return b"" if found is None else bytes(found)

    return read


def check_head(session: Session, chain: Chain) -> None:
    """Raise Rewound unless the database's tree is an extension of the head kept outside, HeadMissing without one."""
    head = keys.read_head(chain.keys)
    if head is None:
        if latest(session) is not None:
            raise HeadMissing(HEAD_MISSING)
        return
    newest = session.execute(
        select(CHECKPOINTS.c.size, CHECKPOINTS.c.root).order_by(CHECKPOINTS.c.size.desc()).limit(1)
    ).first()
    size = newest.size if newest else 0
    if size < head.size:
        raise Rewound(f"the log has {size} sealed entries, but {head.size} were sealed according to {keys.HEAD_FILE}")
    known = bytes(newest.root) if newest and size == head.size else _root(session, head.size)
    if known != head.root:
        raise Rewound(f"the first {head.size} sealed entries are not those that {keys.HEAD_FILE} was signed for")


def _root(session: Session, size: int) -> bytes:
    return root_at(size, subtree_from(tile_reader(session), size)) if size else EMPTY_ROOT


@dataclass(frozen=True)
class Signing:
    """What signs now, on this machine, and the chain of keys that it belongs to."""

    key: Signer
    chain: Chain
    promoted: bool = False
    """Whether the key is still the next one, whose turn has come."""


def _begin() -> None:
    """Make the log's first key known, if there is none yet: the first machine to seal makes it."""
    anybody = select(LogKey.vkey).limit(1)
    if db.session.scalar(anybody) is not None:
        return
    with keys.changing():
        db.session.rollback()
        if db.session.scalar(anybody) is not None:
            return
        key = keys.signer() or keys.next_signer()
        if key is None:
            key = Signer.generate(keys.settings().log_origin)
            keys.write_next(key)
        with unit_of_work() as session:
            lock(session)
            if session.scalar(anybody) is None:
                if session.scalar(select(CHECKPOINTS.c.size).limit(1)) is not None:
                    raise Rewound("the log is there, but none of its keys")
                session.execute(insert(LogKey).values(vkey=key.vkey, added_at=int(time.time())))
            known = set(session.scalars(select(LogKey.vkey)))
        if key.vkey not in known and keys.signer() is None:
            keys.drop_next()  # another machine came first


def _turn(session: Session) -> Signing | None:
    """Who signs now, alone among all processes until the transaction ends; the next key is put in its place first."""
    lock(session)
    signing = _signing(session)
    if signing is not None and signing.promoted:
        if latest(session) is None:
            # From the very beginning there is a head: where it is missing later, somebody took it away.
            keys.keep_head(keys.checkpoint_note(0, EMPTY_ROOT, signing.key), 0, signing.chain.keys)
        keys.promote_next()
    return signing


def _signing(session: Session) -> Signing | None:
    """Who may sign now, or None on a machine that has no key. Raises CannotSign."""
    own, following = keys.signer(), keys.next_signer()
    if own is None and following is None:
        return None
    chain = keys.stored_chain(session, own)
    if not chain.keys:
        return None
    newest = chain.keys[-1]
    if own is None:
        first = following is not None and chain.keys == (following.verifier,)
        return Signing(following, chain, promoted=True) if first and following else None
    if chain.missing == own.verifier:
        raise CannotSign(f"{keys.KEY_FILE} is not the log's key; if this machine never sealed the log, remove it")
    if chain.forked:
        raise CannotSign("two keys claim to follow the log's last one")
    if own.verifier == newest:
        return Signing(own, chain)
    if own.verifier != chain.keys[-2] or announced_in_signed(session, newest):
        if following is not None and following.verifier == newest:
            return Signing(following, chain, promoted=True)
        raise CannotSign(
            f"{keys.KEY_FILE} was replaced by {newest.name}+{newest.key_id.hex()}: "
            f"copy {keys.KEY_FILE} and {keys.HEAD_FILE} from the machine that has it"
        )
    # The old key signs once more: for the tree that holds the announcement of the new one.
    return Signing(own, chain)


def _settled_signing() -> Signing | None:
    """Who may sign now; before somebody is told that he may not, what another process is about to do is awaited."""
    try:
        return _signing(db.session())
    except CannotSign:
        with unit_of_work() as session:
            return _turn(session)


def newest_key(session: Session, own: Signer) -> Verifier:
    """The last key of the chain that a machine's key belongs to. Raises CannotSign if it belongs to none."""
    chain = keys.stored_chain(session, own)
    if chain.forked or chain.missing == own.verifier:
        raise CannotSign(f"{keys.KEY_FILE} is not the log's key")
    return chain.keys[-1]


def announced_in_signed(session: Session, key: Verifier) -> bool:
    """Whether the entry that announces a key is in the tree of a signed checkpoint."""
    place = session.scalar(
        select(LEAVES.c.leaf_index)
        .join(TABLE, TABLE.c.id == LEAVES.c.entry_id)
        .where(TABLE.c.action == ROTATION, TABLE.c.outcome == "ok", TABLE.c.target == key.vkey)
        .limit(1)
    )
    newest = latest(session)
    return place is not None and newest is not None and newest.size > place


def lock(session: Session) -> None:
    """Be the only one of all machines that seals, or changes a key, until the transaction ends."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def _seal_batch(session: Session, after: int) -> tuple[int, int]:
    """Seal one batch beyond the entry id `after`; returns how many, and the last entry's id."""
    newest = session.execute(select(CHECKPOINTS).order_by(CHECKPOINTS.c.size.desc()).limit(1)).first()
    size = newest.size if newest else 0
    rows = session.execute(UNSEALED.where(TABLE.c.id > max(after, settled(session))).limit(BATCH)).all()
    if not rows:
        return 0, after
    growth = Growth(size, tile_reader(session))
    full = growth.append(leaf_hash(encode_leaf(row[1:])) for row in rows)
    places = [{"leaf_index": size + number, "entry_id": row.id} for number, row in enumerate(rows)]
    session.execute(insert(LEAVES), places)
    tiles = [
        {"level": tile.level, "number": tile.index, "hashes": hashes} for tile, hashes in (*full, *growth.partials())
    ]
    session.execute(upsert(StoredTile, key=("level", "number"), update=("hashes",)), tiles)
    # Of a batch that is not the last one, entries before its end may be unsealed still: late ones, on PostgreSQL.
    last = rows[-1].id if len(rows) == BATCH or newest is None else max(rows[-1].id, newest.last_entry)
    committed = {
        "size": growth.size,
        "root": growth.root(),
        "note": None,
        "last_entry": last,
        "horizon": _horizon(session),
        "sealed_at": int(time.time()),
    }
    session.execute(insert(CHECKPOINTS).values(committed))
    return len(rows), rows[-1].id


def settled(session: Session) -> int:
    """An entry id up to which everything is sealed for good.

    On SQLite ids are in the order of commits. On PostgreSQL a transaction may commit an entry whose id is lower than
    others' that are sealed; a checkpoint's `last_entry` is final once every transaction that ran then has ended.
    """
    final = select(CHECKPOINTS.c.last_entry).order_by(CHECKPOINTS.c.size.desc()).limit(1)
    if session.get_bind().dialect.name == "sqlite":
        return session.scalar(final) or 0
    oldest = session.scalar(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))
    # The slack is for an id that is drawn from the sequence just before its transaction gets its number.
    final = final.where(CHECKPOINTS.c.horizon <= oldest, CHECKPOINTS.c.sealed_at < int(time.time()) - SLACK_SECONDS)
    return session.scalar(final) or 0


def _horizon(session: Session) -> int:
    """PostgreSQL: a transaction number above those of all that ran when the batch was read. SQLite needs none."""
    if session.get_bind().dialect.name == "sqlite":
        return 0
    return session.scalar(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")) or 0


def _sign_committed(session: Session, key: Signer) -> Sealed | None:
    """Sign the newest committed size if it is not signed yet, and return it."""
    newest = session.execute(
        select(CHECKPOINTS.c.size, CHECKPOINTS.c.root, CHECKPOINTS.c.note).order_by(CHECKPOINTS.c.size.desc()).limit(1)
    ).first()
    if newest is None:
        return None
    note = newest.note
    if note is None:
        note = keys.checkpoint_note(newest.size, bytes(newest.root), key)
        session.execute(update(CHECKPOINTS).where(CHECKPOINTS.c.size == newest.size).values(note=note))
    return Sealed(newest.size, bytes(newest.root), note)
