"""The sealed log, read from its beginning to its end, page by page: each page is one short query of its own.

So nobody's slowness holds a connection or a snapshot, and memory stays constant. What is sealed does not move: pages
read in this way never skip or repeat an entry.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from flask import Flask
from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from yoq_audit.export.gaps import Pruned
from yoq_audit.query.filters import Selection
from yoq_audit.storage.log import STORED
from yoq_audit.storage.models import ENTRIES, LEAVES
from yoq_audit.storage.prepared import Prepared
from yoq_audit.storage.tombstones import find_cutoff, find_minimum
from yoq_audit.storage.tree import find_log_id, find_signed_tree
from yoq_web import AppLocal, db

Row = Sequence[Any]
"""An entry: its place in the log, then the columns STORED."""

PAGE = 1024
"""Entries held in memory at once."""

MOST_PLACES = 65_536
"""Places that one query looks at where few entries match: about 50 ms of work."""

FRESH_SECONDS = 0.9
"""For so long all followers of a process share one look at how far the log has come."""

PLACED = LEAVES.join(ENTRIES, ENTRIES.c.id == LEAVES.c.entry_id)


class SealedLog:
    """The sealed log of an application, for those that read on when the request is long over."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._looking = threading.Lock()
        self._size = 0
        self._looked = float("-inf")

    def find_size(self) -> int:
        """Find how many places the newest signed checkpoint has."""
        with self.app.app_context():
            newest = find_signed_tree(db.session())
            return newest.size if newest else 0

    def find_id(self) -> str:
        """Find the log's id, which is empty before it begins."""
        with self.app.app_context():
            return find_log_id(db.session())

    def find_recent_size(self) -> int:
        """Find the size as it was a moment ago, looked up once for all who ask."""
        with self._looking:
            if time.monotonic() - self._looked >= FRESH_SECONDS:
                self._size = self.find_size()
                self._looked = time.monotonic()
            return self._size

    def find_span(self, selection: Selection, size: int) -> tuple[int, int]:
        """Find the first place, and the end, of what is of the selection's time among the first `size` places.

        Pruned places that may be of that time are among them.
        """
        if not selection.timed:
            return 0, size
        timed = Selection(since=selection.since, until=selection.until)
        # Not joined, for which PostgreSQL may read all places.
        place = select(LEAVES.c.leaf_index).where(LEAVES.c.entry_id == ENTRIES.c.id).limit(1).scalar_subquery()
        query = select(func.min(place), func.max(place)).select_from(ENTRIES)
        with self.app.app_context():
            row = db.session.execute(query.where(*timed.match(db.engine.dialect.name))).one()
            minimum, cutoff = find_minimum(db.session()), find_cutoff(db.session())
        first, end = (minimum, minimum) if row[0] is None else (row[0], row[1] + 1)
        return 0 if selection.since is None or selection.since < cutoff else first, min(end, size)


current_sealed_log: AppLocal[SealedLog] = AppLocal("audit_sealed_log", SealedLog)


@dataclass(frozen=True)
class Piece:
    """Entries of the log, the place up to which everything was looked at, and what was pruned before the first one."""

    rows: list[Row]
    place: int
    gap: Pruned | None = None


class Scan:
    """The selected entries at a range of places, in order; a page is read when it is asked for."""

    def __init__(self, log: SealedLog, selection: Selection, limit: int | None = None) -> None:
        self._app = log.app
        self._limit = limit or PAGE
        with self._app.app_context():
            dialect = db.engine.dialect
        query = (
            select(LEAVES.c.leaf_index, *(ENTRIES.c[name] for name in STORED))
            .select_from(PLACED)
            .where(LEAVES.c.leaf_index >= bindparam("first", 0), LEAVES.c.leaf_index < bindparam("end", 0))
            .where(*selection.match(dialect.name))
            .order_by(LEAVES.c.leaf_index)
            .limit(self._limit)
        )
        self._query = Prepared(query, dialect)
        if dialect.name == "sqlite":
            # Places first, then their entries: by an index for the filter it would sort all matches for each page.
            self._query.text = self._query.text.replace(" JOIN ", " CROSS JOIN ")

    def read(self, first: int, end: int) -> tuple[list[Row], int]:
        """Read the first selected entries, a page at most, of the places from `first` on and before `end`.

        With them comes the log's minimum index, as it was then or later: what is under it may be missing.
        """
        with self._app.app_context():
            session = db.session()
            return self.read_in(session, first, end), find_minimum(session)

    def read_in(self, session: Session, first: int, end: int) -> list[Row]:
        """Read the same entries in a session's transaction."""
        # Through the driver: rows of SQLAlchemy cost as much again as reading them.
        with closing(session.connection().connection.cursor()) as cursor:
            cursor.execute(self._query.text, self._query.bind({"first": first, "end": end}))
            return list(cursor.fetchall())

    def find_next(self, rows: list[Row], end: int) -> int:
        """Return the place at which to go on behind these rows, which read() found before `end`."""
        # A full page ends with its last entry, since there may be more behind it.
        return int(rows[-1][0]) + 1 if len(rows) == self._limit else end

    def read_pages(self, first: int, end: int) -> Iterator[Piece]:
        """Read page by page; some are without entries."""
        reach = self._limit
        while first < end:
            until = min(first + reach, end)
            rows, minimum = self.read(first, until)
            following = self.find_next(rows, until)
            reach = min(2 * reach, MOST_PLACES) if len(rows) < self._limit // 2 else self._limit
            gap = Pruned(first, min(minimum, end) - 1) if minimum > first else None
            if gap:
                rows = [row for row in rows if row[0] > gap.last]
                following = max(following, gap.last + 1)
            first = following
            yield Piece(rows, first, gap)
