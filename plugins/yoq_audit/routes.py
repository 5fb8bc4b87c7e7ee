"""The HTTP API of the trail."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Blueprint, request
from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy.exc import SQLAlchemyError

from yoq_audit import log
from yoq_audit.retention.forgotten import absent
from yoq_audit.showing import brief, documents, waiting
from yoq_web import db, dumps, endpoint, spooled

blueprint = Blueprint("audit", __name__)

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

CLIENT_BYTES = 64 * 1024 - 1024
"""yoq's client takes answers of 64 KiB, headers included; it is known by sending no User-Agent."""


def _limit(given: object) -> int:
    """The rule of yoq: an unsigned 32-bit decimal, at most 500; anything else counts as not given."""
    text = str(given)
    if not (text.isascii() and text.isdigit()):
        return DEFAULT_LIMIT
    number = int(text.lstrip("0")[:11] or "0")
    return min(number, MAX_LIMIT) if number < 2**32 else DEFAULT_LIMIT


class AuditQuery(BaseModel):
    """Which entries to list."""

    limit: Annotated[int, BeforeValidator(_limit)] = Field(
        DEFAULT_LIMIT,
        description=f"How many entries, {MAX_LIMIT} at most; what is not a number counts as {DEFAULT_LIMIT}",
    )


class EntryOut(BaseModel):
    """An entry. `event_id` names it for ever; `time` is RFC 3339 with microseconds; `details` depend on the action."""

    recorded_at: int
    actor: str
    action: str
    target: str | None
    outcome: str
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


@blueprint.get("/v1/audit")
@endpoint(scope="audit:read", query=AuditQuery, answer=list[EntryOut])
def list_entries(query: AuditQuery) -> list[dict[str, Any]]:
    """List the newest entries, the newest first.

    A client without a User-Agent, as yoq's, gets the first five members only where the rest would be too long for it,
    and of the oldest entries no more than it can take.
    """
    shown = documents(log.newest(db.session(), query.limit))
    if "User-Agent" not in request.headers and len(dumps(shown).encode()) > CLIENT_BYTES:
        return _fitting(brief(shown))
    return shown


def _fitting(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many of the documents, from the first, as yoq's client takes."""
    room = CLIENT_BYTES - len("[]")
    for number, document in enumerate(shown):
        room -= len(dumps(document).encode()) + len(",")
        if room < 0:
            return shown[:number]
    return shown


@blueprint.get("/v1/audit/entries/<event_id>")
@endpoint(scope="audit:read", answer=EntryOut)
def get_entry(event_id: str) -> dict[str, Any]:
    """Show one entry, by the Audit-Id that its response carried.

    One that could not be stored yet is found in the spool of the node that was asked, and says so in `stored`.
    """
    try:
        row = log.find(db.session(), event_id)
    except SQLAlchemyError:
        if event := spooled(event_id):
            return waiting(event)
        raise
    if row is not None:
        return documents([row])[0]
    if event := spooled(event_id):
        return waiting(event)
    raise absent(db.session(), event_id)
