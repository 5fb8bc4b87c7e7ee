"""Showing entries: rows of the log as the documents that the HTTP API and the command line give out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from sqlalchemy import Row

from yoq_audit.storage.log import SHOWN, values
from yoq_web import Actor, Event, describe_actor, format_time

BRIEF = SHOWN[:5]


def documents(rows: Iterable[Row[Any] | tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Each row as a document: yoq's five members first, then the further ones; times as RFC 3339 in UTC.

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
            descriptions[who] = _described(*who)
        if descriptions[who] is not None:
            document["actor_description"] = descriptions[who]
        shown.append(document)
    return shown


def _described(kind: Any, label: str) -> str | None:
    try:
        return describe_actor(Actor(kind, label))
    except ValueError:
        return None


def waiting(event: Event) -> dict[str, Any]:
    """The document of an event that is only in the spool: as it will be stored, but without what storing adds."""
    row = values(event)
    [document] = documents([(*row[:5], None, *row[5:])])
    return document | {"nonce": None, "stored": "spool"}


def brief(documents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents cut down to yoq's five members."""
    return [{name: document[name] for name in BRIEF} for document in documents]
