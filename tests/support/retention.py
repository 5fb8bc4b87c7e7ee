"""What the tests of retention share: a log whose entries are old, made fast, and what an auditor keeps of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from flask import Flask
from sqlalchemy import insert

from tests.conftest import Api
from tests.support.clocks import clock_moved
from tests.support.commandline import output
from tests.support.door import acting, behind
from tests.support.tampering import seal
from yoq_audit.storage.log import STORED, append, make_row
from yoq_audit.storage.models import ENTRIES
from yoq_web import Actor, Event, Operation
from yoq_web.database.session import unit_of_work
from yoq_web.operations.event import make_uuid7

DAY = 86400
WEEK_OLD = 7 * DAY

act = Operation("retention_test", "Leave an old entry", "*", ("word",))


def make_old_event(age: int, number: int = 0, word: str = "plain") -> Event:
    """An event that ended well so many seconds ago."""
    now = time.time_ns() - age * 1_000_000_000 + number * 1_000_000
    actor = Actor("token", "tester")
    event = Event(id=make_uuid7(now), operation=act, actor=actor, target=f"t{number}", time=now // 1000, node="node-1")
    return Event(
        id=event.id,
        operation=act,
        actor=actor,
        target=event.target,
        details={"word": word},
        time=event.time,
        node="node-1",
        outcome="ok",
    )


def store(app: Flask, events: Sequence[Event], sealed: float | None = None) -> list[str]:
    """Store and seal events, each once, so many seconds ago or when the last of them was; returns their ids."""
    with acting(app), unit_of_work() as session:
        rows = [dict(zip(STORED, make_row(event), strict=True)) for event in events]
        session.execute(insert(ENTRIES), rows)
    ago = time.time() - max(event.time for event in events) / 1e6 if sealed is None else sealed
    with clock_moved(-ago):
        seal(app)
    return [event.id for event in events]


def hand_over(app: Flask, *events: Event) -> None:
    """Have the plugin store and seal events as a spool that was away for long would."""
    with acting(app), unit_of_work() as session:
        for event in events:
            append(event, session)
    seal(app)


def make_old_log(app: Flask, count: int, age: int = WEEK_OLD) -> list[str]:
    """A log of so many old entries, sealed."""
    return store(app, [make_old_event(age, number) for number in range(count)])


def count_entries(url: str) -> int:
    """How many entries the table has."""
    return int(behind(url, "SELECT count(*) AS n FROM audit_log")[0]["n"])


def read_minimum(api: Api) -> int:
    """The published minimum index."""
    answer = api("GET", "/v1/audit/log/retention")
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    found: int = answer.json["minimum_index"]
    return found


def prune(app: Flask, *arguments: str) -> int:
    """Prune what is older than a day; returns how many entries went."""
    said = json.loads(output(app, "audit", "prune", "--older-than", "1d", "--json", *arguments))
    entries: int = said["entries"]
    return entries


def read_vkey(api: Api) -> str:
    """The log's public key."""
    return api("GET", "/v1/audit/log/key").text.strip()
