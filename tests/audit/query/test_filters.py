"""Filters: every one of them, alone and together, in both orders, against a filter as plain as can be."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import ADMIN, Api
from tests.support.trail import SECOND, START, Entry, make_entry, make_url, store, walk
from yoq_audit.query import search
from yoq_audit.query.filters import find_successor
from yoq_web.times import format_time

ACTORS = ["api-token", "ci", "local", "Ci"]
ACTIONS = ["secret_set", "secret_list", "backup"]
TARGETS = ["db", "db/a", "db/b", "DB", "d", "d%b", "d_b", "dé", "d\ud7ff", "d\ue000", "d\U0010ffff", "z*", "*", None]
OUTCOMES = ["ok", "ok", "failed", "denied", "interrupted"]
NODES = ["node-1", "node-2"]

FEW = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

MANY = 120


def trail() -> list[Entry]:
    """Entries of all kinds. Some were stored long after their time; some only began, and of those some ended."""
    rows = [
        make_entry(
            number,
            actor=ACTORS[number * 7 % len(ACTORS)],
            action=ACTIONS[number * 5 % len(ACTIONS)],
            target=TARGETS[number * 3 % len(TARGETS)],
            outcome=OUTCOMES[number * 11 % len(OUTCOMES)],
            node=NODES[number // 7 % len(NODES)],
            request_id=None if number % 4 == 0 else f"request-{number // 3}",
            time=START + (number - (50 if number % 10 == 0 else 0)) * SECOND + number % 3,
        )
        for number in range(MANY)
    ]
    begun = [make_entry(MANY + number, outcome="started", action="backup") for number in range(6)]
    ended = [{**row, "outcome": "failed", "time": row["time"] + SECOND, "nonce": "e" * 32} for row in begun[::2]]
    return [*rows[:60], *begun, *rows[60:], *ended]


def expected(rows: list[Entry], parameters: dict[str, Any], order: str) -> list[str]:
    """The ids of the events that a query ought to show, in order."""
    ended = {row["event_id"] for row in rows if row["outcome"] != "started"}
    found = [(number, row) for number, row in enumerate(rows) if _meant(row, parameters, ended)]
    if {"since", "until"} & parameters.keys():
        found.sort(key=lambda one: (one[1]["time"], one[0]))
    ids = [row["event_id"] for _, row in found]
    return ids[::-1] if order == "desc" else ids


def _meant(row: Entry, parameters: dict[str, Any], ended: set[str]) -> bool:
    if row["outcome"] == "started" and row["event_id"] in ended:
        return False
    for name, values in parameters.items():
        if name == "since":
            if format_time(row["time"]) < values:
                return False
        elif name == "until":
            if format_time(row["time"]) >= values:
                return False
        elif not any(_matches(row[name], value, name) for value in values):
            return False
    return True


def _matches(stored: str | None, value: str, name: str) -> bool:
    if stored is not None and name == "target" and value.endswith("*"):
        return stored.encode().startswith(value[:-1].encode())
    return stored == value


@pytest.fixture
def filled(api: Api, database_url: str) -> Api:
    """A client of an application with a trail of all kinds of entries."""
    store(database_url, trail())
    return api


MOMENTS = [format_time(START + number * SECOND) for number in (-100, 0, 1, 30, 31, 90, MANY, 2 * MANY)]
PREFIXES = ["d*", "db*", "db/*", "d%*", "dé*", "d\ud7ff*", "d\U0010ffff*", "*", "z**", "x*"]


def some(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    """One to three of the values."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "actor": some([*ACTORS, "nobody"]),
        "action": some(ACTIONS),
        "target": some([target for target in TARGETS if target] + PREFIXES),
        "outcome": some(["ok", "failed", "denied", "interrupted", "started"]),
        "node": some([*NODES, "node-3"]),
        "request_id": some([f"request-{number}" for number in range(5)]),
        "since": st.sampled_from(MOMENTS),
        "until": st.sampled_from(MOMENTS),
    },
)


@FEW
@given(parameters=QUERIES, order=st.sampled_from(["asc", "desc"]), limit=st.sampled_from([1, 7, 50, 500]))
def try_query(api: Api, rows: list[Entry], parameters: dict[str, Any], order: str, limit: int) -> None:
    """Walk through the pages of one query."""
    limit = max(limit, 7) if len(parameters) < 2 else limit
    address = make_url({**parameters, "order": order, "limit": limit})
    assert walk(api, address) == expected(rows, parameters, order), parameters


def test_any_filters_in_any_order_show_what_a_plain_filter_would(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for, the pages together are the entries that fulfil all filters, each once, in order."""
    # So few entries are found on the first walk; with these numbers they are looked for in every way there is.
    for name, value in {"FIRST_WALK": 4, "LOOKED_UP": 2, "MOST_LOOKED_UP": 32, "AT_ONCE": 5}.items():
        monkeypatch.setattr(search, name, value)
    try_query(filled, trail())


def test_each_filter_alone(filled: Api) -> None:
    """Each filter with each value, newest and oldest first."""
    rows = trail()
    single: list[dict[str, Any]] = [{}]
    for name, values in {
        "actor": [*ACTORS, "nobody"],
        "action": ACTIONS,
        "target": [*(target for target in TARGETS if target), *PREFIXES],
        "outcome": [*OUTCOMES[1:], "started"],
        "node": NODES,
        "request_id": ["request-3", "request-none"],
    }.items():
        single += [{name: [value]} for value in values]
    single += [{name: moment} for name in ("since", "until") for moment in MOMENTS]
    for parameters in single:
        for order in ("desc", "asc"):
            address = make_url({**parameters, "order": order, "limit": 100})
            assert walk(filled, address) == expected(rows, parameters, order), parameters


def test_a_time_before_now(api: Api, app: Flask) -> None:
    """`2h` is two hours before now; seconds, minutes, hours, days and weeks are known."""
    assert api("GET", "/v1/secrets").status_code == 200
    for since, count in {"60s": 1, "5m": 1, "2h": 1, "7d": 1, "1w": 1, "0s": 0}.items():
        assert len(api("GET", f"/v1/audit?since={since}").json or []) == count, since
    for until, count in {"60s": 0, "1w": 0}.items():
        assert len(api("GET", f"/v1/audit?until={until}").json or []) == count, until


def test_times_are_rfc_3339(filled: Api) -> None:
    """Offsets, fractions, lower case, and a plus sign that was not escaped, are understood."""
    wanted = walk(filled, make_url({"since": format_time(START + 30 * SECOND), "limit": 500}))
    assert 0 < len(wanted) < MANY
    for written in ("2026-09-21T14:13:50Z", "2026-09-21T14:13:50.000000000z", "2026-09-21t15:13:50%2B01:00"):
        assert walk(filled, f"/v1/audit?limit=500&since={written}") == wanted, written
    assert walk(filled, "/v1/audit?limit=500&since=2026-09-21T15:13:50+01:00") == wanted


BAD = {
    "since": ["", "yesterday", "2h ", "-2h", "2026-09-21", "2026-02-30T00:00:00Z", "2026-09-21T14:13:50", "1e3s", "٣h"],
    "until": ["2y", "0001-01-01T00:00:00"],
    "outcome": ["", "OK", "bad"],
    "order": ["", "down", "DESC"],
    "actor": ["", "a\0", "x" * 257],
    "action": [""],
    "target": ["", "\0*"],
    "node": [""],
    "request_id": [""],
    "cursor": ["", "x", "é", "AAAA", "a" * 1_000],
}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_cannot_be_meant_is_a_400_that_names_the_parameter(api: Api) -> None:
    """An unknown parameter and a bad value are refused by name, in the list and in the statistics."""
    for name, values in BAD.items():
        for value in values:
            answer = api("GET", make_url({name: value}))
            assert answer.status_code == 400, (name, value)
            assert name in answer.json["error"], (name, value)  # type: ignore[index]
    for address in ("/v1/audit", "/v1/audit/stats"):
        for query in ("other=1", "Limit=1", "token=x", "actor=a&actors=b", "actor[]=a"):
            answer = api("GET", f"{address}?{query}")
            assert answer.status_code == 400
            assert answer.json["error"].startswith("unknown parameter "), query  # type: ignore[index]
        assert api("GET", make_url({"actor": [str(number) for number in range(21)]}, address)).status_code == 400
    for query in ("limit=1", "order=asc", "cursor=x", "bucket=2h", "bucket=1m&since=2d"):
        assert api("GET", f"/v1/audit/stats?{query}").status_code == 400, query
    assert api.with_token(ADMIN)("GET", "/v1/audit?limit=abc").status_code == 200


def test_the_end_of_a_prefix() -> None:
    """The end of the range of a prefix is the next text in the order of bytes, and never a surrogate."""
    assert find_successor("db") == "dc"
    assert find_successor("d\ud7ff") == "d\ue000"
    assert find_successor("d\U0010ffff") == "e"
    assert find_successor("\U0010ffff\U0010ffff") is None
    assert find_successor("") is None
