"""Entries as documents: what the HTTP API and the command line give out of a row of the log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from itertools import accumulate
from typing import Any

from sqlalchemy import Row

from yoq_audit.storage.log import SHOWN, make_row
from yoq_web import Actor, Event, describe_actor, dumps, format_time

BRIEF = SHOWN[:5]


def make_documents(rows: Iterable[Row[Any] | tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Make each row a document: yoq's five members first, then the further ones; times as RFC 3339 in UTC.

    What nobody can have recorded, because somebody altered the database, is shown as it is stored.
    """
    descriptions: dict[tuple[str, str], str | None] = {}
    shown = []
    for row in rows:
        document = dict(zip(SHOWN, row, strict=True))
        with suppress(OverflowError, TypeError):
            document["time"] = format_time(document["time"])
        with suppress(ValueError, TypeError, RecursionError):
            document["details"] = json.loads(document["details"])
        who = (document["actor_kind"], document["actor"])
        if who not in descriptions:
            descriptions[who] = _describe(*who)
        if descriptions[who] is not None:
            document["actor_description"] = descriptions[who]
        shown.append(document)
    return shown


def _describe(kind: Any, label: str) -> str | None:
    try:
        return describe_actor(Actor(kind, label))
    except ValueError:
        return None


def make_spooled_document(event: Event) -> dict[str, Any]:
    """Make the document of an event that is only in the spool: as it will be stored, without what storing adds."""
    row = make_row(event)
    [document] = make_documents([(*row[:5], None, *row[5:])])
    return document | {"nonce": None, "stored": "spool"}


def fit(documents: list[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """Return the documents if they make so many bytes of JSON, else yoq's five members of as many as do."""
    if len(dumps(documents).encode()) <= room:
        return documents
    short = [{name: document[name] for name in BRIEF} for document in documents]
    sizes = accumulate(len(dumps(document).encode()) + len(",") for document in short)
    return short[: sum(size + len("[]") <= room for size in sizes)]
