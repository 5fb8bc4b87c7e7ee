"""The operation of following the trail, and where a follower stands in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from flask import Flask, current_app

from yoq_audit.export.operations import summary
from yoq_audit.export.scan import Pages, Row, sealed_size, span
from yoq_audit.proofs import prover
from yoq_audit.query.filters import Selection
from yoq_web import NotFound, Operation, Problem

audit_follow = Operation(
    "audit_follow", "Follow the trail", "audit:read", details=("start", "filters"), activity="read"
)

FRESH_SECONDS = 0.9
"""For so long all followers of a process share one look at how far the log has come."""


class Following:
    """One follower. `place` is the next place of the log to look at: whatever is before it was given out."""

    def __init__(self, app: Flask, selection: Selection, place: int) -> None:
        self._pages = Pages(app, selection)
        self.place = place

    def rows(self, size: int) -> Iterator[list[Row]]:
        """The matching entries that are new in a log of this size, page by page, in order; some pages are empty."""
        for rows, place in self._pages.between(self.place, size):
            self.place = place
            yield rows


def begin(selection: Selection, start: int | None) -> Following:
    """Record that the trail is followed, and say from where on.

    That is the place `start`, without one the first entry of `since`, else the next entry. Raises a Problem for a place
    that the log does not have yet, or if it cannot be sealed.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # Flask's documented way
    before = _sealed_now()
    if start is not None and start > before:
        raise Problem(400, "invalid start", f"the log has {before} sealed entries")
    with audit_follow.performed(start=start, filters=summary(selection)):
        pass
    if start is None:
        start = span(app, selection, before)[0] if selection.since is not None else before
    return Following(app, selection, start)


def _sealed_now() -> int:
    try:
        return prover.sealed_now().size
    except NotFound:  # the log begins with the entry that says that it is followed
        return 0


class Growth:
    """How far the log has come: asked once for all followers of a process."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._size = 0
        self._asked = float("-inf")

    def size(self) -> int:
        """The size of the newest signed checkpoint, as it was a moment ago."""
        with self._lock:
            if time.monotonic() - self._asked >= FRESH_SECONDS:
                self._size = sealed_size(self._app)
                self._asked = time.monotonic()
            return self._size


def growth(app: Flask) -> Growth:
    """That of an application."""
    found: Growth = app.extensions.setdefault("yoq_audit_growth", Growth(app))
    return found
