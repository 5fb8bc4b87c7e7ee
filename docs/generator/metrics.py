"""The table of metrics."""

from __future__ import annotations

from flask import Flask

from docs.generator.blocks import code, make_table
from yoq_web.metrics import current_metrics


def write_metrics(app: Flask) -> str:
    """Write a row a metric: its name as scraped, its labels, what it counts."""
    rows = []
    for family in current_metrics(app).registry.collect():
        collector = current_metrics(app).registry._names_to_collectors[family.name]
        labels = collector._labelnames  # type: ignore[attr-defined]  # the library offers no other way
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((code(name), family.type, ", ".join(map(code, labels)), family.documentation))
    return make_table(("metric", "kind", "labels", "what it says"), rows)
