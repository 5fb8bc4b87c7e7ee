"""Cursors: pages neither skip nor repeat while others write, stay as they are, and serve no other walk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection

from tests.conftest import Api
from tests.support.trail import (
    SECOND,
    START,
    Entry,
    find_next,
    insert,
    make_engine,
    make_entry,
    make_url,
    read_ids,
    read_pages,
    store,
    walk,
)
from yoq_audit.query import snapshot
from yoq_audit.sealing import sealer
from yoq_audit.storage import tree
from yoq_web import db

Numbers = list[int]


def numbers(answer_ids: list[str]) -> Numbers:
    """The numbers of made-up entries."""
    return [int(event_id.replace("-", ""), 16) for event_id in answer_ids]


def seal(app: Flask) -> None:
    """Seal what is committed, as the pulse does every second."""
    with app.app_context():
        sealer.seal()
        db.session.remove()


@contextmanager
def transaction(url: str) -> Iterator[Connection]:
    """A transaction of somebody else."""
    made = make_engine(url)
    with made.connect() as connection:
        yield connection
    made.dispose()


def test_a_walk_is_what_was_there_when_it_began(api: Api, database_url: str) -> None:
    """Entries that come between two pages, older times among them, are in no page of a walk that goes on."""
    store(database_url, [make_entry(number) for number in range(40)])
    fresh = iter(range(40, 1000))
    for parameters in ({}, {"order": "asc"}, {"actor": "api-token"}, {"since": "2026-01-01T00:00:00Z", "order": "asc"}):
        expected = walk(api, make_url({"limit": 500, **parameters}))
        seen: list[str] = []
        address: str | None = make_url({"limit": 7, **parameters})
        while address:
            answer = api("GET", address)
            seen += read_ids(answer)
            address = find_next(answer)
            store(database_url, [make_entry(next(fresh)), make_entry(next(fresh), time=START - SECOND)])
        assert seen == expected


def test_the_first_page_shows_everything_at_once(api: Api, app: Flask, database_url: str) -> None:
    """Whether it is sealed or not, what was committed before the request is there."""
    for number in range(10):
        store(database_url, [make_entry(number)])
        if number % 3 == 0:
            seal(app)
        assert numbers(walk(api, "/v1/audit?limit=2")) == list(range(number, -1, -1))


def test_the_last_page_has_no_next(api: Api, database_url: str) -> None:
    """A walk ends where the entries do, also when they fill the last page."""
    store(database_url, [make_entry(number) for number in range(20)])
    assert [len(page) for page in read_pages(api, "/v1/audit?limit=10")] == [10, 10]
    assert [len(page) for page in read_pages(api, "/v1/audit?limit=7")] == [7, 7, 6]
    assert [len(page) for page in read_pages(api, "/v1/audit?limit=0")] == [0]
    assert [len(page) for page in read_pages(api, "/v1/audit?actor=nobody")] == [0]


@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize("sealed", ["never", "before", "between", "settled"])
def test_a_late_commit_is_in_no_page_of_a_walk(
    api: Api, app: Flask, database_url: str, sealed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids drawn early and committed late: the walks go on without them, new ones have them, nothing is twice."""
    if sealed == "settled":
        monkeypatch.setattr(tree, "SLACK_SECONDS", -60)  # the tree is relied on as if a minute had gone by
    orders = ("desc", "asc")
    store(database_url, [make_entry(number) for number in range(10)])
    with transaction(database_url) as late, transaction(database_url) as lost:
        if sealed in ("before", "settled"):
            seal(app)
        insert(late, [make_entry(number) for number in range(10, 15)])
        insert(lost, [make_entry(99)])
        store(database_url, [make_entry(number) for number in range(15, 30)])
        first = {order: api("GET", make_url({"limit": 4, "order": order})) for order in orders}
        if sealed != "never":
            seal(app)
        address = {order: find_next(answer) or "" for order, answer in first.items()}
        second = {order: api("GET", address[order]) for order in orders}
        late.commit()
        lost.rollback()
        store(database_url, [make_entry(number) for number in range(30, 35)])
        assert [api("GET", address[order]).data for order in orders] == [second[order].data for order in orders]
        if sealed != "never":
            seal(app)
    expected = [*range(10), *range(15, 30)]
    for order in orders:
        again = api("GET", address[order])
        assert (again.data, again.headers["Link"]) == (second[order].data, second[order].headers["Link"])
        seen = read_ids(first[order]) + walk(api, address[order])
        assert numbers(seen) == (expected if order == "asc" else expected[::-1])
        assert sorted(numbers(walk(api, make_url({"limit": 4, "order": order})))) == list(range(35))


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_walk_through_what_nobody_seals(api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more unsealed entries than a cursor holds, a walk still misses and repeats none that were there."""
    monkeypatch.setattr(snapshot, "MOST_RANGES", 2)
    with transaction(database_url) as late:
        for number in range(20):
            store(database_url, [make_entry(number)])
            insert(late, [make_entry(100 + number)])
        first = api("GET", "/v1/audit?limit=5&order=asc")
        late.commit()
        store(database_url, [make_entry(number) for number in range(50, 60)])
        address = find_next(first)
        assert address
        seen = numbers(read_ids(first)) + numbers(walk(api, address))
    assert len(seen) == len(set(seen))
    assert [number for number in seen if number < 100] == list(range(20))


def test_a_started_entry_stays_while_the_walk_does(api: Api, database_url: str) -> None:
    """What had begun but not ended is so in all pages of the walk; a new walk shows how it ended."""
    store(database_url, [make_entry(1, outcome="started"), *(make_entry(number) for number in range(2, 9))])
    first = api("GET", "/v1/audit?limit=4")
    address = find_next(first)
    assert address
    before = api("GET", address)
    store(database_url, [{**make_entry(1), "nonce": "e" * 32}])
    assert api("GET", address).data == before.data
    assert before.json[-1]["outcome"] == "started"  # type: ignore[index]
    assert numbers(walk(api, "/v1/audit?limit=4")) == [1, *range(8, 1, -1)]
    assert walk(api, "/v1/audit?outcome=started") == []


def test_a_relative_time_stays_that_of_the_first_page(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`since=2h` means two hours before the first page was read, on every page of it."""
    store(database_url, [make_entry(number) for number in range(10)])
    now = START + 10 * SECOND
    monkeypatch.setattr("yoq_audit.query.times.time.time_ns", lambda: now * 1000)
    first = api("GET", "/v1/audit?limit=4&since=8s")
    now += 5 * SECOND
    address = find_next(first)
    assert address
    assert "since=8s" in address
    seen = numbers(read_ids(first)) + numbers(walk(api, address))
    assert seen == list(range(9, 1, -1))
    assert len(walk(api, "/v1/audit?since=8s")) == 3


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_cursor_serves_its_own_walk_only(api: Api, database_url: str) -> None:
    """Any changed character, other filters or another order: a 400 that says so. The limit may change."""
    store(database_url, [make_entry(number) for number in range(20)])
    given: dict[str, Any] = {"actor": "api-token", "since": "2026-01-01T00:00:00Z", "order": "asc"}
    address = find_next(api("GET", make_url({**given, "limit": 5})))
    assert address
    cursor = address.rpartition("cursor=")[2]
    assert numbers(walk(api, make_url({**given, "limit": 3, "cursor": cursor}))) == list(range(5, 20))
    for at, character in enumerate(cursor):
        for other in {"A" if character != "A" else "B", "_" if character != "_" else "-", ""}:
            changed = cursor[:at] + other + cursor[at + 1 :]
            answer = api("GET", make_url({**given, "cursor": changed}))
            assert (answer.status_code, answer.json["error"]) == (400, "invalid cursor"), changed  # type: ignore[index]
    for changes in ({"order": "desc"}, {"actor": "ci"}, {"actor": ["api-token", "ci"]}, {"since": "1w"}, {"node": "a"}):
        answer = api("GET", make_url({**given, **changes, "cursor": cursor}))
        assert (answer.status_code, answer.json["error"]) == (400, "invalid cursor"), changes  # type: ignore[index]
        assert "other filters" in answer.json["detail"]  # type: ignore[index]
    without = {name: value for name, value in given.items() if name != "since"}
    assert api("GET", make_url({**without, "cursor": cursor})).status_code == 400


def test_old_clients_can_page_too(api: Api, database_url: str) -> None:
    """Where a client without a User-Agent gets fewer entries than it asked for, the next page begins after those."""
    rows: list[Entry] = [make_entry(number, target="t" * 250) for number in range(400)]
    store(database_url, rows)
    api.client.environ_base.pop("HTTP_USER_AGENT", None)
    times: list[int] = []
    sizes: list[int] = []
    address: str | None = "/v1/audit?limit=400"
    while address:
        answer = api("GET", address)
        times += [shown["recorded_at"] for shown in answer.json or []]
        sizes.append(len(answer.data))
        address = find_next(answer)
    assert times == [row["recorded_at"] for row in reversed(rows)]
    assert len(sizes) > 1
    assert max(sizes) < 64 * 1024
