"""`GET /v1/audit/stream`: the trail as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Blueprint, Flask, Response, current_app, request
from pydantic import Field
from structlog.stdlib import get_logger

from yoq_audit.export.follow import Following, audit_follow, begin, growth
from yoq_audit.export.ndjson import make_lines
from yoq_audit.export.scan import Row
from yoq_audit.export.streaming import Feed, Over, Term, told
from yoq_audit.query.filters import FilterQuery
from yoq_audit.sealing import status
from yoq_audit.tlog.encoding import parse_decimal
from yoq_web import Problem, endpoint, render_exception

log = get_logger("yoq_web")

blueprint = Blueprint("audit_follow", __name__)

HEARTBEAT_SECONDS = 15.0
"""After so long without an entry something is sent all the same, for proxies and for clients that wait."""

RETRY_MS = 2000
"""How long a client should wait before it connects anew."""

MAX_PLACE = 2**62


class StreamQuery(FilterQuery):
    """What to follow, and from where on."""

    start: int | None = Field(
        None,
        ge=0,
        le=MAX_PLACE,
        description="The first place of the log to show, 0 for all of it; without it the stream begins with `since`, "
        "else with the next entry. `Last-Event-ID` counts instead where a client sends it",
    )


@blueprint.get("/v1/audit/stream")
@endpoint(
    audit_follow,
    query=StreamQuery,
    answer=str,
    media_type="text/event-stream",
    errors={503: "Too many streams at once, or the log cannot be sealed"},
)
def stream_entries(query: StreamQuery) -> Response:
    """Stream entries as they are sealed, as server-sent events: each is an `entry` with its place in the log as id.

    Takes the filters of the list. A client that connects anew with `Last-Event-ID` misses nothing and gets nothing
    twice. The stream ends when the token is revoked or expires, and after an hour: then a client connects anew.
    """
    feed = Feed("streams", audit_follow.scope)
    try:
        following = begin(query.resolve(), _resumed(query.start))
    except BaseException:
        feed.close()
        raise
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # Flask's documented way
    answer = Response(feed.of(_events(app, following, feed.term)), content_type="text/event-stream")
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Accel-Buffering"] = "no"  # a proxy must not collect events
    return answer


def _resumed(start: int | None) -> int | None:
    """The place after the event that the client saw last, if it says so."""
    last = request.headers.get("Last-Event-ID", "")
    if not last:
        return start
    try:
        return parse_decimal(last) + 1
    except ValueError:
        raise Problem(400, "invalid Last-Event-ID", "it is the id of an event of this stream") from None


def _events(app: Flask, following: Following, term: Term) -> Iterator[bytes]:
    try:
        yield f"retry: {RETRY_MS}\n: from place {following.place}\n\n".encode()
        sent = time.monotonic()
        while True:
            for rows in following.rows(growth(app).size()):
                if rows:
                    yield _encoded(rows)
                    sent = time.monotonic()
                term.check()
            if time.monotonic() - sent >= HEARTBEAT_SECONDS:
                yield _heartbeat(following.place)
                sent = time.monotonic()
            term.wait()
            term.check()
            _sealing(app)
    except Over as over:
        yield f": {over}\n\n".encode()
    except Exception as error:  # noqa: BLE001 - the client is told that it did not end for a reason of its own
        log.error("a stream broke off", exception=render_exception(error))  # noqa: TRY400 - render_exception() leaves values out
        yield f": {told(error)}\n\n".encode()


def _encoded(rows: list[Row]) -> bytes:
    events = zip(rows, make_lines(rows), strict=True)
    return "".join([f"id: {row[0]}\nevent: entry\ndata: {line}\n" for row, line in events]).encode()


def _heartbeat(place: int) -> bytes:
    """A comment, with the id of the last place that was looked at: a client that resumes need not look again."""
    return f"id: {place - 1}\n: heartbeat\n\n".encode() if place else b": heartbeat\n\n"


def _sealing(app: Flask) -> None:
    """Raise Over if nothing new comes because nothing is sealed: who connects anew is told why."""
    with app.app_context():
        if status.trouble():
            raise Over("nothing is sealed")
