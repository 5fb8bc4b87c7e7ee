"""Reading the sealed log by place: for plugins that take the trail elsewhere, and miss nothing of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from yoq_audit.export.ndjson import make_placed_lines
from yoq_audit.export.sealed_log import MOST_PLACES, PAGE, Scan, current_sealed_log
from yoq_audit.query import snapshot
from yoq_audit.query.filters import FilterQuery
from yoq_audit.storage.tombstones import find_minimum
from yoq_audit.storage.tree import find_log_id, find_signed_tree
from yoq_web import checked, db


@dataclass(frozen=True)
class SealedEntry:
    """An entry of the sealed log: its place, its line of the ndjson export, and what that says as `document`."""

    place: int
    line: str

    @property
    def document(self) -> dict[str, Any]:
        """The entry as a document: what the line says."""
        found: dict[str, Any] = json.loads(self.line)
        return found


@dataclass(frozen=True)
class LogPage:
    """A piece of the sealed log as it was at one moment: some entries, and how the log stood.

    `log` is the log's id: it is another one when the log began anew, as after `restore --accept-fork`, and empty before
    the log begins. Places under `minimum` were pruned, and others may be erased: those have no entry. `size` is how
    many places the log has, and `next_place` the one to go on at: whatever is before it was looked at.
    """

    log: str
    minimum: int
    size: int
    entries: tuple[SealedEntry, ...]
    next_place: int


def read_log(place: int = 0, *, limit: int = PAGE, **filters: Any) -> LogPage:
    """Read the entries of the sealed log from a place on, in its order: at most `limit`, and never more than 1,024.

    `filters` are those of the list, as `action=["secret_set"], since="2h"`; where they leave much out a page may be
    empty although there is more. Who asks again with `next_place` until it is `size` has seen everything. Call it in
    an application's context; what the caller's session holds is left alone. Nothing is recorded and no scope is
    asked for: whoever gives entries to others performs an operation of its own.

    Raises ValueError for a negative place or limit, and a Problem for filters that there are not.
    """
    if place < 0 or limit < 1:
        raise ValueError("a place is 0 or more, and a limit 1 or more")
    log = current_sealed_log()
    scan = Scan(log, checked(FilterQuery, **filters).resolve(), min(limit, PAGE))
    with log.app.app_context():  # for a session of its own
        session = db.session()
        snapshot.begin_reading(session)
        newest = find_signed_tree(session)
        size, minimum = newest.size if newest else 0, find_minimum(session)
        first = max(place, minimum)
        until = max(first, min(first + MOST_PLACES, size))
        rows = scan.read_in(session, first, until)
        entries = tuple(
            SealedEntry(row[0], line.removesuffix("\n"))
            for row, line in zip(rows, make_placed_lines(rows), strict=True)
        )
        return LogPage(find_log_id(session), minimum, size, entries, scan.find_next(rows, until))
