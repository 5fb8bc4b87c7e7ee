"""The table of an export's formats. Whoever adds one writes its module, and a row here; nothing else names them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic_core import CoreSchema, core_schema

from yoq_audit.export import csv, ndjson, ocsf
from yoq_audit.export.gaps import Gap
from yoq_audit.export.sealed_log import Row


@dataclass(frozen=True)
class Format:
    """How entries are written: the entries, the end of an export that was broken off, and what stands before all.

    `encode_gap` writes what is missing before entries, unless as ndjson a line of JSON.
    The functions are called within the application's context. `note` is what the API says of the format.
    """

    suffix: str
    media_type: str
    encode_entries: Callable[[Iterable[Row]], bytes]
    encode_error: Callable[[str], bytes]
    head: bytes = b""
    note: str = ""
    encode_gap: Callable[[Gap], bytes] = ndjson.encode_gap


BYTE_ORDER_MARK = "\ufeff".encode()

_CSV = Format(
    "csv",
    "text/csv; charset=utf-8; header=present",
    csv.encode_entries,
    csv.encode_error,
    csv.HEAD,
    encode_gap=csv.encode_gap,
)

FORMATS = {
    "ndjson": Format("ndjson", "application/x-ndjson", ndjson.encode_entries, ndjson.encode_error),
    "csv": _CSV,
    "csv-bom": replace(_CSV, head=BYTE_ORDER_MARK + csv.HEAD, note="with a byte order mark, for spreadsheets"),
    "ocsf": Format(
        "ocsf.ndjson",
        "application/x-ndjson",
        ocsf.encode_entries,
        ndjson.encode_error,
        note="API Activity, class 6003",
    ),
}

MEDIA_TYPES = ", ".join(dict.fromkeys(each.media_type.partition(";")[0] for each in FORMATS.values()))


@dataclass(frozen=True)
class OneOf:
    """Marks a text as one of these, as Literal would if they were written there."""

    names: Collection[str]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        """Return the schema of such a text, for pydantic."""
        return core_schema.literal_schema(list(self.names))


FormatName = Annotated[str, OneOf(FORMATS)]


def describe_formats() -> str:
    """Describe the formats for the API."""
    named = [f"`{name}`: {each.note}" if each.note else f"`{name}`" for name, each in FORMATS.items()]
    return f"{', '.join(named[:-1])}, or {named[-1]}"
