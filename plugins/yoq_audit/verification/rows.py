"""Rows that the schema would not have let in: an event that stands twice, and values of another type."""

from __future__ import annotations

from yoq_audit.verification.reader import LogReader
from yoq_audit.verification.report import LIMIT, Report, quote_value

KINDS = {"outcome <> 'started'": "has ended", "outcome = 'started'": "began"}
"""The condition of each of the two entries that an event may have, in the words of the indexes, and what it says."""

TYPES = {"INTEGER": "integer", "BIGINT": "integer", "VARCHAR": "text", "BLOB": "blob"}
"""What SQLite stores in a column of a declared type, if it is the right thing."""


def check_rows(reader: LogReader, report: Report) -> None:
    """Report every event that stands more than once, and on SQLite values of a wrong type in the tree's tables."""
    for condition, said in KINDS.items():
        query = (
            f"SELECT event_id, count(*), min(id), max(id) FROM audit_log WHERE {condition} "  # noqa: S608 - our own words
            f"GROUP BY event_id HAVING count(*) > 1 ORDER BY event_id LIMIT {LIMIT + 1}"
        )
        for event_id, times, first, last in reader.fetch_all(query):
            name = quote_value(event_id).strip('"')
            message = f"{times} entries say that the event {name} {said}: the first is {first}, the last {last}"
            report.add("repeated", message, entry=last, event_id=name)
    if reader.on_sqlite:
        _check_types(reader, report)


def _check_types(reader: LogReader, report: Report) -> None:
    """Go through the tables of the tree; an entry's own columns are looked at with its leaf."""
    tables = reader.fetch_all(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'audit_*' AND name <> 'audit_log' ORDER BY 1"
    )
    for (table,) in tables:
        for _, column, declared, required, *_ in reader.fetch_all(f'PRAGMA table_info("{table}")'):
            wanted = TYPES.get(declared)
            also = wanted if required else "null"
            query = f'SELECT typeof("{column}") AS kind, count(*) FROM "{table}" WHERE kind NOT IN (?, ?) GROUP BY kind'  # noqa: S608 - its own names
            for kind, times in reader.fetch_all(query, wanted, also) if wanted else ():
                message = f"{times} rows of {table} have a {kind} for {column}, where {wanted} belongs"
                report.add("type", message, field=column)
