"""The tables of the audit log and their columns, as the models have them, and a log with something in each."""

from __future__ import annotations

from flask import Flask

from tests.support.commandline import output
from tests.support.door import behind
from tests.support.log_keys import rotate
from tests.support.retention import make_old_log, prune
from tests.support.tampering import seal
from yoq_audit.storage.models import ENTRIES

TABLES = {
    name: tuple(column.name for column in table.columns)
    for name, table in sorted(ENTRIES.metadata.tables.items())
    if name.startswith("audit_")
}
"""The columns of each table, those of its key first."""

COLUMNS = [(table, column) for table, columns in TABLES.items() for column in columns]


def make_full_log(app: Flask) -> None:
    """A log with something in each table: of 301 old entries the first 256 are pruned and the last one is erased."""
    ids = make_old_log(app, 301)
    rotate(app)
    assert prune(app) == 256
    output(app, "audit", "erase", ids[300], "--reason", "asked for", "--yes")
    seal(app)


def read_all(url: str) -> dict[str, list[str]]:
    """Every row of every table."""
    return {name: sorted(repr(row) for row in behind(url, f"SELECT * FROM {name}")) for name in TABLES}
