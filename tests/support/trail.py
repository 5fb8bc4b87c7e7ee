"""What the tests of reading share: made-up entries stored behind the application's back, and walks through pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urljoin

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool
from werkzeug.test import TestResponse

from tests.conftest import Api
from yoq_audit.storage.log import STORED

START = 1_790_000_000_000_000
"""The time of the first made-up entry, in microseconds since 1970."""
SECOND = 1_000_000

INSERT = f"INSERT INTO audit_log ({', '.join(STORED)}) VALUES ({', '.join(f':{name}' for name in STORED)})"

Entry = dict[str, Any]


def make_entry(number: int, **given: Any) -> Entry:
    """The row of a made-up entry, one second after the one before."""
    moment = given.pop("time", START + number * SECOND)
    return {
        "recorded_at": moment // SECOND,
        "actor": "api-token",
        "action": "secret_set",
        "target": f"target-{number}",
        "outcome": "ok",
        "event_id": str(uuid.UUID(int=number)),
        "time": moment,
        "actor_kind": "admin",
        "reason": None,
        "request_id": f"request-{number}",
        "node": "node-1",
        "peer": None,
        "details": "{}",
        "version": 1,
        "nonce": f"{number:032x}",
    } | given


def make_engine(url: str) -> Engine:
    """An engine of the test's own, without the application's rules."""
    return create_engine(url, poolclass=NullPool)


def insert(connection: Connection, rows: Iterable[Entry]) -> None:
    """Store entries in the connection's transaction."""
    connection.execute(text(INSERT), list(rows))


def store(url: str, rows: Iterable[Entry]) -> None:
    """Store entries, committed."""
    with make_engine(url).begin() as connection:
        insert(connection, rows)


def make_url(parameters: Mapping[str, Any], where: str = "/v1/audit") -> str:
    """The address of a query."""
    return f"{where}?{urlencode(parameters, doseq=True)}"


def read_ids(answer: TestResponse) -> list[str]:
    """The ids of the events on a page."""
    assert answer.status_code == 200, answer.text
    return [shown["event_id"] for shown in answer.json]  # type: ignore[union-attr]


def find_next(answer: TestResponse) -> str | None:
    """The address of the next page, as a client reads it from the Link header."""
    link = answer.headers.get("Link")
    if link is None:
        return None
    assert link.startswith("<")
    assert link.endswith('>; rel="next"')
    # Relative, so that a proxy may have taken a prefix away.
    assert link[1] == "?"
    return urljoin(answer.request.path, link[1:].partition(">")[0])


def read_pages(api: Api, first: str) -> list[list[str]]:
    """Every page of a walk that begins at an address, each as the ids of its events."""
    found = []
    address: str | None = first
    while address:
        answer = api("GET", address)
        found.append(read_ids(answer))
        address = find_next(answer)
    return found


def walk(api: Api, first: str) -> list[str]:
    """The ids of all events of a walk, in order."""
    return [event_id for page in read_pages(api, first) for event_id in page]
