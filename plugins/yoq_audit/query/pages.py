"""A page of the trail, and the cursor that leads to the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row
from sqlalchemy.orm import Session

from yoq_audit.query import snapshot
from yoq_audit.query.cursor import Cursor, decode
from yoq_audit.query.filters import Filters
from yoq_audit.query.search import Finder

Order = Literal["asc", "desc"]


@dataclass(frozen=True)
class Page:
    """Entries with the columns SHOWN, and the cursor of the next page if there are more."""

    rows: Sequence[Row[Any]]
    cursor: str | None


def read(
    session: Session,
    filters: Filters,
    *,
    limit: int,
    order: Order = "desc",
    cursor: str | None = None,
    fitting: Callable[[Sequence[Row[Any]]], int] = len,
) -> Page:
    """The entries behind a cursor, or the first ones: at most `limit`, and no more of them than `fitting` says.

    All pages of a walk show the entries that were committed when its first page was read. Raises a Problem for a cursor
    that is none, or belongs to another walk.
    """
    at = decode(cursor, filters, order) if cursor is not None else None
    if at is not None:
        filters = filters.at(at.since, at.until)
    snapshot.begin(session)
    try:
        finder = Finder(session, filters, order == "desc")
        if at is not None:
            finder.frozen, finder.position = at.frozen, at.position
        rows = finder.find(limit + 1) if limit else []
        shown = rows[:limit]
        shown = shown[: fitting(shown)]
        if not shown or len(shown) == len(rows):
            return Page(shown, None)
        walk = at.frozen if at is not None else snapshot.freeze(session)
        following = Cursor(finder.key(shown[-1]), walk, filters.since, filters.until)
        return Page(shown, following.encode(filters, order))
    finally:
        session.rollback()
