"""Entries as documents: what the HTTP API and the command line give out of a row of the log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate
from json.encoder import encode_basestring as quoted
from typing import Any

from yoq_audit.storage.log import SHOWN, make_row
from yoq_web import Actor, Event, describe_actor, dumps, format_time

BRIEF = SHOWN[:5]


def make_documents(rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Make each row a document: yoq's five members first, then the further ones; times as RFC 3339 in UTC.

    What nobody can have recorded, because somebody altered the database, is shown as it is stored.
    """
    descriptions: dict[tuple[str, str], str | None] = {}
    shown = []
    for row in rows:
        document = dict(zip(SHOWN, row, strict=True))
        with suppress(OverflowError, TypeError, ValueError):
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


def write_documents(rows: Iterable[Sequence[Any]]) -> list[str]:
    """Write each row's document as JSON: the text of `dumps` on what make_documents() makes, at a fifth of the cost.

    Details are passed on as they are stored, if that is JSON.
    """
    text, stored, described = Texts(), _Details(), _Descriptions()
    found = []
    for row in rows:
        (
            recorded_at,
            actor,
            action,
            target,
            outcome,
            number,
            event_id,
            time,
            kind,
            reason,
            request_id,
            node,
            peer,
            details,
            version,
            nonce,
        ) = row
        try:
            document = (
                f'{{"recorded_at":{recorded_at:d},"actor":{text[actor]},"action":{text[action]},'
                f'"target":{text[target]},"outcome":{text[outcome]},"id":{number:d},"event_id":{quoted(event_id)},'
                f'"time":"{format_time(time)}","actor_kind":{text[kind]},"reason":{text[reason]},'
                f'"request_id":{text[request_id]},"node":{text[node]},"peer":{text[peer]},"details":{stored[details]},'
                f'"version":{version:d},"nonce":{quoted(nonce)}{described[kind, actor]}}}'
            )
        except (OverflowError, TypeError, ValueError, RecursionError):  # altered
            document = dumps(make_documents([row])[0])
        found.append(document)
    return found


def write_fitting(rows: Sequence[Sequence[Any]], room: int | None) -> list[str]:
    """Write the rows' documents if they make so many bytes of a JSON list, else yoq's five members of as many as do."""
    found = write_documents(rows)
    if room is None or len("[") + sum(map(_measure, found)) <= room:
        return found
    short = [dumps(dict(zip(BRIEF, row, strict=False))) for row in rows]
    return short[: sum(len("[") + size <= room for size in accumulate(map(_measure, short)))]


def _measure(document: str) -> int:
    return len(document.encode()) + len(",")  # or the closing bracket


class Texts(dict[str | None, str]):
    """Texts as JSON has them, each made once: few actors and actions stand in many entries. Lives as long as a page."""

    def __missing__(self, text: str | None) -> str:
        self[text] = found = "null" if text is None else quoted(text)
        return found


class _Details(dict[str, str]):
    """Stored details that are JSON, each looked at once; others raise."""

    def __missing__(self, stored: str) -> str:
        json.loads(stored)
        self[stored] = stored
        return stored


class _Descriptions(dict[tuple[str, str], str]):
    """What is written of actors by kind and label behind their entries, if a plugin describes them."""

    def __missing__(self, who: tuple[str, str]) -> str:
        description = _describe(*who)
        self[who] = found = "" if description is None else f',"actor_description":{quoted(description)}'
        return found
