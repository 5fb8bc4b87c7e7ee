"""A page of the trail, and the cursor that leads to the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from yoq_audit.query import snapshot
from yoq_audit.query.cursor import Cursor, decode_cursor
from yoq_audit.query.filters import Selection
from yoq_audit.query.search import ID, Finder
from yoq_audit.storage.documents import make_documents
from yoq_web import Problem

Order = Literal["asc", "desc"]


@dataclass(frozen=True)
class Page:
    """Entries as they were asked for, and the cursor of the next page if there are more.

    `pruned` is not 0 where entries that are meant may have stood under it, the log's minimum index: before the first
    of them, or on this page since the one before was read.
    """

    entries: list[Any]
    cursor: str | None
    pruned: int = 0


def read_page(
    session: Session,
    selection: Selection,
    *,
    limit: int,
    order: Order = "desc",
    cursor: str | None = None,
    make: Callable[[Sequence[Sequence[Any]]], list[Any]] = make_documents,
    may_cut: bool = False,
) -> Page:
    """Read the entries behind a cursor, or the first ones: at most `limit`.

    `make` makes of rows with the columns SHOWN what the page has of them; of fewer than it was given if it `may_cut`.
    All pages of a walk show the entries that were committed when its first page was read. Raises a Problem for a cursor
    that is none, or belongs to another walk.
    """
    at = decode_cursor(cursor, selection, order) if cursor is not None else None
    if at is not None:
        selection = selection.replace_times(at.since, at.until)
    snapshot.begin_reading(session)
    try:
        finder = Finder(session, selection, order == "desc")
        if at is not None:
            finder.snapshot, finder.position = at.snapshot, at.position
        rows = finder.find(limit + 1) if limit else []
        may_go_on = len(rows) > limit or may_cut
        # Where the first entry that was ever stored is shown, and the last, no more need be known of the log.
        whole = at is None and not may_go_on and bool(rows) and rows[-1 if order == "desc" else 0][ID] == 1
        log = snapshot.LogState() if whole else snapshot.read_log_state(session)
        walk = at.snapshot if at is not None else snapshot.take_snapshot(session, log.highest) if may_go_on else None
    finally:
        session.rollback()
    behind = log.minimum > 0 and (selection.since is None or selection.since < log.cutoff)
    if at is not None and at.log and at.log != log.log_id:
        raise Problem(400, "invalid cursor", "it is of another log, which ended; this one is walked from its beginning")
    shown = make(rows[:limit])
    last = not shown or len(shown) == len(rows) or walk is None
    oldest = (at is None) if order == "asc" else last
    pruned = log.minimum if (behind and oldest) or (at is not None and at.log and at.minimum < log.minimum) else 0
    if last or walk is None:
        return Page(shown, None, pruned)
    position = finder.find_position(rows[len(shown) - 1])
    following = Cursor(position, walk, selection.since, selection.until, log.log_id, log.minimum)
    return Page(shown, following.encode(selection, order), pruned)
