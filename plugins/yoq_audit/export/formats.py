"""The formats of an export, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from yoq_audit.export import csvtext, ndjson, ocsf
from yoq_audit.export.scan import Row

FormatName = Literal["ndjson", "csv", "ocsf"]
NAMES: tuple[str, ...] = get_args(FormatName)


@dataclass(frozen=True)
class Format:
    """How entries are written: what comes before them, the entries, and what ends an export that was broken off."""

    media_type: str
    head: Callable[[], bytes]
    encoded: Callable[[Iterable[Row]], bytes]
    broken_off: Callable[[str], bytes]


FORMATS: dict[FormatName, Format] = {
    "ndjson": Format(ndjson.MEDIA_TYPE, ndjson.head, ndjson.encoded, ndjson.broken_off),
    "csv": Format(csvtext.MEDIA_TYPE, csvtext.head, csvtext.encoded, csvtext.broken_off),
    "ocsf": Format(ocsf.MEDIA_TYPE, ocsf.head, ocsf.encoded, ndjson.broken_off),
}
