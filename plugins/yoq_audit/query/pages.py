"""A page of the trail, and the cursor that leads to the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from yoq_audit.query import snapshot
from yoq_audit.query.cursor import Cursor, decode_cursor
from yoq_audit.query.filters import Selection
from yoq_audit.query.search import ID, Finder
from yoq_audit.storage.documents import fit, make_documents
from yoq_audit.storage.tombstones import find_cutoff, find_minimum
from yoq_audit.storage.tree import find_log_id
from yoq_web import Problem

Order = Literal["asc", "desc"]


@dataclass(frozen=True)
class Page:
    """Entries as documents, and the cursor of the next page if there are more.

    `pruned` is not 0 where entries that are meant may have stood under it, the log's minimum index: before the first
    of them, or on this page since the one before was read.
    """

    entries: list[dict[str, Any]]
    cursor: str | None
    pruned: int = 0


def read_page(
    session: Session,
    selection: Selection,
    *,
    limit: int,
    order: Order = "desc",
    cursor: str | None = None,
    room: int | None = None,
) -> Page:
    """Read the entries behind a cursor, or the first ones: at most `limit`, and as many as make `room` bytes of JSON.

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
        may_go_on = len(rows) > limit or room is not None
        walk = at.snapshot if at is not None else snapshot.take_snapshot(session) if may_go_on else None
        log_id = find_log_id(session) if at is not None or walk is not None else ""
        # Where the first entry that was ever stored is shown, nothing was pruned before it.
        begins = walk is None and bool(rows) and rows[-1 if order == "desc" else 0][ID] == 1
        minimum = 0 if begins else find_minimum(session)
        behind = minimum > 0 and (selection.since is None or selection.since < find_cutoff(session))
    finally:
        session.rollback()
    if at is not None and at.log and at.log != log_id:
        raise Problem(400, "invalid cursor", "it is of another log, which ended; this one is walked from its beginning")
    shown = make_documents(rows[:limit])
    if room is not None:
        shown = fit(shown, room)
    last = not shown or len(shown) == len(rows) or walk is None
    oldest = (at is None) if order == "asc" else last
    pruned = minimum if (behind and oldest) or (at is not None and at.log and at.minimum < minimum) else 0
    if last or walk is None:
        return Page(shown, None, pruned)
    position = finder.find_position(rows[len(shown) - 1])
    following = Cursor(position, walk, selection.since, selection.until, log_id, minimum)
    return Page(shown, following.encode(selection, order), pruned)
