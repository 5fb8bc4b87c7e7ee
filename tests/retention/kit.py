"""What the tests of retention share: a log whose entries are old, made fast, and what an auditor keeps of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from flask import Flask

from tests.conftest import Api
from tests.door import acting, behind
from tests.tampering import seal
from yoq_audit.log import append
from yoq_web import Actor, Event, Operation
from yoq_web.database import unit_of_work
from yoq_web.identifiers import uuid7

DAY = 86400
WEEK_OLD = 7 * DAY

act = Operation("retention_test", "Leave an old entry", "*", ("word",))


def old_event(age: int, number: int = 0, word: str = "plain") -> Event:
    """An event that ended well so many seconds ago."""
    now = time.time_ns() - age * 1_000_000_000 + number * 1_000_000
    actor = Actor("token", "tester")
    event = Event(id=uuid7(now), operation=act, actor=actor, target=f"t{number}", time=now // 1000, node="node-1")
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


def store(app: Flask, events: Sequence[Event]) -> list[str]:
    """Store and seal events as a replay would; returns their ids."""
    with acting(app), unit_of_work() as session:
        for event in events:
            append(event, session)
    seal(app)
    return [event.id for event in events]


def old_log(app: Flask, count: int, age: int = WEEK_OLD) -> list[str]:
    """A log of so many old entries, sealed."""
    return store(app, [old_event(age, number) for number in range(count)])


def stored(url: str) -> int:
    """How many entries the table has."""
    return int(behind(url, "SELECT count(*) AS n FROM audit_log")[0]["n"])


def minimum(api: Api) -> int:
    """The published minimum index."""
    answer = api("GET", "/v1/audit/log/retention")
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    found: int = answer.json["minimum_index"]
    return found
