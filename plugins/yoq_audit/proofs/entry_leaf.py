"""The leaf of an entry's document: what an auditor rebuilds from the JSON that `GET /v1/audit/entries/<id>` answers."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from yoq_audit.tlog.leaf import FIELDS, LeafError, encode_leaf
from yoq_web import dumps, parse_time

UNPROVED = ("id", "actor_description", "place")
"""Members that a document may have beside those of its leaf: a number of the database, a plugin's words, and the place,
which the proof says itself."""

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def parse_document(content: bytes) -> dict[str, Any]:
    """Read an entry's document, exactly as the API and `audit prove` write it. Raises LeafError.

    Any other spelling of the same JSON is refused: `details` are proved as text, in their order and with their numbers
    as they were written.
    """
    try:
        document = json.loads(content.decode())
        if not isinstance(document, dict) or dumps(document).encode() != content.removesuffix(b"\n"):
            raise LeafError("the entry is not the JSON that the API answered, byte for byte")
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, LeafError) else LeafError("the entry is not JSON") from error
    return document


def make_leaf(document: dict[str, Any]) -> bytes:
    """Make the leaf of the entry that the document shows. Raises LeafError if no entry has such a document."""
    given = document.keys() - set(UNPROVED)
    if given != {*FIELDS, "recorded_at"}:
        wrong = ", ".join(sorted(given ^ {*FIELDS, "recorded_at"}))
        raise LeafError(f"the entry has members too few or too many: {wrong}")
    values = {name: document[name] for name in FIELDS}
    values["time"] = _parse_time(document["time"])
    if type(document["recorded_at"]) is not int or document["recorded_at"] != values["time"] // 1_000_000:
        raise LeafError("the entry's recorded_at and time are not the same moment")
    if not isinstance(document["details"], dict) or type(document["version"]) is not int:
        raise LeafError("the entry's details or version are of an impossible type")
    values["details"] = dumps(document["details"])
    return encode_leaf([values[name] for name in FIELDS])


def drop_unproved(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document without the members that no proof covers."""
    return {name: value for name, value in document.items() if name not in UNPROVED}


def _parse_time(text: object) -> int:
    if isinstance(text, str) and TIME.fullmatch(text):
        with suppress(ValueError):  # for a day or an hour that there is not
            return parse_time(text)
    raise LeafError("the entry's time is not RFC 3339 in UTC with microseconds")
