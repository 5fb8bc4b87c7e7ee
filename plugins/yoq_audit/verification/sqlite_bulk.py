"""The leaves of many tiles in one row, put together by SQLite: several times as fast as row after row.

It is only a short cut: what it gives counts if it hashes to the stored tiles. Anything else is done again row by row
with `encode_leaf`, which alone says what a leaf is. SQLite's json_object keeps texts, numbers and nulls apart and
escapes what must be escaped, so no other columns can give the same bytes; `details` that are not stored in the
shortest form come out different and are encoded by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yoq_audit.tlog.hashes import HASH_SIZE, LEAF_PREFIX
from yoq_audit.tlog.leaf import FIELDS
from yoq_audit.tlog.tiles import TILE

_HEAD = ", ".join(f"'{name}', {name}" for name in FIELDS[:-1])  # without details
# One row for all: for each row that a thread steps to, it waits until the one that hashes lets the interpreter go.
QUERY = (
    f"SELECT count(*), CAST(group_concat(json_object({_HEAD}, 'details', json(details)), char(10, 0)) AS BLOB), "  # noqa: S608 - our own names
    "total(recorded_at <> time / 1000000 OR typeof(details) <> 'text'), tiles.* FROM audit_leaf "
    "JOIN audit_log ON audit_log.id = audit_leaf.entry_id, "
    "(SELECT count(*), CAST(group_concat(hashes, '') AS BLOB), "
    f"total(typeof(hashes) <> 'blob' OR length(hashes) <> {HASH_SIZE} * min({TILE}, ?3 - {TILE} * number)) "
    f"FROM (SELECT number, hashes FROM audit_tile WHERE level = 0 AND number BETWEEN ?1 / {TILE} AND ?2 / {TILE} "
    "ORDER BY number)) AS tiles "
    "WHERE leaf_index BETWEEN ?1 AND ?2 ORDER BY leaf_index"
)
"""From the first place to the last one, of a tree of this size."""


def split_row(row: Sequence[Any], width: int) -> tuple[list[bytes], bytes] | None:
    """Return what to hash for each leaf in a row of QUERY, and the stored tiles; None where only rows do."""
    count, texts, odd, tiles, stored, wrong = row
    if count != width or odd or not texts or tiles != -(-width // TILE) or wrong:
        return None
    leaves: list[bytes] = (LEAF_PREFIX + texts).split(b"\n")
    return (leaves, stored) if len(leaves) == width else None
