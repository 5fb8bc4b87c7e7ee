"""The trail over HTTP: the list in pages, and its statistics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Blueprint, Response, request
from pydantic import BeforeValidator, Field

from yoq_audit.query import pages, statistics
from yoq_audit.query.cursor import link
from yoq_audit.query.entry import EntryOut
from yoq_audit.query.filters import FilterQuery
from yoq_audit.query.statistics import StatsOut, StatsQuery
from yoq_web import db, dumps, endpoint, find_answer_limit

blueprint = Blueprint("audit_query", __name__)

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

LINK_BYTES = 512
"""What the Link header takes of the room that the client has for an answer."""


def _limit(given: object) -> int:
    """The rule of yoq: an unsigned 32-bit decimal, at most 500; anything else counts as not given."""
    text = str(given)
    if not (text.isascii() and text.isdigit()):
        return DEFAULT_LIMIT
    number = int(text.lstrip("0")[:11] or "0")
    return min(number, MAX_LIMIT) if number < 2**32 else DEFAULT_LIMIT


class AuditQuery(FilterQuery):
    """Which entries to list, and from where on."""

    limit: Annotated[int, BeforeValidator(_limit)] = Field(
        DEFAULT_LIMIT,
        description=f"How many entries, {MAX_LIMIT} at most; what is not a number counts as {DEFAULT_LIMIT}",
    )
    order: Literal["desc", "asc"] = Field("desc", description="The newest first, or the oldest")
    cursor: str | None = Field(None, description="Where the page before ended: take it from its Link header as it is")


@blueprint.get("/v1/audit")
@endpoint(scope="audit:read", query=AuditQuery, answer=list[EntryOut])
def list_entries(query: AuditQuery) -> Response:
    """List entries, the newest first, in pages.

    `Link: <…>; rel="next"` leads to the next page; the last one has none. All pages show the entries that were there
    when the first one was read, each once, however many are recorded meanwhile. Without a time the order is that in
    which entries were stored, with `since` or `until` that of their `time`. A client that does not take answers of
    any length, as yoq's, gets the first five members only where the rest would be too long for it, and no more entries
    than it can take.
    """
    room = find_answer_limit()
    page = pages.read(
        db.session(),
        query.resolve(),
        limit=query.limit,
        order=query.order,
        cursor=query.cursor,
        room=None if room is None else room - LINK_BYTES,
    )
    answer = Response(dumps(page.entries), content_type="application/json")
    if page.cursor:
        answer.headers["Link"] = link(request.path, list(request.args.items(multi=True)), page.cursor)
    return answer


@blueprint.get("/v1/audit/stats")
@endpoint(scope="audit:read", query=StatsQuery, answer=StatsOut)
def get_stats(query: StatsQuery) -> dict[str, Any]:
    """Count entries by time, actor, action and outcome, of the last 24 hours unless told otherwise.

    Takes the filters of the list. `bucket` says how long the counted periods are, which begin at multiples of it.
    """
    return statistics.count(db.session(), query)
