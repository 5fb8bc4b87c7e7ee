"""The table of settings, the core's and those that the built-in plugins declare."""

from __future__ import annotations

from flask import Flask

from docs.generator.blocks import code, make_table
from yoq_web.contributions.registry import current_registry
from yoq_web.settings import TABLE


def write_settings(app: Flask) -> str:
    """Write a row a setting, in the order in which they are declared."""
    rows = [*TABLE, *current_registry(app).settings]
    return make_table(("variable", "meaning", "default"), [(code(row.variable), row.help, row.shown) for row in rows])
