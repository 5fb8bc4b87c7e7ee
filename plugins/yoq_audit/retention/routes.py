"""The HTTP API of retention: what an auditor must know to read a log of which parts are gone."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import BaseModel, Field
from sqlalchemy import select

from yoq_audit.settings import RETENTION
from yoq_audit.storage.models import ERASED
from yoq_audit.storage.tombstones import find_minimum
from yoq_web import current_settings, db, endpoint

blueprint = Blueprint("audit_retention", __name__)


class Retention(BaseModel):
    """What of the log is gone. Indexes are those of entries in the tree."""

    minimum_index: int = Field(description="Bundles that end at or before it are not served; tiles are")
    retention: str | None = Field(
        description="How long entries are kept, like `400d`; null: they are not pruned by age"
    )
    erased: list[int] = Field(description="The places from the minimum index on whose entries were erased")


@blueprint.get("/v1/audit/log/retention")
@endpoint(scope="audit:read", answer=Retention)
def get_retention() -> dict[str, Any]:
    """Give the log's minimum index (C2SP tlog-tiles, "Pruning") and the places of erased entries.

    Sealed entries `audit_prune` and `audit_erase` announce both, signed with the log's key.
    """
    session = db.session()
    first = find_minimum(session)
    erased = session.scalars(
        select(ERASED.c.leaf_index).where(ERASED.c.leaf_index >= first).order_by(ERASED.c.leaf_index)
    )
    return {"minimum_index": first, "retention": current_settings()[RETENTION], "erased": list(erased)}
