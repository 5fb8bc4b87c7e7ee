"""CSV after RFC 4180, every cell quoted, with a guard against cells that a spreadsheet would run as formulas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

from yoq_audit.export.gaps import Gap
from yoq_audit.export.sealed_log import Row
from yoq_audit.storage.log import STORED
from yoq_web import format_time

COLUMNS = ("index", "time", *(name for name in STORED if name not in ("time", "recorded_at")))
_TIME = 1 + STORED.index("time")
_OTHERS = tuple(1 + STORED.index(name) for name in COLUMNS[2:])

# What begins a formula in any of the common spreadsheets, the full-width forms included, behind what they skip.
DANGEROUS = re.compile(r"[\s\x00-\x1f\x7f\u200b\ufeff]*['=+\-@|%\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


def guard(cell: Any) -> Any:
    """Put a cell behind an apostrophe if it could be a formula or begins with an apostrophe itself.

    So whoever takes one apostrophe away from the cells that begin with one has them back as they were.
    """
    return f"'{cell}" if isinstance(cell, str) and DANGEROUS.match(cell) else cell


def encode_entries(rows: Iterable[Row]) -> bytes:
    """Write entries as lines. What is null is an empty cell."""
    return _encode([row[0], format_time(row[_TIME]), *[guard(row[at]) for at in _OTHERS]] for row in rows)


def encode_gap(gap: Gap) -> bytes:
    """Write a line that says what is missing: a single cell, as of an error."""
    return _encode([[f"gap: {gap}"]])


def encode_error(reason: str) -> bytes:
    """Write the last line of an export that was broken off: a single cell, where others have one for each column."""
    return _encode([[f"error: {reason}"]])


def _encode(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    # Quoted throughout: where a spreadsheet splits at semicolons, an unquoted cell could hide a formula behind one.
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


HEAD = _encode([COLUMNS])
"""The line that names the columns."""
