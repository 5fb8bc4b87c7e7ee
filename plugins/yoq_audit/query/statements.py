"""The statements of a walk through the trail. Each is built once for its shape: for each set of filters and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from yoq_audit.query import snapshot
from yoq_audit.query.conditions import Filter
from yoq_audit.storage.log import SHOWN
from yoq_audit.storage.models import ENTRIES
from yoq_audit.storage.prepared import Prepared

MOST_PREPARED = 256
"""So many statements are kept; what is used least is built anew. They depend on nothing but their shape."""

_ENDED = ENTRIES.alias("ended")
_SETTLED: ColumnElement[bool] = literal_column("ended.outcome <> 'started'")
"""As the index of event ids needs it to be said."""


def match_visible(shape: int | None) -> list[ColumnElement[bool]]:
    """Make the conditions to be shown: to be in the set, and not to say that something began that has ended there.

    `shape` is that of the snapshot, None for all that the transaction sees.
    """
    # Not EXISTS, for which PostgreSQL may read the whole trail into a hash table beforehand.
    end = select(_ENDED.c.id).where(_ENDED.c.event_id == ENTRIES.c.event_id, _SETTLED).limit(1)
    if shape is None:
        return [or_(ENTRIES.c.outcome != "started", end.scalar_subquery().is_(None))]
    among = end.where(snapshot.match(shape, _ENDED)).scalar_subquery()
    return [snapshot.match(shape), or_(ENTRIES.c.outcome != "started", among.is_(None))]


@dataclass(frozen=True)
class Shape:
    """What the statements of a walk are built of: which filters with which values, and which bounds there are.

    The bounds' values are given when a statement is run: `since` and `until`, `at_time` and `at_id` of the position,
    those of the snapshot, `count`, and for a walk that ends somewhere `end_time` and `end_id`.
    """

    dialect: str
    given: tuple[tuple[Filter, tuple[str, ...]], ...]
    descending: bool
    since: bool
    until: bool
    positioned: bool
    snapshot: int | None

    @property
    def on_sqlite(self) -> bool:
        """Whether it is SQLite that is asked."""
        return self.dialect == "sqlite"

    @property
    def timed(self) -> bool:
        """Whether the order is that of time, else it is that of ids."""
        return self.since or self.until

    def select_walk(self, *, ends: bool = False) -> Select[Any]:
        """Select entries in the order of the walk, as far as it goes, with every filter looked at on the way."""
        found = self.match_each()
        if ends:
            key, last = self._make_key(), self._make_bound("end")
            found.append(key >= last if self.descending else key <= last)
        return self.select(*self.match_range(), *found).order_by(*self._order(*self.list_key())).limit(_bind("count"))

    def select_in_index(self, filter_: Filter, value: str) -> Select[Any]:
        """Select the entries with a value, in the order of its index, which is that of ids."""
        if self.on_sqlite:
            given = [filter_.match((value,), self.dialect), *self.match_range()]
            return self.select(*given).order_by(*self._order(ENTRIES.c.id)).limit(_bind("count"))
        # Told in this way, PostgreSQL cannot walk the whole trail instead, as it would where it takes a value for
        # frequent, even if all entries with it are a year old.
        column = ENTRIES.c[filter_.column]
        text = literal(value, Text)
        ends = [literal(-1, BigInteger), literal(2**63 - 1, BigInteger)]
        if self.positioned:
            ends[self.descending] = _bind("at_id")
        key = tuple_(column, ENTRIES.c.id)
        given = [key > tuple_(text, ends[0]), key < tuple_(text, ends[1])]
        # The condition of a partial index, which PostgreSQL does not find in a comparison of pairs.
        if (indexed := filter_.match_indexed()) is not None:
            given.append(indexed)
        return self.select(*given).order_by(*self._order(column, ENTRIES.c.id)).limit(_bind("count"))

    def select_end(self) -> Select[Any]:
        """Select the position that is `skip` entries away."""
        walk = select(*self.list_key()).where(*self.match_range()).order_by(*self._order(*self.list_key()))
        return walk.limit(1).offset(_bind("skip"))

    def select_positions(self, filter_: Filter, values: tuple[str, ...]) -> Select[Any]:
        """Select the positions of so many of the entries that a filter's values select, in any order."""
        columns = [self._hide(column.key) for column in self.list_key()]
        found = select(*columns).where(filter_.match(values, self.dialect), *self.match_range(hidden=True))
        return found.limit(_bind("count"))

    def match_each(self) -> list[ColumnElement[bool]]:
        """Make what every filter demands, looked at entry by entry."""
        return [filter_.match(values, self.dialect, self._hide(filter_.column)) for filter_, values in self.given]

    def select(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        """Select what is shown and fulfils the conditions, with the columns SHOWN."""
        return select(*(ENTRIES.c[name] for name in SHOWN)).where(*conditions, *match_visible(self.snapshot))

    def list_key(self) -> list[ColumnElement[Any]]:
        """List the columns by which the walk is ordered."""
        return [ENTRIES.c.time, ENTRIES.c.id] if self.timed else [ENTRIES.c.id]

    def match_range(self, *, hidden: bool = False) -> list[ColumnElement[bool]]:
        """Make the condition to be beyond the position and within the times asked for."""
        columns = self.list_key()
        if hidden:
            columns = [self._hide(column.key) for column in columns]
        found: list[ColumnElement[bool]] = []
        # SQLite takes one bound for each end of an index: the position, which is the closer one.
        if self.since and (self.descending or not self.positioned):
            found.append(columns[0] >= _bind("since"))
        if self.until and (not self.descending or not self.positioned):
            found.append(columns[0] < _bind("until"))
        if self.positioned:
            key, last = self._make_key(columns), self._make_bound("at")
            found.append(key < last if self.descending else key > last)
        return [and_(*found)] if found else []

    def _make_key(self, columns: list[ColumnElement[Any]] | None = None) -> ColumnElement[Any]:
        columns = columns or self.list_key()
        return tuple_(*columns) if self.timed else columns[0]

    def _make_bound(self, name: str) -> ColumnElement[Any]:
        number = _bind(f"{name}_id")
        return tuple_(_bind(f"{name}_time"), number) if self.timed else number

    def _hide(self, name: str | None) -> ColumnElement[Any]:
        """Return a column in a form for which SQLite uses no index."""
        column = ENTRIES.c[str(name)]
        return UnaryExpression(column, operator=custom_op("+"), type_=column.type) if self.on_sqlite else column

    def _order(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [column.desc() if self.descending else column.asc() for column in columns]


@lru_cache(MOST_PREPARED)
def prepare(dialect: Dialect, shape: Shape, kind: Literal["walk", "walk to an end", "end"]) -> Prepared:
    """Prepare a statement of a shape."""
    statement = shape.select_end() if kind == "end" else shape.select_walk(ends=kind == "walk to an end")
    return Prepared(statement, dialect)


@lru_cache(MOST_PREPARED)
def prepare_in_index(dialect: Dialect, shape: Shape, filter_: Filter, value: str) -> Prepared:
    """Prepare the statement that selects the entries with a value."""
    return Prepared(shape.select_in_index(filter_, value), dialect)


@lru_cache(MOST_PREPARED)
def prepare_look_up(dialect: Dialect, shape: Shape, filter_: Filter, values: tuple[str, ...]) -> Prepared:
    """Prepare the statement that selects the positions of a filter's values."""
    return Prepared(shape.select_positions(filter_, values), dialect)


def _bind(name: str) -> BindParameter[int]:
    # It has a value, which is never used: a statement with a list of values cannot be compiled otherwise.
    return bindparam(name, 0, type_=Integer() if name in ("count", "skip") else BigInteger())
