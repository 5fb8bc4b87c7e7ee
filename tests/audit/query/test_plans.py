"""How entries are found: an index for every query, and the better way whether a filter selects much or little."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from tests.support.trail import START, make_entry, store
from yoq_audit.query import pages, snapshot
from yoq_audit.query.filters import PARAMETERS, FilterQuery
from yoq_audit.query.search import Finder
from yoq_audit.query.statistics import StatsQuery, count_entries
from yoq_web import db
from yoq_web.times import format_time

SINGLE: list[dict[str, Any]] = [
    {},
    {"actor": ["ci"]},
    {"action": ["secret_set"]},
    {"target": ["target-7"]},
    {"target": ["target-7*"]},
    {"outcome": ["ok"]},
    {"outcome": ["failed"]},
    {"outcome": ["started"]},
    {"node": ["node-1"]},
    {"request_id": ["request-7"]},
    {"kind": ["admin"]},
    {"kind": ["local"]},
    {"peer": ["192.0.2.7"]},
    {"peer": ["2001:db8::7"]},
    {"peer": ["192.0.2.0/24"]},
    {"peer": ["2001:db8::/32"]},
    {"details": ["os_user=alice"]},
    {"not": ["action=secret_set"]},
    {"not": ["kind=admin", "kind=local"]},
    {"not": ["outcome=ok"]},
    {"not": ["outcome=failed"]},
    {"not": ["target=target-7*"]},
    {"not": ["details.os_user=alice"]},
    {"since": format_time(START)},
    {"until": format_time(START)},
]
COMBINED: list[dict[str, Any]] = [
    {"actor": ["ci", "local"], "since": format_time(START), "until": format_time(START + 10**9)},
    {"target": ["target-7*", "other", "x*"], "outcome": ["failed", "denied"]},
    {"peer": ["192.0.2.0/24"], "not": ["action=secret_list"], "since": format_time(START)},
]


@contextmanager
def reading(app: Flask) -> Iterator[Session]:
    """A session of the application."""
    with app.app_context():
        session = db.session()
        if session.get_bind().dialect.name != "sqlite":
            session.execute(text("ANALYZE audit_log"))
        yield session
        db.session.remove()


def plans(session: Session, run: Callable[[], object]) -> list[str]:
    """The plan of every statement on the trail that `run` executes, for the values it executes it with."""
    connection = session.connection()
    on_sqlite = connection.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN " if on_sqlite else "EXPLAIN "
    heard: list[tuple[str, Any]] = []
    driver: Any = session.get_bind()

    def hear(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        # The log's keys, of which the first is looked for beside its last id, are few and are sorted.
        walks = "FROM audit_log" in statement and "FROM audit_key" not in statement
        if walks and not statement.startswith("EXPLAIN"):
            heard.append((statement, values))

    event.listen(driver, "before_cursor_execute", hear)
    try:
        run()
    finally:
        event.remove(driver, "before_cursor_execute", hear)
    assert heard
    found = []
    if not on_sqlite:
        # A table of a few pages is read whole whatever indexes there are.
        session.execute(text("SET enable_seqscan = off"))
    for statement, values in heard:
        rows = session.connection().exec_driver_sql(explain + statement, values).all()
        found.append("\n".join(str(row[-1]) for row in rows))
    return found


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_every_query_has_an_index(app: Flask, database_url: str, order: pages.Order) -> None:
    """Each filter in each order, on the first page and a later one: the table is never read whole, nor sorted."""
    assert {name for parameters in SINGLE for name in parameters} == {one.name for one in PARAMETERS}
    store(database_url, [make_entry(number) for number in range(3000)])
    with reading(app) as session:
        for parameters in [*SINGLE, *COMBINED]:
            filters = FilterQuery(**parameters).resolve()
            first = pages.read_page(session, filters, limit=5, order=order)
            read = functools.partial(pages.read_page, session, filters, limit=5, order=order)
            following = functools.partial(read, cursor=first.cursor)
            for plan in [*plans(session, read), *plans(session, following)]:
                assert "Seq Scan" not in plan, (parameters, plan)
                # On SQLite the table is the index of ids: to scan it is to walk, unless the order is another.
                assert "SCAN audit_log" not in plan.splitlines() or not filters.timed, (parameters, plan)
                assert "SCAN ended" not in plan, (parameters, plan)
                assert "TEMP B-TREE" not in plan, (parameters, plan)


def test_counting_has_an_index(app: Flask, database_url: str) -> None:
    """The statistics of a day are read over the index of times."""
    store(database_url, [make_entry(number) for number in range(3000)])
    with reading(app) as session:
        [plan] = plans(session, lambda: count_entries(session, StatsQuery(), START + 10**9))
        assert "ix_audit_log_time" in plan
        assert "Seq Scan" not in plan


def tried(session: Session, **parameters: Any) -> list[str]:
    """The ways that were tried to find a page."""
    finder = Finder(session, FilterQuery(**parameters).resolve())
    snapshot.begin_reading(session)
    assert finder.find(10)
    return finder.tried


def test_a_frequent_prefix_is_walked_and_a_rare_one_looked_up(app: Flask, database_url: str) -> None:
    """A prefix that most targets have is found on the way, one that few old ones have by its index; with times too."""
    store(
        database_url,
        [make_entry(number, target="rare-1" if number < 20 else f"app-{number}") for number in range(5000)],
    )
    since = format_time(START)
    with reading(app) as session:
        assert tried(session, target=["app-*"]) == ["walk"]
        assert tried(session, target=["app-*"], since=since) == ["walk"]
        assert tried(session, target=["rare-*"]) == ["walk", "look up target"]
        assert tried(session, target=["rare-*"], since=since, actor=["api-token"]) == ["walk", "look up target"]
        assert tried(session, target=["rare-*"], until=format_time(START + 10**11)) == ["walk", "look up target"]


def test_networks_and_what_is_left_out_are_looked_up_where_they_are_rare(app: Flask, database_url: str) -> None:
    """A few old entries are found by the index of peers, of kinds and of outcomes, whatever it is that tells them."""
    store(
        database_url,
        [
            make_entry(
                number,
                peer=f"192.0.2.{number}" if number < 20 else f"198.51.100.{number % 250}",
                actor_kind="local" if number < 20 else "admin",
                action="backup" if number < 20 else "secret_list",
                outcome="failed" if number < 20 else "ok",
                details='{"os_user":"alice"}' if number < 20 else "{}",
            )
            for number in range(5000)
        ],
    )
    with reading(app) as session:
        assert tried(session, kind=["local"]) == ["index kind"]
        assert tried(session, peer=["192.0.2.0/24"]) == ["walk", "look up peer"]
        assert tried(session, peer=["198.51.0.0/16"]) == ["walk"]
        assert tried(session, **{"not": ["kind=admin"]}) == ["walk", "look up kind!"]
        assert tried(session, **{"not": ["action=secret_list", "action=other"]}) == ["walk", "look up action!"]
        assert tried(session, **{"not": ["outcome=ok"]}) == ["walk", "look up outcome!"]
        assert tried(session, **{"not": ["kind=local"]}) == ["walk"]
        assert tried(session, **{"not": ["peer=198.51.0.0/16"]}) == ["walk"]
        assert tried(session, details=["os_user=alice"]) == ["walk"]
        assert tried(session, details=["os_user=alice"], peer=["192.0.2.0/24"])[-1] == "look up peer"
        for parameters in ({"peer": ["192.0.2.0/24"]}, {"not": ["kind=admin"]}, {"not": ["outcome=ok"]}):
            finder = Finder(session, FilterQuery(**parameters).resolve())
            finder.find(10)
            for plan in plans(session, functools.partial(finder.find, 10)):
                assert "Seq Scan" not in plan
            looked_up = plans(
                session, functools.partial(finder._look_up, finder._find_shape(), finder.indexed[0], 1000)
            )
            assert all("ix_audit_log_" in plan for plan in looked_up), (parameters, looked_up)


def test_a_value_is_found_in_the_order_of_its_index(app: Flask, database_url: str) -> None:
    """One value, or several, of one filter need neither a walk nor a sort."""
    store(
        database_url, [make_entry(number, actor="ci" if number % 100 == 0 else "api-token") for number in range(3000)]
    )
    with reading(app) as session:
        assert tried(session, actor=["ci"]) == ["index actor"]
        assert tried(session, actor=["ci", "api-token"]) == ["index actor"] * 2
        assert tried(session, outcome=["ok"]) == ["walk"]
