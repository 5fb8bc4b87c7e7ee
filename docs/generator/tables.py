"""The tables of what the program has in a table itself: settings, metrics, filters, floors."""

from __future__ import annotations

from flask import Flask

from docs.generator.blocks import code, make_table
from tests.test_floors import AUDIT, CORE
from yoq_audit.query.routes import AuditQuery
from yoq_web.contributions.registry import current_registry
from yoq_web.metrics import current_metrics
from yoq_web.settings import TABLE


def write_settings(app: Flask) -> str:
    """Write a row a setting, in the order in which they are declared."""
    rows = [*TABLE, *current_registry(app).settings]
    return make_table(("variable", "meaning", "default"), [(code(row.variable), row.help, row.shown) for row in rows])


def write_metrics(app: Flask) -> str:
    """Write a row a metric: its name as scraped, its labels, what it counts."""
    rows = []
    for family in current_metrics(app).registry.collect():
        collector = current_metrics(app).registry._names_to_collectors[family.name]
        labels = collector._labelnames  # type: ignore[attr-defined]  # the library offers no other way
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((code(name), family.type, ", ".join(map(code, labels)), family.documentation))
    for contribution in current_registry(app).contributions.values():
        rows += [
            (code(gauge.name), "gauge", code(gauge.label) if gauge.label else "", gauge.help)
            for gauge in contribution.gauges
        ]
    return make_table(("metric", "kind", "labels", "what it says"), rows)


def write_filters() -> str:
    """Write a row a parameter, but for the cursor, which nobody writes by hand."""
    rows = []
    for name, schema in AuditQuery.model_json_schema()["properties"].items():
        choices = schema.get("enum", schema.get("items", {}).get("enum", []))
        said = ": ".join(filter(None, [schema["description"], ", ".join(map(code, choices))]))
        rows += [(code(name), said)] if name != "cursor" else []
    return make_table(("filter", "which entries"), rows)


def write_floors() -> str:
    """Write the core's floors and the audit plugin's, the highest first."""
    parts = []
    for title, floors in (("The core", CORE), ("The audit plugin", AUDIT)):
        rows = [(str(number), ", ".join(map(code, floor.split()))) for number, floor in enumerate(floors)]
        parts.append(f"**{title}**\n\n{make_table(('floor', 'modules and packages'), reversed(rows))}")
    return "\n".join(parts)
