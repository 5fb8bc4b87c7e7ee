"""Pages: a list read in parts, each behind the key of the last item before it, in the list's own order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Row, Select, SQLColumnExpression, literal, tuple_
from sqlalchemy.orm import Session

from yoq_web.names import is_storable
from yoq_web.problems import Problem

T = TypeVar("T")
U = TypeVar("U")

MOST = 10_000
"""No page has more items than these."""

BEYOND = 2**63
"""Numbers that are not below cannot be compared with a column's."""

Key = tuple[int | str, ...]
"""Where an item has its place in its list: the values by which the list is ordered, which no other item has."""


@dataclass(frozen=True)
class Slice:
    """Which part of a list is meant: at most `limit` items behind the one with the key `after`. By default all."""

    after: Key | None = None
    limit: int | None = None


WHOLE = Slice()


class Page(list[T]):
    """A part of a list. `following` is the key of its last item if the list goes on behind it, else None."""

    def __init__(self, items: Iterable[T] = (), following: Key | None = None) -> None:
        super().__init__(items)
        self.following = following

    def convert(self, make: Callable[[T], U]) -> Page[U]:
        """Return the page with what `make` makes of each item."""
        return Page(map(make, self), self.following)


def cut_page(items: Sequence[T], part: Slice, get_key: Callable[[T], Key]) -> Page[T]:
    """Make a page of the items behind a slice's key, of which there may be more than its limit."""
    if part.limit is None or len(items) <= part.limit:
        return Page(items)
    return Page(items[: part.limit], get_key(items[part.limit - 1]))


def read_page(
    session: Session,
    chosen: Select[*tuple[Any, ...]],
    order: Sequence[SQLColumnExpression[Any]],
    part: Slice = WHOLE,
    *,
    descending: bool = False,
) -> Page[Any]:
    """Read a part of what a statement selects, ordered by columns that together no two rows share.

    Each row has the columns of the order behind those that were selected. Raises a Problem (400) for a key that cannot
    be of this list.
    """
    columns: Sequence[Any] = order
    if part.after is not None:
        check_key(part.after, [column.type.python_type for column in columns])
        place = tuple_(*columns)
        last = tuple_(*(literal(value, column.type) for value, column in zip(part.after, columns, strict=True)))
        chosen = chosen.where(place < last if descending else place > last)
    paged: Any = chosen.add_columns(*columns).order_by(*(column.desc() if descending else column for column in columns))
    if part.limit is not None:
        paged = paged.limit(part.limit + 1)
    rows: Sequence[Row[Any]] = session.execute(paged).all()
    return cut_page(rows, part, lambda row: tuple(row[-len(columns) :]))


def check_key(key: Key, kinds: Sequence[type]) -> None:
    """Raise a Problem (400) unless a key has values of these types that a column can be compared with."""
    sound = len(key) == len(kinds) and all(
        type(value) is kind and (is_storable(value) if isinstance(value, str) else abs(value) < BEYOND)
        for value, kind in zip(key, kinds, strict=True)
    )
    if not sound:
        raise Problem(400, "invalid cursor", "it belongs to another list")


def walk_pages(read: Callable[[Slice], Page[T]]) -> Iterator[T]:
    """Go through all of a list, however long, a page at a time; `read` reads one."""
    part = Slice(limit=MOST)
    while True:
        page = read(part)
        yield from page
        if page.following is None:
            return
        part = Slice(page.following, MOST)


def by_bytes(column: SQLColumnExpression[str], session: Session) -> SQLColumnExpression[str]:
    """Return a column of texts that is ordered by their bytes on both databases, whatever the collation."""
    return column.collate("C") if session.get_bind().dialect.name == "postgresql" else column
