"""The tree as the database has it: places, tiles, sizes, and what is not sealed yet."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row, Select, Subquery, func, select, text
from sqlalchemy.orm import Session

from yoq_audit.storage.models import CHECKPOINTS, ENTRIES, LEAVES, LogKey, StoredTile
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.leaf import FIELDS
from yoq_audit.tlog.tiles import Tile, make_subtree
from yoq_audit.tlog.tree import compute_root

SLACK_SECONDS = 60
"""PostgreSQL: how long after a checkpoint its last entry is relied on, beside its horizon."""

WATERMARK = (
    "SELECT max(l.entry_id) FROM (SELECT size FROM audit_checkpoint "
    "WHERE horizon <= pg_snapshot_xmin(pg_current_snapshot())::text::bigint AND sealed_at < {} "
    "ORDER BY size DESC LIMIT 16) c JOIN audit_leaf l ON l.leaf_index = c.size - 1"
)
"""PostgreSQL: an entry id up to which everything is sealed for good. Takes compute_slack_end().

Several checkpoints are looked at because the newest may be that of a late entry alone, whose id is far below.
"""

_LAST_SEALED = select(LEAVES.c.entry_id).where(
    LEAVES.c.leaf_index == select(func.max(CHECKPOINTS.c.size)).scalar_subquery() - 1
)

FIRST_KEY = select(LogKey.vkey).where(LogKey.announcement.is_(None)).order_by(LogKey.added_at, LogKey.vkey).limit(1)


@dataclass(frozen=True)
class SignedTree:
    """A size of the tree that was signed: its root, and its checkpoint as a signed note."""

    size: int
    root: bytes
    note: str


def find_newest_checkpoint(session: Session) -> Row[Any] | None:
    """Return the newest committed size with the columns CHECKPOINTS, signed or not yet; None before the first.

    Raises LogError if it is no number, which SQLite stores and sorts behind all numbers.
    """
    row = session.execute(select(CHECKPOINTS).order_by(CHECKPOINTS.c.size.desc()).limit(1)).first()
    if row is not None and not isinstance(row.size, int):
        raise LogError("the size of a checkpoint is no number")
    return row


def find_signed_tree(session: Session, least: int | None = None) -> SignedTree | None:
    """Return the newest signed size, or with `least` the first from there on; None if there is none."""
    signed = select(CHECKPOINTS).where(CHECKPOINTS.c.note.is_not(None)).limit(1)
    if least is None:
        signed = signed.order_by(CHECKPOINTS.c.size.desc())
    else:
        signed = signed.where(CHECKPOINTS.c.size >= least).order_by(CHECKPOINTS.c.size)
    row = session.execute(signed).first()
    return None if row is None else SignedTree(row.size, bytes(row.root), row.note)


def find_log_id(session: Session) -> str:
    """Return what tells this log from others that came before it here; empty before it begins."""
    return get_log_id(session.scalar(FIRST_KEY))


def get_log_id(vkey: str | None) -> str:
    """Return the id of the log with this first key: the key's own, empty where there is none.

    It tells mistakes apart, not forgeries: those a checkpoint's signature shows.
    """
    return vkey.split("+")[1] if vkey is not None and vkey.count("+") >= 2 else ""


def read_tile(session: Session, tile: Tile) -> bytes:
    """Read a stored tile by its level and number: at least as many hashes as it has now, for the row grows with it."""
    found = session.scalar(
        select(StoredTile.hashes).where(StoredTile.level == tile.level, StoredTile.number == tile.index)
    )
    return b"" if found is None else bytes(found)


def find_root(session: Session, size: int) -> bytes:
    """Compute the root that the tree had when it was of this size, from the stored tiles.

    Raises LogError if they are damaged.
    """
    return compute_root(size, make_subtree(partial(read_tile, session), size))


def find_watermark(session: Session) -> int:
    """Return an entry id up to which everything is sealed for good.

    It is derived from places, which the tree's hashes cover. On SQLite ids are in the order of commits. On PostgreSQL a
    transaction may commit an entry whose id is lower than others' that are sealed: a batch's last id is final once
    every transaction that ran then has ended.
    """
    if session.get_bind().dialect.name == "sqlite":
        return session.scalar(_LAST_SEALED) or 0
    return session.scalar(text(WATERMARK.format(":before")), {"before": compute_slack_end()}) or 0


def select_unsealed(after: int | None = None) -> Select[Any]:
    """Select the entries beyond an id that have no place in the tree, with their id and FIELDS, in the order of ids.

    Without an id the whole log is read for it.
    """
    place = select(LEAVES.c.entry_id).where(LEAVES.c.entry_id == ENTRIES.c.id)
    entries = select(ENTRIES.c.id, *(ENTRIES.c[name] for name in FIELDS)).order_by(ENTRIES.c.id)
    if after is not None:
        # Said of both: from the one PostgreSQL does not conclude the other, and would read all places there are.
        place, entries = place.where(LEAVES.c.entry_id > after), entries.where(ENTRIES.c.id > after)
    return entries.where(~place.exists())


def select_places(first: int, count: int) -> Subquery:
    """Select so many places from `first` on, each with its leaf_index and entry_id, to be joined with their entries."""
    within = LEAVES.c.leaf_index.between(first, first + count - 1)
    # With the limit PostgreSQL looks their entries up, even where it takes most of the log for being among them.
    return select(LEAVES).where(within).order_by(LEAVES.c.leaf_index).limit(count).subquery("places")


def compute_slack_end() -> int:
    """Return the time, in seconds since 1970, before which a checkpoint must have been made to count in WATERMARK."""
    # The slack is for an id that is drawn from the sequence just before its transaction gets its number.
    return int(time.time()) - SLACK_SECONDS
