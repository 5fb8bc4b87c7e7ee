"""The edge of the tree, on which the next entries are put: held against what was signed before anything is built on it.

Whoever can write to the database can store any size, root, note, tile or place. A root is signed only if it follows
from a signed one and from entries that are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from yoq_audit.storage.models import CHECKPOINTS, ENTRIES, LEAVES
from yoq_audit.storage.tree import find_newest_checkpoint, read_tile, select_places
from yoq_audit.tlog import checkpoint as checkpoints
from yoq_audit.tlog import note as notes
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.hashes import hash_leaf
from yoq_audit.tlog.leaf import FIELDS, encode_leaf
from yoq_audit.tlog.note import Verifier
from yoq_audit.tlog.tile_writer import TileWriter

BATCH = 1000
"""Entries sealed in one transaction, which holds SQLite's write lock; so many at most wait for a signature."""

_LAST_PLACE = select(func.max(LEAVES.c.leaf_index)).scalar_subquery()


@dataclass(frozen=True)
class Edge:
    """The newest committed size with its root and its note, None if it is not signed yet; `writer` goes on from it."""

    size: int
    root: bytes
    note: str | None
    writer: TileWriter


def is_even(session: Session) -> bool:
    """Tell whether the newest size is signed, and the last place is that of its last entry: one cheap statement."""
    size = select(func.max(CHECKPOINTS.c.size)).scalar_subquery()
    unsigned = select(CHECKPOINTS.c.size).where(CHECKPOINTS.c.size == size, CHECKPOINTS.c.note.is_(None)).exists()
    newest, place, waits = session.execute(select(size, _LAST_PLACE, unsigned)).one()
    return not waits and (newest or 0) == (-1 if place is None else place) + 1


def check_note(newest: Row[Any], known: Sequence[Verifier]) -> None:
    """Raise LogError unless a key of the log signed the note of a stored size for just this size and root."""
    try:
        found = checkpoints.parse(notes.verify(newest.note, known).text)
    except LogError as error:
        raise LogError(f"the checkpoint of size {newest.size} is not signed by this log: {error}") from error
    if (found.size, found.root) != (newest.size, bytes(newest.root)):
        raise LogError(f"the checkpoint of size {newest.size} is not signed by this log: its note is another's")


def check_edge(session: Session, known: Sequence[Verifier], made: tuple[int, bytes] | None) -> Edge | None:
    """Return the edge, None before the first entry. Raises LogError unless it follows from what was signed.

    `known` are the log's keys. A size that has no signature yet is believed if it is `made`, which this process just
    committed; another's, as after a crash, is computed anew from its entries.
    """
    newest = find_newest_checkpoint(session)
    place = session.scalar(select(_LAST_PLACE))
    size = newest.size if newest else 0
    places = 0 if place is None else place + 1
    if places != size:
        raise LogError(f"{size} entries were sealed, but there are places for {places}")
    if newest is None:
        return None
    root = bytes(newest.root)
    if newest.note is not None:
        check_note(newest, known)
    elif (size, root) != made:
        _check_unsigned(session, known, size, root)
    writer = TileWriter(size, partial(read_tile, session))
    if writer.root != root:
        raise LogError(f"the stored tiles are not those of the {size} sealed entries")
    return Edge(size, root, newest.note, writer)


def _check_unsigned(session: Session, known: Sequence[Verifier], size: int, root: bytes) -> None:
    """Raise LogError unless the root of a size follows from the newest signed one and the entries since."""
    signed = select(CHECKPOINTS).where(CHECKPOINTS.c.note.is_not(None), CHECKPOINTS.c.size < size)
    before = session.execute(signed.order_by(CHECKPOINTS.c.size.desc()).limit(1)).first()
    first = 0
    if before is not None:
        check_note(before, known)
        first = before.size
    places = select_places(first, BATCH + 1)
    rows = session.execute(
        select(*(ENTRIES.c[name] for name in FIELDS))
        .join(places, places.c.entry_id == ENTRIES.c.id)
        .order_by(places.c.leaf_index)
    ).all()
    writer = TileWriter(first, partial(read_tile, session))
    same = before is None or writer.root == bytes(before.root)
    if len(rows) == size - first <= BATCH and same:
        writer.append(hash_leaf(encode_leaf(row)) for row in rows)
        if writer.root == root:
            return
    raise LogError(f"a root waits to be signed that is not that of the {size} committed entries")
