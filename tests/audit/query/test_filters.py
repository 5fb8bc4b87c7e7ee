"""Filters: every one of them, alone and together, in both orders, against a filter as plain as can be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import yoq_audit
from tests.conftest import Api
from tests.support.commandline import output
from tests.support.filter_oracle import (
    ACTIONS,
    ACTORS,
    GIVEN_DETAILS,
    KINDS,
    MANY,
    NEGATED,
    NETWORKS,
    NODES,
    OUTCOMES,
    PEERS,
    TARGETS,
    expected,
    means,
    trail,
)
from tests.support.trail import SECOND, START, make_url, store, walk
from yoq_audit.query import search
from yoq_audit.query.conditions import find_successor
from yoq_web.times import format_time

FEW = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


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
        "kind": some(KINDS),
        "peer": some([*(peer for peer in PEERS if peer), *NETWORKS]),
        "details": some(GIVEN_DETAILS),
        "not": some(NEGATED),
        "since": st.sampled_from(MOMENTS),
        "until": st.sampled_from(MOMENTS),
    },
)


@FEW
@given(parameters=QUERIES, order=st.sampled_from(["asc", "desc"]), limit=st.sampled_from([1, 7, 50, 500]))
def try_query(api: Api, parameters: dict[str, Any], order: str, limit: int) -> None:
    """Walk through the pages of one query."""
    limit = max(limit, 7) if len(parameters) < 2 else limit
    address = make_url({**parameters, "order": order, "limit": limit})
    if parameters.get("since", "") >= parameters.get("until", "z"):
        assert api("GET", address).get_json()["error"] == "since is not before until"
    else:
        assert walk(api, address) == expected(trail(), parameters, order), parameters


def test_any_filters_in_any_order_show_what_a_plain_filter_would(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for, the pages together are the entries that fulfil all filters, each once, in order."""
    # So few entries are found on the first walk; with these numbers they are looked for in every way there is.
    for name, value in {"FIRST_WALK": 4, "LOOKED_UP": 2, "MOST_LOOKED_UP": 32, "AT_ONCE": 5}.items():
        monkeypatch.setattr(search, name, value)
    try_query(filled)


def test_each_filter_alone(filled: Api) -> None:
    """Each filter with each value, newest and oldest first."""
    single: list[dict[str, Any]] = [{}]
    for name, values in {
        "actor": [*ACTORS, "nobody"],
        "action": ACTIONS,
        "target": [*(target for target in TARGETS if target), *PREFIXES],
        "outcome": [*OUTCOMES[1:], "started"],
        "node": NODES,
        "request_id": ["request-3", "request-none"],
        "kind": KINDS,
        "peer": [*(peer for peer in PEERS if peer), *NETWORKS, "192.0.2.9", "2001:db8:0:1::9"],
        "details": GIVEN_DETAILS,
        "not": NEGATED,
    }.items():
        single += [{name: [value]} for value in values]
    single += [{name: moment} for name in ("since", "until") for moment in MOMENTS]
    for parameters in single:
        for order in ("desc", "asc"):
            address = make_url({**parameters, "order": order, "limit": 100})
            assert walk(filled, address) == expected(trail(), parameters, order), parameters


def test_comparisons_are_other_spellings(filled: Api) -> None:
    """`action!=x` and `details.y=z` mean what `not` and `details` do, also repeated, and on the pages that follow."""
    for written, meant in {
        "action!=secret_list": {"not": ["action=secret_list"]},
        "action!=secret_list&action!=backup&kind=admin": {
            "not": ["action=secret_list", "action=backup"],
            "kind": ["admin"],
        },
        "details.os_user=alice&details.os_user=bob": {"details": ["os_user=alice", "os_user=bob"]},
        "details.os_user!=alice&not=node=node-1": {"not": ["details.os_user=alice", "node=node-1"]},
        "peer=192.0.2.9/24&peer=::ffff:10.1.2.3": {"peer": ["192.0.2.0/24", "10.1.2.3"]},
    }.items():
        wanted = expected(trail(), meant, "desc")
        assert 0 < len(wanted) < MANY
        assert walk(filled, f"/v1/audit?limit=7&{written}") == wanted, written
        assert walk(filled, make_url({**meant, "limit": 7})) == wanted, written


def test_everything_that_takes_filters_shows_the_same(filled: Api, app: Flask) -> None:
    """The list, the counts, the export, its command and a plugin's reading select the same entries."""
    everything = {"since": MOMENTS[0], "until": format_time(START + 10**12)}
    queries: list[dict[str, Any]] = [
        {"peer": ["192.0.2.0/24", "::1"], "kind": ["admin", "token"]},
        {"not": ["action=secret_list", "outcome=ok", "details.scopes=*"]},
        {"details": ["os_user=alice", "os_user=bob"], "not": ["peer=10.0.0.0/8"]},
    ]
    for parameters in queries:
        wanted = sorted(expected(trail(), parameters, "asc"))
        assert wanted
        counted = filled("GET", make_url({**parameters, **everything, "bucket": "7d"}, "/v1/audit/stats")).json
        assert (counted or {})["total"] == len(wanted)
        mine = {row["event_id"] for row in trail()}
        exported = filled("GET", make_url(parameters, "/v1/audit/export")).text.splitlines()
        options = [f"--{name}={value}" for name, values in parameters.items() for value in values]
        written = output(app, "audit", "export", *options).splitlines()
        with app.app_context():
            read = [entry.line for entry in yoq_audit.read_log(**parameters).entries]
        for lines in (exported, written, read):
            shown = {json.loads(line)["event_id"]: json.loads(line)["outcome"] for line in lines}
            # These also have what only began.
            assert sorted(shown.keys() & mine) == sorted({*wanted, *_begun(parameters)}), parameters


def _begun(parameters: dict[str, Any]) -> list[str]:
    return [row["event_id"] for row in trail() if row["outcome"] == "started" and means(row, parameters, set())]


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
    "since": ["", "tomorrow", "2h ", "-2h", "2026-9-21", "2026-02-30", "2026-02-30T00:00:00Z", "25:00", "1e3s", "٣h"],
    "until": ["2y", "10:00x", "T10:00", "yesterday+01:00", "2026-09-21T", "10:00+25:00"],
    "kind": ["", "nobody"],
    "peer": ["", "here", "10.0.0/8", "10.0.0.0/33", "192.0.2.*"],
    "details": ["", "os_user", "=x", "os user=x", "a'=x", "$.x=1", "a..b=1"],
    "not": ["", "action", "other=x", "kind=nobody", "peer=here", "since=2h", "details.=x", "action="],
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
        for query in (
            "other=1",
            "Limit=1",
            "token=x",
            "actor=a&actors=b",
            "actor[]=a",
            "actors!=a",
            "since!=2h",
            "detail.x=y",
        ):
            answer = api("GET", f"{address}?{query}")
            assert answer.status_code == 400
            assert answer.json["error"].startswith("unknown parameter "), query  # type: ignore[index]
        assert api("GET", make_url({"actor": [str(number) for number in range(21)]}, address)).status_code == 400
    for query in ("limit=1", "order=asc", "cursor=x", "bucket=2h", "bucket=1m&since=2d"):
        assert api("GET", f"/v1/audit/stats?{query}").status_code == 400, query


def test_the_end_of_a_prefix() -> None:
    """The end of the range of a prefix is the next text in the order of bytes, and never a surrogate."""
    assert find_successor("db") == "dc"
    assert find_successor("d\ud7ff") == "d\ue000"
    assert find_successor("d\U0010ffff") == "e"
    assert find_successor("\U0010ffff\U0010ffff") is None
    assert find_successor("") is None
