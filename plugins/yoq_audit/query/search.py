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

from yoq_audit.query.conditions import Filter
from yoq_audit.query.filters import Selection
from yoq_audit.query.snapshot import Snapshot
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


def match_visible(snapshot: Snapshot | None) -> list[ColumnElement[bool]]:
    """Make the conditions to be shown: to be in the set, and not to say that something began that has ended there."""
    ended = ENTRIES.alias("ended")
    among = [snapshot.match(ended)] if snapshot else []
    settled: ColumnElement[bool] = literal_column(
        "ended.outcome <> 'started'"
    )  # as the index of event ids needs it to be said
    # Not EXISTS, for which PostgreSQL may read the whole trail into a hash table beforehand.
    end = select(ended.c.id).where(ended.c.event_id == ENTRIES.c.event_id, settled, *among).limit(1).scalar_subquery()
    return [*([snapshot.match()] if snapshot else []), or_(ENTRIES.c.outcome != "started", end.is_(None))]


@dataclass
class Finder:
    """Finds the entries of a selection. If this names a time the order is that of time, else that of ids.

    `snapshot` is the set of entries to find among, None for all that the transaction sees; `position` that of the last
    entry that is not wanted any more.
    """

    session: Session
    selection: Selection
    descending: bool = True
    snapshot: Snapshot | None = None
    position: Position | None = None
    tried: list[str] = field(default_factory=list)
    """What was tried, in order; the last one found the entries."""

    def __post_init__(self) -> None:
        self.dialect = self.session.get_bind().dialect.name
        self.on_sqlite = self.dialect == "sqlite"
        self.timed = self.selection.timed
        self.given = self.selection.given
        self.indexed = sorted(
            (one for one, values in self.given.items() if one.has_index(values)), key=lambda one: one.rank
        )

    def find(self, count: int) -> Sequence[Row[Any]]:
        """Find the next entries, at most so many, with the columns SHOWN."""
        if not self.indexed:
            return self._run("walk", self.select_walk(count))
        first = self.indexed[0]
        if len(self.given) == 1 and not self.timed and first.keeps_order(self.given[first], self.dialect):
            return self._merge(first, count)
        length = FIRST_WALK
        while True:
            end = self._find_end(length) if length < ALL else None
            found = self._run("walk", self.select_walk(count, end))
            if end is None or len(found) == count:
                return found
            looked_up = length * LOOKED_UP
            for filter_ in self.indexed if looked_up <= MOST_LOOKED_UP else ():
                positions = self._look_up(filter_, looked_up)
                if positions is not None:
                    return self._fetch(positions, count)
            length = looked_up if looked_up <= MOST_LOOKED_UP else ALL

    def find_position(self, row: Row[Any]) -> Position:
        """Return the position of an entry."""
        return (row[TIME], row[ID]) if self.timed else (row[ID],)

    def select_walk(self, count: int, end: Position | None = None) -> Select[Any]:
        """Select entries in the order of the walk, up to `end`, with every filter looked at on the way."""
        found = self._match_each()
        if end is not None:
            key = tuple_(*self._list_key()) if self.timed else ENTRIES.c.id
            last = tuple_(*end) if self.timed else literal(end[0])
            found.append(key >= last if self.descending else key <= last)
        return self._select(*self._match_range(), *found).order_by(*self._order(*self._list_key())).limit(count)

    def select_in_index(self, filter_: Filter, value: str, count: int) -> Select[Any]:
        """Select the entries with a value, in the order of its index, which is that of ids."""
        if self.on_sqlite:
            given = [filter_.match((value,), self.dialect), *self._match_range()]
            return self._select(*given).order_by(*self._order(ENTRIES.c.id)).limit(count)
        # Told in this way, PostgreSQL cannot walk the whole trail instead, as it would where it takes a value for
        # frequent, even if all entries with it are a year old.
        column = ENTRIES.c[filter_.column]
        text = literal(value, Text)
        ends = [literal(-1, BigInteger), literal(2**63 - 1, BigInteger)]
        if self.position is not None:
            ends[self.descending] = literal(self.position[0], BigInteger)
        key = tuple_(column, ENTRIES.c.id)
        given = [key > tuple_(text, ends[0]), key < tuple_(text, ends[1])]
        # The condition of a partial index, which PostgreSQL does not find in a comparison of pairs.
        if (indexed := filter_.match_indexed()) is not None:
            given.append(indexed)
        return self._select(*given).order_by(*self._order(column, ENTRIES.c.id)).limit(count)

    def select_positions(self, filter_: Filter, values: tuple[str, ...], count: int) -> Select[Any]:
        """Select the positions of so many of the entries that a filter's values select, in any order."""
        columns = [self._hide(column.key) for column in self._list_key()]
        return select(*columns).where(filter_.match(values, self.dialect), *self._match_range(hidden=True)).limit(count)

    def _run(self, how: str, query: Select[Any]) -> Sequence[Row[Any]]:
        self.tried.append(how)
        return self.session.execute(query).all()

    def _find_end(self, length: int) -> Position | None:
        """Find the last position of a walk of so many entries; None if there are not so many."""
        query = select(*self._list_key()).where(*self._match_range()).order_by(*self._order(*self._list_key()))
        found = self.session.execute(query.limit(1).offset(length - 1)).first()
        return None if found is None else tuple(found)

    def _merge(self, filter_: Filter, count: int) -> Sequence[Row[Any]]:
        """Merge the next entries of each value."""
        streams = [
            self._run(f"index {filter_.name}", self.select_in_index(filter_, value, count))
            for value in self.given[filter_]
        ]
        return list(islice(heapq.merge(*streams, key=self.find_position, reverse=self.descending), count))

    def _look_up(self, filter_: Filter, most: int) -> list[Position] | None:
        """Look up where all entries with a filter's values are, in order; None if there are more than `most`."""
        found: set[Position] = set()
        for values in filter_.split(self.given[filter_]):
            rows = self._run(f"look up {filter_.name}", self.select_positions(filter_, values, most + 1 - len(found)))
            found.update(tuple(position) for position in rows)
            if len(found) > most:
                return None
        return sorted(found, reverse=self.descending)

    def _fetch(self, positions: Sequence[Position], count: int) -> Sequence[Row[Any]]:
        """Fetch the entries at these positions that the other filters let through."""
        found: list[Row[Any]] = []
        given = self._match_each()
        at, size = 0, count
        while len(found) < count and at < len(positions):
            ids = [position[-1] for position in positions[at : at + size]]
            rows = self.session.execute(self._select(ENTRIES.c.id.in_(ids), *given)).all()
            found += sorted(rows, key=self.find_position, reverse=self.descending)
            at, size = at + size, AT_ONCE
        return found[:count]

    def _match_each(self) -> list[ColumnElement[bool]]:
        """Make what every filter demands, looked at entry by entry."""
        return [
            filter_.match(values, self.dialect, self._hide(filter_.column)) for filter_, values in self.given.items()
        ]

    def _select(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        return select(*(ENTRIES.c[name] for name in SHOWN)).where(*conditions, *match_visible(self.snapshot))

    def _hide(self, name: str | None) -> ColumnElement[Any]:
        """Return a column in a form for which SQLite uses no index."""
        column = ENTRIES.c[str(name)]
        return UnaryExpression(column, operator=custom_op("+"), type_=column.type) if self.on_sqlite else column

    def _list_key(self) -> list[ColumnElement[Any]]:
        return [ENTRIES.c.time, ENTRIES.c.id] if self.timed else [ENTRIES.c.id]

    def _order(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [column.desc() if self.descending else column.asc() for column in columns]

    def _match_range(self, *, hidden: bool = False) -> list[ColumnElement[bool]]:
        """Make the condition to be beyond the position and within the times asked for."""
        columns = self._list_key()
        if hidden:
            columns = [self._hide(column.key) for column in columns]
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
