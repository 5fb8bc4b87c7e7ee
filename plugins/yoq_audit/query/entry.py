"""One entry over HTTP."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from yoq_audit.storage import log
from yoq_audit.storage.documents import make_documents, make_spooled_document
from yoq_audit.storage.tombstones import explain_absence
from yoq_web import Outcome, db, endpoint, spooled

blueprint = Blueprint("audit", __name__)


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
            return make_spooled_document(event)
        raise
    if event := log.find_in_spool(row, event_id):
        return make_spooled_document(event)
    if row is not None:
        return make_documents([row])[0]
    raise explain_absence(db.session(), event_id)
