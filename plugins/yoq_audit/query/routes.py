"""The trail over HTTP: the list in pages, its statistics, and one entry."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from flask import Blueprint, Response
from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy.exc import SQLAlchemyError

from yoq_audit.query import pages, statistics
from yoq_audit.query.filters import TIMES, FilterQuery
from yoq_audit.query.statistics import StatsOut, StatsQuery
from yoq_audit.storage import log
from yoq_audit.storage.documents import make_documents, make_spooled_document, write_fitting
from yoq_audit.storage.tombstones import explain_absence
from yoq_web import Outcome, db, endpoint, find_answer_limit, make_next_link, spooled

entries = Blueprint("audit", __name__)
lists = Blueprint("audit_query", __name__)
"""Two, because the API names its operations by them."""

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

LINK_BYTES = 512
"""What the Link header takes of the room that the client has for an answer."""


class EntryOut(BaseModel):
    """An entry. `event_id` names it for ever; `time` is RFC 3339 with microseconds; `details` depend on the action."""

    recorded_at: int
    actor: str
    action: str
    target: str | None
    outcome: Outcome
    id: int | None = Field(description="None while the entry is only in the spool")
    event_id: str
    time: str
    actor_kind: str
    reason: str | None
    request_id: str | None
    node: str
    peer: str | None
    details: dict[str, Any]
    version: int
    nonce: str | None
    actor_description: str = ""
    stored: Literal["spool"] | None = Field(
        default=None, exclude_if=lambda value: value is None, description="`spool`: not in the database yet"
    )


def _parse_limit(given: object) -> int:
    """Read a limit: a decimal, at most 500. Of yoq's clients, which ask for any number, more are taken for the most."""
    text = str(given)
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"a number from 0 to {MAX_LIMIT}")
    if int(text) > MAX_LIMIT and find_answer_limit() is None:
        raise ValueError(f"{MAX_LIMIT} at most; the Link header leads to the next page")
    return min(int(text), MAX_LIMIT)


class AuditQuery(FilterQuery):
    """Which entries to list, and from where on."""

    limit: Annotated[int, BeforeValidator(_parse_limit)] = Field(
        DEFAULT_LIMIT,
        description=f"How many entries, {MAX_LIMIT} at most",
        json_schema_extra={"minimum": 0, "maximum": MAX_LIMIT},
    )
    order: Literal["desc", "asc"] = Field("desc", description="The newest first, or the oldest")
    cursor: str | None = Field(None, description="Where the page before ended: take it from its Link header as it is")


@lists.get("/v1/audit")
@endpoint(scope="audit:read", query=AuditQuery, answer=list[EntryOut])
def list_entries(query: AuditQuery) -> Response:
    """List entries, the newest first, in pages.

    `Link: <…>; rel="next"` leads to the next page; the last one has none. All pages show the entries that were there
    when the first one was read, each once, however many are recorded meanwhile. Without a time the order is that in
    which entries were stored, with `since` or `until` that of their `time`. Where entries that are meant may have been
    pruned, `Audit-Gap: pruned;from=0;to=511` says at which places of the log. A client that does not take answers of
    any length, as yoq's, gets the first five members only where the rest would be too long for it, and no more entries
    than it can take.
    """
    room = find_answer_limit()
    page = pages.read_page(
        db.session(),
        query.resolve(),
        limit=query.limit,
        order=query.order,
        cursor=query.cursor,
        make=partial(write_fitting, room=None if room is None else room - LINK_BYTES),
        may_cut=room is not None,
    )
    answer = Response(f"[{','.join(page.entries)}]", content_type="application/json")
    if page.pruned:
        answer.headers["Audit-Gap"] = f"pruned;from=0;to={page.pruned - 1}"
    if page.cursor:
        # A time that is exact by now: yesterday is another day at midnight, and the cursor's walk is not.
        exact = {one.name: getattr(query, one.name) for one in TIMES}
        answer.headers["Link"] = make_next_link(page.cursor, exact)
    return answer


@lists.get("/v1/audit/stats")
@endpoint(scope="audit:read", query=StatsQuery, answer=StatsOut)
def get_stats(query: StatsQuery) -> dict[str, Any]:
    """Count what was done by time, actor, action, outcome and peer, in the last 24 hours unless told otherwise.

    An entry that stands for several attempts without credentials, which were recorded together, counts as many. Takes
    the filters of the list. `bucket` says how long the counted periods are, which begin at multiples of it.
    """
    return statistics.count_entries(db.session(), query)


@entries.get("/v1/audit/entries/<event_id>")
@endpoint(scope="audit:read", answer=EntryOut)
def get_entry(event_id: str) -> dict[str, Any]:
    """Show one entry, by the Audit-Id that its response carried.

    One that could not be stored yet is found in the spool of the node that was asked, and says so in `stored`.
    """
    try:
        row = log.find(db.session(), event_id)
    except SQLAlchemyError:
        if event := spooled(event_id):
            return make_spooled_document(event)
        raise
    if event := log.find_in_spool(row, event_id):
        return make_spooled_document(event)
    if row is not None:
        return make_documents([row])[0]
    raise explain_absence(db.session(), event_id)
