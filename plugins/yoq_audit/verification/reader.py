"""Reading the log through the bare driver, in one snapshot and in constant memory: rows as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from yoq_audit.storage.tree import WATERMARK, compute_slack_end
from yoq_audit.tlog.leaf import FIELDS
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


def lenient(raw: bytes) -> str:
    """A stored text, whatever bytes it has."""
    return raw.decode(errors="surrogateescape")


class Reader:
    """Reads one state of the database, over a connection that is in no transaction yet."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.on_sqlite = isinstance(connection, sqlite3.Connection)
        self._streams = 0
        self._tile: tuple[tuple[int, int] | None, bytes | None] = (None, None)

    def __enter__(self) -> Reader:
        if self.on_sqlite:
            self._connection.text_factory = lenient
            self._connection.execute("BEGIN")
        else:
            # Every statement sees what the first one sees, and none can write.
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.rollback()
        if self.on_sqlite:
            self._connection.text_factory = str

    def all(self, query: str, *values: object) -> list[Row]:
        """Every row of a query that gives few."""
        cursor = self._connection.cursor()
        try:
            rows: list[Row] = cursor.execute(self._marked(query), values).fetchall()
        finally:
            cursor.close()
        return rows

    def value(self, query: str, *values: object) -> Any:
        """The first column of the first row, or None."""
        rows = self.all(query, *values)
        return rows[0][0] if rows else None

    def tile(self, level: int, number: int) -> bytes | None:
        """A tile as stored. The last one asked for is remembered: a query waits for one that another thread runs."""
        if self._tile[0] != (level, number):
            self._tile = (level, number), self._stored_tile(level, number)
        return self._tile[1]

    def _stored_tile(self, level: int, number: int) -> bytes | None:
        hashes = self.value("SELECT hashes FROM audit_tile WHERE level = ? AND number = ?", level, number)
        return None if hashes is None else bytes(hashes) if isinstance(hashes, (bytes, memoryview)) else b""

    def tiles(self, level: int) -> Iterator[tuple[int, bytes]]:
        """Every stored tile of a level, in order."""
        for batch in self.stream("SELECT number, hashes FROM audit_tile WHERE level = ? ORDER BY number", level):
            for number, hashes in batch:
                yield number, bytes(hashes) if isinstance(hashes, (bytes, memoryview)) else b""

    def checkpoints(self, smallest: int = -(2**63)) -> Iterator[tuple[int, bytes, bytes | None]]:
        """Size, root and note of every stored checkpoint from a size on, the smallest first."""
        note = "CAST(note AS BLOB)" if self.on_sqlite else "convert_to(note, 'UTF8')"
        query = f"SELECT size, root, {note} FROM audit_checkpoint WHERE size >= ? ORDER BY size"  # noqa: S608 - our own names
        for batch in self.stream(query, smallest):
            for size, root, text in batch:
                yield size, bytes(root) if isinstance(root, (bytes, memoryview)) else b"", text and bytes(text)

    def placed(self, first: int, width: int) -> list[Row | None]:
        """The rows of `width` places from `first` on, None for a place that has none."""
        rows: list[Row | None] = [None] * width
        for row in self.all(PLACED, first, first + width - 1):
            rows[int(row[0]) - first] = row
        return rows

    def bulk(self, first: int, width: int, size: int) -> tuple[list[bytes], bytes] | None:
        """What to hash for each of these leaves of a tree of this size, and their tiles, where that can be had fast."""
        if not self.on_sqlite:
            return None
        try:
            return sqlite_bulk.of_row(self.all(sqlite_bulk.QUERY, first, first + width - 1, size)[0], width)
        except sqlite3.Error:
            return None  # something is stored that is no text, or no JSON

    def entry(self, number: int) -> Row | None:
        """The fields of the leaf of the entry with this id."""
        rows = self.all(f"SELECT {COLUMNS} FROM audit_log e WHERE e.id = ?", number)  # noqa: S608 - our own names
        return rows[0] if rows else None

    def strays(self, size: int, pruned: int = 0) -> list[Row]:
        """Index and entry id of places outside a tree of this size, and of places that are there twice.

        So many places are not there because they were pruned.
        """
        outside = "SELECT leaf_index, entry_id FROM audit_leaf WHERE NOT (leaf_index >= 0 AND leaf_index < ?) LIMIT 101"
        found = self.all(outside, size)
        # A place can only be there twice if an attacker dropped the key; counting is much cheaper than grouping.
        if self.value("SELECT count(*) FROM audit_leaf") - len(found) != size - pruned:
            found += self.all(
                "SELECT leaf_index, max(entry_id) FROM audit_leaf GROUP BY leaf_index HAVING count(*) > 1 LIMIT 101"
            )
        return found

    def unplaced(self) -> Iterator[Row]:
        """The entries without a place in the tree: id, event id and the fields of the leaf."""
        for batch in self.stream(UNPLACED):
            yield from batch

    def distinct(self, column: str, limit: int) -> list[Any]:
        """Values that a column has anywhere in the log."""
        rows = self.all(f"SELECT DISTINCT {column} FROM audit_log LIMIT {limit:d}")  # noqa: S608 - our own names
        return [row[0] for row in rows]

    def find_watermark(self) -> int | None:
        """PostgreSQL: an entry id up to which everything was sealed for good; None where ids are in commit order."""
        if self.on_sqlite:
            return None
        return int(self.value(WATERMARK.format("?"), compute_slack_end()) or 0)

    def stream(self, query: str, *values: object) -> Iterator[Sequence[Row]]:
        """The rows of a query that gives many, as many as a tile has at a time; held by the server, not here."""
        self._streams += 1
        cursor = self._connection.cursor() if self.on_sqlite else self._connection.cursor(f"yoq_{self._streams}")
        try:
            cursor.execute(self._marked(query), values)
            while rows := cursor.fetchmany(TILE):
                yield rows
        finally:
            cursor.close()

    def _marked(self, query: str) -> str:
        return query if self.on_sqlite else query.replace("?", "%s")


def joined(hashes: Iterable[bytes]) -> bytes:
    """Hashes as a tile holds them."""
    return b"".join(hashes)
