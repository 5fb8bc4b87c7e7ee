"""`GET /v1/audit/export`: the trail as one long answer."""

from __future__ import annotations

from flask import Blueprint, Response
from pydantic import Field

from yoq_audit.export.feeds import Feed
from yoq_audit.export.formats import FORMATS, MEDIA_TYPES, FormatName, describe_formats
from yoq_audit.export.operations import audit_export, begin_export
from yoq_audit.query.filters import FilterQuery
from yoq_web import endpoint

blueprint = Blueprint("audit_export", __name__)


class ExportQuery(FilterQuery):
    """What to export, and how."""

    format: FormatName = Field("ndjson", description=describe_formats())
    with_proofs: bool = Field(
        False, description="Add what proves each entry offline, for `yoq-web audit verify-export`; `ndjson` only"
    )


@blueprint.get("/v1/audit/export")
@endpoint(
    audit_export,
    query=ExportQuery,
    answer=str,
    media_type=MEDIA_TYPES,
    errors={503: "Too many exports at once, or the log cannot be sealed"},
)
def export_entries(query: ExportQuery) -> Response:
    """Export entries in the order of the log, everything sealed by now, the record of this export included.

    Takes the filters of the list. The answer is of any length. One that could not be finished says so in its last
    line: `{"error":"…"}`, or in CSV a single cell that begins with `error: `.
    """
    feed = Feed("exports", audit_export.scope)
    try:
        export = begin_export(query.resolve(), query.format, with_proofs=query.with_proofs)
    except BaseException:
        feed.close()
        raise
    form = FORMATS[query.format]
    answer = Response(feed.send(export.write(), form.encode_error), content_type=form.media_type)
    answer.headers["Content-Disposition"] = f'attachment; filename="audit.{form.suffix}"'
    return answer
