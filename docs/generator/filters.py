"""The table of what `GET /v1/audit` can be asked for."""

from __future__ import annotations

from docs.generator.blocks import code, make_table
from yoq_audit.query.routes import AuditQuery


def write_filters() -> str:
    """Write a row a parameter, but for the cursor, which nobody writes by hand."""
    rows = []
    for name, schema in AuditQuery.model_json_schema()["properties"].items():
        choices = schema.get("enum", schema.get("items", {}).get("enum", []))
        said = ": ".join(filter(None, [schema["description"], ", ".join(map(code, choices))]))
        rows += [(code(name), said)] if name != "cursor" else []
    return make_table(("filter", "which entries"), rows)
