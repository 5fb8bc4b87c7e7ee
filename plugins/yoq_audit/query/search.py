"""Finding the entries that come next in a walk, whatever the filters, without sorting the whole trail.

There are two ways to the entries that a filter selects. Where they are frequent, walk the trail in its order and pass
over the others. Where they are rare, look them up in the filter's index. Which is the case is found out by trying: a
short walk, then a look at so many index entries, then a longer walk, and so on. That costs a constant factor more than
the better way would.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Select, Text, and_, literal, literal_column, or_, select, tuple_
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from yoq_audit.query.filters import Filter, Selection
from yoq_audit.query.snapshot import Frozen
from yoq_audit.storage.log import SHOWN
from yoq_audit.storage.models import ENTRIES

Position = tuple[int, ...]

FIRST_WALK = 1_000
LOOKED_UP = 10
"""Finding an entry in an index and sorting it costs about a tenth of reading one on a walk."""
MOST_LOOKED_UP = 1_000_000
"""So many ids are sorted in memory at most."""
AT_ONCE = 200
"""Entries fetched by their ids in one statement."""
ALL = 2**62

ID = SHOWN.index("id")
TIME = SHOWN.index("time")


def showable(frozen: Frozen | None) -> list[ColumnElement[bool]]:
    """That an entry is shown at all: it is in the set, and what it says to have begun has not ended there."""
    ended = ENTRIES.alias("ended")
    among = [frozen.holds(ended)] if frozen else []
    settled: ColumnElement[bool] = literal_column(
        "ended.outcome <> 'started'"
    )  # as the index of event ids needs it to be said
    # Not EXISTS, for which PostgreSQL may read the whole trail into a hash table beforehand.
    end = select(ended.c.id).where(ended.c.event_id == ENTRIES.c.event_id, settled, *among).limit(1).scalar_subquery()
    return [*([frozen.holds()] if frozen else []), or_(ENTRIES.c.outcome != "started", end.is_(None))]


@dataclass
class Finder:
    """Finds the entries of a selection. If this names a time the order is that of time, else that of ids.

    `frozen` is the set of entries to find among, None for all that the transaction sees; `position` that of the last
    entry that is not wanted any more.
    """

    session: Session
    selection: Selection
    descending: bool = True
    frozen: Frozen | None = None
    position: Position | None = None
    tried: list[str] = field(default_factory=list)
    """What was tried, in order; the last one found the entries."""

    def __post_init__(self) -> None:
        self.dialect = self.session.get_bind().dialect.name
        self.on_sqlite = self.dialect == "sqlite"
        self.timed = self.selection.timed
        self.given = self.selection.given
        self.indexed = sorted((row for row in self.given if row.has_index(self.given[row])), key=lambda row: row.rank)

    def find(self, count: int) -> Sequence[Row[Any]]:
        """The next entries, at most so many, with the columns SHOWN."""
        if not self.indexed:
            return self._found("walk", self.walk(count))
        first = self.indexed[0]
        if len(self.given) == 1 and not self.timed and first.keeps_order(self.given[first], self.dialect):
            return self._merged(first, count)
        length = FIRST_WALK
        while True:
            end = self._end_of_walk(length) if length < ALL else None
            found = self._found("walk", self.walk(count, end))
            if end is None or len(found) == count:
                return found
            looked_up = length * LOOKED_UP
            for row in self.indexed if looked_up <= MOST_LOOKED_UP else ():
                positions = self._looked_up(row, looked_up)
                if positions is not None:
                    return self._fetched(positions, count)
            length = looked_up if looked_up <= MOST_LOOKED_UP else ALL

    def key(self, row: Row[Any]) -> Position:
        """The position of an entry."""
        return (row[TIME], row[ID]) if self.timed else (row[ID],)

    def walk(self, count: int, end: Position | None = None) -> Select[Any]:
        """The entries in the order of the walk, up to `end`, with every filter looked at on the way."""
        found = self._filtered()
        if end is not None:
            key = tuple_(*self._key()) if self.timed else ENTRIES.c.id
            last = tuple_(*end) if self.timed else literal(end[0])
            found.append(key >= last if self.descending else key <= last)
        return self._shown(*self._range(), *found).order_by(*self._ordered(*self._key())).limit(count)

    def in_index(self, row: Filter, value: str, count: int) -> Select[Any]:
        """The entries with a value, in the order of its index, which is that of ids."""
        if self.on_sqlite:
            given = [row.match((value,), self.dialect), *self._range()]
            return self._shown(*given).order_by(*self._ordered(ENTRIES.c.id)).limit(count)
        # Told in this way, PostgreSQL cannot walk the whole trail instead, as it would where it takes a value for
        # frequent, even if all entries with it are a year old.
        column = ENTRIES.c[row.column]
        text = literal(value, Text)
        ends = [literal(-1, BigInteger), literal(2**63 - 1, BigInteger)]
        if self.position is not None:
            ends[self.descending] = literal(self.position[0], BigInteger)
        key = tuple_(column, ENTRIES.c.id)
        given = [key > tuple_(text, ends[0]), key < tuple_(text, ends[1])]
        # The condition of a partial index, which PostgreSQL does not find in a comparison of pairs.
        if (indexed := row.match_indexed()) is not None:
            given.append(indexed)
        return self._shown(*given).order_by(*self._ordered(column, ENTRIES.c.id)).limit(count)

    def look_up(self, row: Filter, value: str, count: int) -> Select[Any]:
        """The positions of so many of the entries with a value, in any order."""
        columns = [self._hidden(column.key) for column in self._key()]
        return select(*columns).where(row.match((value,), self.dialect), *self._range(hidden=True)).limit(count)

    def _found(self, how: str, query: Select[Any]) -> Sequence[Row[Any]]:
        self.tried.append(how)
        return self.session.execute(query).all()

    def _end_of_walk(self, length: int) -> Position | None:
        """The last position of a walk of so many entries; None if there are not so many."""
        query = select(*self._key()).where(*self._range()).order_by(*self._ordered(*self._key()))
        found = self.session.execute(query.limit(1).offset(length - 1)).first()
        return None if found is None else tuple(found)

    def _merged(self, row: Filter, count: int) -> Sequence[Row[Any]]:
        """The next entries of each value, merged."""
        streams = [self._found(f"index {row.name}", self.in_index(row, value, count)) for value in self.given[row]]
        return list(islice(heapq.merge(*streams, key=self.key, reverse=self.descending), count))

    def _looked_up(self, row: Filter, most: int) -> list[Position] | None:
        """The positions of all entries with the values of one filter, in order; None if there are more than `most`."""
        found: set[Position] = set()
        for value in self.given[row]:
            rows = self._found(f"look up {row.name}", self.look_up(row, value, most + 1 - len(found)))
            found.update(tuple(position) for position in rows)
            if len(found) > most:
                return None
        return sorted(found, reverse=self.descending)

    def _fetched(self, positions: Sequence[Position], count: int) -> Sequence[Row[Any]]:
        """The entries at these positions that the other filters let through."""
        found: list[Row[Any]] = []
        given = self._filtered()
        at, size = 0, count
        while len(found) < count and at < len(positions):
            ids = [position[-1] for position in positions[at : at + size]]
            rows = self.session.execute(self._shown(ENTRIES.c.id.in_(ids), *given)).all()
            found += sorted(rows, key=self.key, reverse=self.descending)
            at, size = at + size, AT_ONCE
        return found[:count]

    def _filtered(self) -> list[ColumnElement[bool]]:
        """What every filter demands, looked at entry by entry."""
        return [row.match(values, self.dialect, self._hidden(row.column)) for row, values in self.given.items()]

    def _shown(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        return select(*(ENTRIES.c[name] for name in SHOWN)).where(*conditions, *showable(self.frozen))

    def _hidden(self, name: str | None) -> ColumnElement[Any]:
        """A column, so that SQLite uses no index for it."""
        column = ENTRIES.c[str(name)]
        return UnaryExpression(column, operator=custom_op("+"), type_=column.type) if self.on_sqlite else column

    def _key(self) -> list[ColumnElement[Any]]:
        return [ENTRIES.c.time, ENTRIES.c.id] if self.timed else [ENTRIES.c.id]

    def _ordered(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [column.desc() if self.descending else column.asc() for column in columns]

    def _range(self, *, hidden: bool = False) -> list[ColumnElement[bool]]:
        """What is beyond the position and within the times asked for."""
        columns: list[ColumnElement[Any]] = [self._hidden(one.key) for one in self._key()] if hidden else self._key()
        found: list[ColumnElement[bool]] = []
        # SQLite takes one bound for each end of an index: the position, which is the closer one.
        if self.selection.since is not None and (self.descending or self.position is None):
            found.append(columns[0] >= self.selection.since)
        if self.selection.until is not None and (not self.descending or self.position is None):
            found.append(columns[0] < self.selection.until)
        if self.position is not None:
            key = tuple_(*columns) if self.timed else columns[0]
            last = tuple_(*self.position) if self.timed else literal(self.position[0])
            found.append(key < last if self.descending else key > last)
        return [and_(*found)] if found else []
