"""The reader: the log through the bare driver, in one snapshot and in constant memory, its rows as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from yoq_audit.storage.tree import WATERMARK, compute_slack_end
from yoq_audit.tlog.hashes import LEAF_PREFIX
from yoq_audit.tlog.leaf import FIELDS, LeafError, encode_leaf
from yoq_audit.tlog.tiles import TILE
from yoq_audit.verification import sqlite_bulk

Row = Sequence[Any]

COLUMNS = ", ".join(f"e.{name}" for name in FIELDS)
PLACED = (
    f"SELECT l.leaf_index, l.entry_id, e.id, e.recorded_at, {COLUMNS} FROM audit_leaf l "  # noqa: S608 - our own names
    "LEFT JOIN audit_log e ON e.id = l.entry_id WHERE l.leaf_index BETWEEN ? AND ? ORDER BY l.leaf_index"
)
UNPLACED = (
    f"SELECT e.id, e.event_id, {COLUMNS} FROM audit_log e "  # noqa: S608 - our own names
    "WHERE NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.entry_id = e.id) ORDER BY e.id"
)
FIRST_FIELD = 4
"""Where the fields of the leaf begin in a row of PLACED."""
TIME = FIRST_FIELD + FIELDS.index("time")
RECORDED_AT = 3


def decode_leniently(raw: bytes) -> str:
    """Decode a stored text, whatever bytes it has."""
    return raw.decode(errors="surrogateescape")


class LogReader:
    """Reads one state of the database, over a connection that is in no transaction yet."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.on_sqlite = isinstance(connection, sqlite3.Connection)
        self._streams = 0
        self._tile: tuple[tuple[int, int] | None, bytes | None] = (None, None)

    def __enter__(self) -> LogReader:
        if self.on_sqlite:
            self._connection.text_factory = decode_leniently
            self._connection.execute("BEGIN")
        else:
            # Every statement sees what the first one sees, and none can write.
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.rollback()
        if self.on_sqlite:
            self._connection.text_factory = str

    def fetch_all(self, query: str, *values: object) -> list[Row]:
        """Fetch every row of a query that gives few."""
        cursor = self._connection.cursor()
        try:
            rows: list[Row] = cursor.execute(self._adapt(query), values).fetchall()
        finally:
            cursor.close()
        return rows

    def fetch_value(self, query: str, *values: object) -> Any:
        """Fetch the first column of the first row, or None."""
        rows = self.fetch_all(query, *values)
        return rows[0][0] if rows else None

    def fetch_tile(self, level: int, number: int) -> bytes | None:
        """Fetch a tile as stored. The last one is remembered: a query waits for one that another thread runs."""
        if self._tile[0] != (level, number):
            self._tile = (level, number), self._fetch_stored_tile(level, number)
        return self._tile[1]

    def _fetch_stored_tile(self, level: int, number: int) -> bytes | None:
        hashes = self.fetch_value("SELECT hashes FROM audit_tile WHERE level = ? AND number = ?", level, number)
        return None if hashes is None else bytes(hashes) if isinstance(hashes, (bytes, memoryview)) else b""

    def stream_tiles(self, level: int) -> Iterator[tuple[int, bytes]]:
        """Yield every stored tile of a level, in order."""
        for batch in self.stream("SELECT number, hashes FROM audit_tile WHERE level = ? ORDER BY number", level):
            for number, hashes in batch:
                yield number, bytes(hashes) if isinstance(hashes, (bytes, memoryview)) else b""

    def stream_checkpoints(self, smallest: int = -(2**63)) -> Iterator[tuple[int, bytes, bytes | None]]:
        """Yield size, root and note of every stored checkpoint from a size on, the smallest first."""
        note = "CAST(note AS BLOB)" if self.on_sqlite else "convert_to(note, 'UTF8')"
        query = f"SELECT size, root, {note} FROM audit_checkpoint WHERE size >= ? ORDER BY size"  # noqa: S608 - our own names
        for batch in self.stream(query, smallest):
            for size, root, text in batch:
                yield size, bytes(root) if isinstance(root, (bytes, memoryview)) else b"", text and bytes(text)

    def fetch_placed(self, first: int, width: int) -> list[Row | None]:
        """Fetch the rows of `width` places from `first` on, None for a place that has none."""
        rows: list[Row | None] = [None] * width
        for row in self.fetch_all(PLACED, first, first + width - 1):
            rows[int(row[0]) - first] = row
        return rows

    def fetch_bulk(self, first: int, width: int, size: int) -> tuple[list[bytes], bytes] | None:
        """Fetch what to hash for each of these leaves of a tree of this size, and their tiles; None if only rows do."""
        if not self.on_sqlite:
            return None
        try:
            return sqlite_bulk.split_row(self.fetch_all(sqlite_bulk.QUERY, first, first + width - 1, size)[0], width)
        except sqlite3.Error:
            return None  # something is stored that is no text, or no JSON

    def fetch_entry(self, number: int) -> Row | None:
        """Fetch the fields of the leaf of the entry with this id."""
        rows = self.fetch_all(f"SELECT {COLUMNS} FROM audit_log e WHERE e.id = ?", number)  # noqa: S608 - our own names
        return rows[0] if rows else None

    def fetch_strays(self, size: int, pruned: int = 0) -> list[Row]:
        """Fetch index and entry id of places outside a tree of this size, and of places that are there twice.

        `pruned` places are not there because they were pruned.
        """
        outside = "SELECT leaf_index, entry_id FROM audit_leaf WHERE NOT (leaf_index >= 0 AND leaf_index < ?) LIMIT 101"
        found = self.fetch_all(outside, size)
        # A place can only be there twice if an attacker dropped the key; counting is much cheaper than grouping.
        if self.fetch_value("SELECT count(*) FROM audit_leaf") - len(found) != size - pruned:
            found += self.fetch_all(
                "SELECT leaf_index, max(entry_id) FROM audit_leaf GROUP BY leaf_index HAVING count(*) > 1 LIMIT 101"
            )
        return found

    def stream_unplaced(self) -> Iterator[Row]:
        """Yield the entries without a place in the tree: id, event id and the fields of the leaf."""
        for batch in self.stream(UNPLACED):
            yield from batch

    def fetch_distinct(self, column: str, limit: int) -> list[Any]:
        """Fetch values that a column has anywhere in the log, at most `limit`."""
        rows = self.fetch_all(f"SELECT DISTINCT {column} FROM audit_log LIMIT {limit:d}")  # noqa: S608 - our own names
        return [row[0] for row in rows]

    def fetch_watermark(self) -> int | None:
        """Fetch an entry id up to which everything was sealed for good; None where ids are in the order of commits."""
        if self.on_sqlite:
            return None
        return int(self.fetch_value(WATERMARK.format("?"), compute_slack_end()) or 0)

    def stream(self, query: str, *values: object) -> Iterator[Sequence[Row]]:
        """Yield the rows of a query that gives many, as many as a tile has at a time; held by the server, not here."""
        self._streams += 1
        cursor = self._connection.cursor() if self.on_sqlite else self._connection.cursor(f"yoq_{self._streams}")
        try:
            cursor.execute(self._adapt(query), values)
            while rows := cursor.fetchmany(TILE):
                yield rows
        finally:
            cursor.close()

    def _adapt(self, query: str) -> str:
        return query if self.on_sqlite else query.replace("?", "%s")


def hash_columns(columns: Sequence[Any]) -> bytes | None:
    """Hash the leaf of an entry with these columns; None for columns that no entry has."""
    try:
        return sha256(LEAF_PREFIX + encode_leaf(columns)).digest()
    except LeafError:
        return None
