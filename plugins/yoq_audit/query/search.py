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

from sqlalchemy import Row
from sqlalchemy.orm import Session

from yoq_audit.query.conditions import Filter
from yoq_audit.query.filters import Selection
from yoq_audit.query.snapshot import Snapshot
from yoq_audit.query.statements import Shape, prepare, prepare_in_index, prepare_look_up
from yoq_audit.storage.log import SHOWN
from yoq_audit.storage.models import ENTRIES
from yoq_audit.storage.prepared import Prepared

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
        self.dialect = self.session.get_bind().dialect
        self.timed = self.selection.timed
        self.given = self.selection.given
        self.indexed = sorted(
            (one for one, values in self.given.items() if one.has_index(values)), key=lambda one: one.rank
        )

    def find(self, count: int) -> Sequence[Row[Any]]:
        """Find the next entries, at most so many, with the columns SHOWN."""
        shape = self._find_shape()
        if not self.indexed:
            return self._run("walk", prepare(self.dialect, shape, "walk"), count=count)
        first = self.indexed[0]
        if len(self.given) == 1 and not self.timed and first.keeps_order(self.given[first], self.dialect.name):
            return self._merge(shape, first, count)
        length = FIRST_WALK
        while True:
            end = self._find_end(shape, length) if length < ALL else None
            if end is None:
                return self._run("walk", prepare(self.dialect, shape, "walk"), count=count)
            walk = prepare(self.dialect, shape, "walk to an end")
            found = self._run("walk", walk, count=count, **self._name("end", end))
            if len(found) == count:
                return found
            looked_up = length * LOOKED_UP
            for filter_ in self.indexed if looked_up <= MOST_LOOKED_UP else ():
                positions = self._look_up(shape, filter_, looked_up)
                if positions is not None:
                    return self._fetch(shape, positions, count)
            length = looked_up if looked_up <= MOST_LOOKED_UP else ALL

    def find_position(self, row: Row[Any]) -> Position:
        """Return the position of an entry."""
        return (row[TIME], row[ID]) if self.timed else (row[ID],)

    def _find_shape(self) -> Shape:
        return Shape(
            self.dialect.name,
            tuple(self.given.items()),
            self.descending,
            self.selection.since is not None,
            self.selection.until is not None,
            self.position is not None,
            None if self.snapshot is None else self.snapshot.shape,
        )

    def _list_values(self) -> dict[str, int]:
        """List the values of the bounds that there are, by their names in the statements."""
        times = {"since": self.selection.since, "until": self.selection.until}
        found = {name: value for name, value in times.items() if value is not None}
        if self.position is not None:
            found |= self._name("at", self.position)
        return found if self.snapshot is None else found | self.snapshot.values

    def _name(self, name: str, position: Position) -> dict[str, int]:
        parts = ("time", "id") if self.timed else ("id",)
        return {f"{name}_{part}": value for part, value in zip(parts, position, strict=True)}

    def _run(self, how: str, query: Prepared, **values: int) -> Sequence[Row[Any]]:
        self.tried.append(how)
        return query.fetch_all(self.session, self._list_values() | values)

    def _find_end(self, shape: Shape, length: int) -> Position | None:
        """Find the last position of a walk of so many entries; None if there are not so many."""
        query = prepare(self.dialect, shape, "end")
        found = query.fetch_all(self.session, self._list_values() | {"skip": length - 1})
        return tuple(found[0]) if found else None

    def _merge(self, shape: Shape, filter_: Filter, count: int) -> Sequence[Row[Any]]:
        """Merge the next entries of each value."""
        streams = [
            self._run(f"index {filter_.name}", prepare_in_index(self.dialect, shape, filter_, value), count=count)
            for value in self.given[filter_]
        ]
        if len(streams) == 1:
            return streams[0]
        return list(islice(heapq.merge(*streams, key=self.find_position, reverse=self.descending), count))

    def _look_up(self, shape: Shape, filter_: Filter, most: int) -> list[Position] | None:
        """Look up where all entries with a filter's values are, in order; None if there are more than `most`."""
        found: set[Position] = set()
        for values in filter_.split(self.given[filter_]):
            query = prepare_look_up(self.dialect, shape, filter_, values)
            rows = self._run(f"look up {filter_.name}", query, count=most + 1 - len(found))
            found.update(tuple(position) for position in rows)
            if len(found) > most:
                return None
        return sorted(found, reverse=self.descending)

    def _fetch(self, shape: Shape, positions: Sequence[Position], count: int) -> Sequence[Row[Any]]:
        """Fetch the entries at these positions that the other filters let through."""
        found: list[Row[Any]] = []
        given, values = shape.match_each(), self._list_values()
        at, size = 0, count
        while len(found) < count and at < len(positions):
            ids = [position[-1] for position in positions[at : at + size]]
            rows = self.session.execute(shape.select(ENTRIES.c.id.in_(ids), *given), values).all()
            found += sorted(rows, key=self.find_position, reverse=self.descending)
            at, size = at + size, AT_ONCE
        return found[:count]
