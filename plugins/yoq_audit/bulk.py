"""The leaves of many tiles in one row, put together by SQLite: several times as fast as row after row.

It is only a short cut: what it gives counts if it hashes to the stored tile. Anything else is done again row by row
with `encode_leaf`, which alone says what a leaf is. SQLite's json_object keeps texts, numbers and nulls apart and
escapes what must be escaped, so no other columns can give the same bytes; `details` that are not stored in the
shortest form come out different and are encoded by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yoq_audit.tlog.leaf import FIELDS

_HEAD = ", ".join(f"'{name}', {name}" for name in FIELDS[:-1])  # without details
QUERY = (
    f"SELECT count(*), CAST(group_concat(json_object({_HEAD}, 'details', json(details)), char(10)) AS BLOB), "  # noqa: S608 - our own names
    "total(recorded_at <> time / 1000000 OR typeof(details) <> 'text') "
    "FROM audit_leaf JOIN audit_log ON audit_log.id = audit_leaf.entry_id "
    "WHERE leaf_index BETWEEN ? AND ? ORDER BY leaf_index"
)


def leaves_of(row: Sequence[Any], width: int) -> list[bytes] | None:
    """The leaves in a row of QUERY, or None where they must be encoded one by one."""
    count, texts, odd = row
    if count != width or odd or not texts:
        return None
    leaves: list[bytes] = texts.split(b"\n")
    return leaves if len(leaves) == width else None
