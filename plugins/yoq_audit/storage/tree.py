"""The tree as the database has it: places, tiles, sizes, and what is not sealed yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from yoq_audit.storage.models import CHECKPOINTS, ENTRIES, LEAVES, StoredTile
from yoq_audit.tlog.hashing import EMPTY_ROOT
from yoq_audit.tlog.leaf import FIELDS
from yoq_audit.tlog.tiles import Tile, subtree_from
from yoq_audit.tlog.tree import root_at

SLACK_SECONDS = 60
"""PostgreSQL: how long after a checkpoint its `last_entry` is relied on, beside its horizon."""

UNSEALED = (
    select(ENTRIES.c.id, *(ENTRIES.c[name] for name in FIELDS))
    .where(~select(LEAVES.c.entry_id).where(LEAVES.c.entry_id == ENTRIES.c.id).exists())
    .order_by(ENTRIES.c.id)
)


@dataclass(frozen=True)
class Sealed:
    """A committed size of the tree."""

    size: int
    root: bytes
    note: str | None


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


def root(session: Session, size: int) -> bytes:
    """The root that the tree had when it was of this size, by the stored tiles."""
    return root_at(size, subtree_from(tile_reader(session), size)) if size else EMPTY_ROOT


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
