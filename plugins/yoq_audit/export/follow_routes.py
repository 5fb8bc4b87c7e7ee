"""`GET /v1/audit/stream`: the trail as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress

from flask import Blueprint, Response, request
from pydantic import Field

from yoq_audit.export.feeds import EndOfFeed, Feed, Lifetime
from yoq_audit.export.gaps import Gap
from yoq_audit.export.ndjson import make_placed_lines
from yoq_audit.export.operations import Follower, audit_follow, begin_following
from yoq_audit.export.sealed_log import Row, SealedLog, current_sealed_log
from yoq_audit.query.filters import FilterQuery
from yoq_audit.sealing.sealer import current_sealing
from yoq_audit.tlog.codec import parse_decimal
from yoq_web import Problem, dumps, endpoint

blueprint = Blueprint("audit_follow", __name__)

HEARTBEAT_SECONDS = 15.0
"""After so long without an entry something is sent all the same, for proxies and for clients that wait."""

RETRY_MS = 2000
"""How long a client should wait before it connects anew."""

MAX_PLACE = 2**62

LOG_ID = re.compile(r"[0-9a-f]{1,64}")
"""The id of a log, which stands behind the place in an event's id."""


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
    """Stream entries as they are sealed, as server-sent events: each is an `entry`, with its `place` in the log.

    Takes the filters of the list. A client that connects anew with `Last-Event-ID` misses nothing and gets nothing
    twice. What it cannot get, because it was pruned or because the log began anew since, is an event `gap` before the
    first entry. The stream ends when the token is revoked or expires, and after an hour: then a client connects anew.
    """
    feed = Feed("streams", audit_follow.scope)
    try:
        follower = begin_following(query.resolve(), *_find_start(query.start))
    except BaseException:
        feed.close()
        raise
    events = _write_events(current_sealed_log(), follower, feed.lifetime)
    answer = Response(feed.send(events, _encode_comment), content_type="text/event-stream")
    answer.headers["X-Accel-Buffering"] = "no"  # a proxy must not collect events
    return answer


def _find_start(start: int | None) -> tuple[int | None, str]:
    """Find the place after the event that the client saw last, if it says so, and of which log; else it is `start`."""
    last = request.headers.get("Last-Event-ID", "")
    if not last:
        return start, ""
    place, dash, log = last.partition("-")
    with suppress(ValueError):
        if LOG_ID.fullmatch(log) or not dash:
            return parse_decimal(place) + 1, log
    raise Problem(400, "invalid Last-Event-ID", "it is the id of an event of this stream")


def _write_events(log: SealedLog, follower: Follower, lifetime: Lifetime) -> Iterator[bytes]:
    yield f"retry: {RETRY_MS}\n: from place {follower.place}\n\n".encode()
    if follower.gap:
        yield _encode_gap(follower.gap)
    log_id = ""
    sent = time.monotonic()
    while True:
        log_id = log_id or log.find_id()
        for piece in follower.read_new(log.find_recent_size()):
            yield (_encode_gap(piece.gap) if piece.gap else b"") + _encode_entries(piece.rows, log_id)
            sent = time.monotonic() if piece.rows else sent
        if time.monotonic() - sent >= HEARTBEAT_SECONDS:
            yield _make_heartbeat(follower.place, log_id)
            sent = time.monotonic()
        lifetime.wait()
        _check_sealing(log)


def _encode_entries(rows: list[Row], log_id: str) -> bytes:
    events = zip(rows, make_placed_lines(rows), strict=True)
    return "".join([f"id: {row[0]}-{log_id}\nevent: entry\ndata: {line}\n" for row, line in events]).encode()


def _encode_gap(gap: Gap) -> bytes:
    return f"event: gap\ndata: {dumps(gap.to_document())}\n\n".encode()


def _encode_comment(text: str) -> bytes:
    return f": {text}\n\n".encode()


def _make_heartbeat(place: int, log_id: str) -> bytes:
    """Make a comment, with the id of the last place that was looked at: a client that resumes need not look again."""
    return f"id: {place - 1}-{log_id}\n: heartbeat\n\n".encode() if place and log_id else _encode_comment("heartbeat")


def _check_sealing(log: SealedLog) -> None:
    """Raise EndOfFeed if nothing new comes because nothing is sealed: who connects anew is told why."""
    if current_sealing(log.app).failure:
        raise EndOfFeed("nothing is sealed")
