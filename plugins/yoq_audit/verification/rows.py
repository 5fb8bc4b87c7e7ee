"""Rows that the schema would not have let in: an event that stands twice, and values of another type."""

from __future__ import annotations

from yoq_audit.verification.reader import LogReader
from yoq_audit.verification.report import LIMIT, Report, quote_value

KINDS = {"outcome <> 'started'": "has ended", "outcome = 'started'": "began"}
"""The condition of each of the two entries that an event may have, in the words of the indexes, and what it says."""

TYPES = {"INTEGER": "integer", "BIGINT": "integer", "VARCHAR": "text", "BLOB": "blob"}
"""What SQLite stores in a column of a declared type, if it is the right thing."""

DISORDERED = (
    "SELECT b.leaf_index, b.entry_id FROM audit_leaf a JOIN audit_leaf b ON b.leaf_index = a.leaf_index + 1 "
    "WHERE b.entry_id <= a.entry_id ORDER BY b.leaf_index LIMIT 101"
)
"""SQLite, where ids are in the order of commits: places whose entry has no higher id than the one before."""

GIVEN = "SELECT last_value FROM pg_sequences WHERE schemaname = current_schema() AND sequencename = 'audit_log_id_seq'"
"""PostgreSQL: the last id that was given out; null for who may not know."""

WRONG_LAST = (
    "SELECT c.size, c.last_entry FROM audit_checkpoint c WHERE c.size > ? AND NOT EXISTS "
    "(SELECT 1 FROM audit_leaf l WHERE l.entry_id = c.last_entry AND l.leaf_index < c.size) ORDER BY c.size LIMIT 101"
)


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


def check_numbers(reader: LogReader, report: Report, minimum: int) -> None:
    """Report numbers of entries that the database cannot have given: no signature covers them, but lists go by them."""
    if reader.on_sqlite:
        for index, entry in reader.fetch_all(DISORDERED):
            message = f"entry {entry} stands as number {index}, behind one with a higher id"
            report.add("moved", message, entry=entry, index=index)
    else:
        given = reader.fetch_value(GIVEN)
        for (entry,) in reader.fetch_all("SELECT id FROM audit_log WHERE id > ? ORDER BY id LIMIT 101", given or 2**62):
            report.add("altered", f"entry {entry} has an id that the database has not given yet", entry=entry)
    for size, entry in reader.fetch_all(WRONG_LAST, minimum):
        message = f"checkpoint of size {size} altered: entry {entry} is not the last that was sealed with it"
        report.add("checkpoint", message, size=size, field="last_entry")


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
