"""What filters mean, row by row in Python: the answer that the trail has to give."""

from __future__ import annotations

import functools
import json
from ipaddress import ip_network
from typing import Any

from tests.support.trail import SECOND, START, Entry, make_entry
from yoq_web import dumps
from yoq_web.times import format_time

ACTORS = ["api-token", "ci", "local", "Ci"]
ACTIONS = ["secret_set", "secret_list", "backup"]
TARGETS = ["db", "db/a", "db/b", "DB", "d", "d%b", "d_b", "dé", "d\ud7ff", "d\ue000", "d\U0010ffff", "z*", "*", None]
OUTCOMES = ["ok", "ok", "failed", "denied", "interrupted"]
NODES = ["node-1", "node-2"]
KINDS = ["admin", "token", "local"]
PEERS = [
    "192.0.2.7",
    "192.0.2.70",
    "192.0.20.7",
    "10.1.2.3",
    "2001:db8:0:1::5",
    "2001:db8:0:1::/64",
    "::1",
    "others",
    None,
]
NETWORKS = [
    "192.0.2.0/24",
    "192.0.2.0/25",
    "192.0.0.0/16",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "2001:db8::/32",
    "2001:db8:0:1::/64",
    "::/0",
]
DETAILS: list[dict[str, Any]] = [
    {},
    {"os_user": "alice"},
    {"os_user": "bob", "count": 3},
    {"scopes": ["*", "a:read"], "before": {"os_user": "alice", "count": 3}},
    {"note": 'x","os_user":"alice', "count": "3", "last": True, "none": None},
]
GIVEN_DETAILS = [
    "os_user=alice",
    "before.os_user=alice",
    "count=3",
    "last=true",
    "none=null",
    "scopes=a:read",
    "os_user=x",
]

NEGATED = [
    "actor=ci",
    "action=secret_list",
    "target=db*",
    "target=d",
    "outcome=ok",
    "outcome=failed",
    "node=node-1",
    "request_id=request-3",
    "kind=admin",
    "peer=192.0.2.0/24",
    "peer=10.1.2.3",
    "details.os_user=alice",
    "details.scopes=*",
]

MANY = 120


@functools.cache
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
            actor_kind=KINDS[number // 5 % len(KINDS)],
            peer=PEERS[number * 2 % len(PEERS)],
            details=dumps(DETAILS[number * 3 % len(DETAILS)]),
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
    found = [(number, row) for number, row in enumerate(rows) if means(row, parameters, ended)]
    if {"since", "until"} & parameters.keys():
        found.sort(key=lambda one: (one[1]["time"], one[0]))
    ids = [row["event_id"] for _, row in found]
    return ids[::-1] if order == "desc" else ids


def means(row: Entry, parameters: dict[str, Any], ended: set[str]) -> bool:
    """Tell whether the filters mean a row; `ended` has the ids of events that are no longer only begun."""
    if row["outcome"] == "started" and row["event_id"] in ended:
        return False
    for name, values in parameters.items():
        if name == "since":
            if format_time(row["time"]) < values:
                return False
        elif name == "until":
            if format_time(row["time"]) >= values:
                return False
        elif name == "not":
            if any(_fulfils(row, *_read_not(text)) for text in values):
                return False
        elif not _fulfils(row, name, values):
            return False
    return True


def _read_not(text: str) -> tuple[str, list[str]]:
    name, _, value = text.partition("=")
    return ("details", [text.removeprefix("details.")]) if "." in name else (name, [value])


def _fulfils(row: Entry, name: str, values: list[str]) -> bool:
    if name != "details":
        return any(_matches(row[COLUMNS.get(name, name)], value, name) for value in values)
    # Several details must all be there, each with any of its values.
    wanted: dict[str, list[str]] = {}
    for text in values:
        wanted.setdefault(text.partition("=")[0], []).append(text.partition("=")[2])
    return all(any(_has_detail(row, key, value) for value in given) for key, given in wanted.items())


COLUMNS = {"kind": "actor_kind"}


@functools.cache
def _matches(stored: str | None, value: str, name: str) -> bool:
    if stored is not None and name == "target" and value.endswith("*"):
        return stored.encode().startswith(value[:-1].encode())
    if stored not in (None, "others") and name == "peer" and value != "others":
        found, wanted = ip_network(stored), ip_network(value)
        counted = wanted.version == 6 and wanted.prefixlen == 128 and stored == str(wanted.supernet(new_prefix=64))
        return counted or (found.version == wanted.version and found.subnet_of(wanted))  # type: ignore[arg-type]
    return stored == value


def _has_detail(row: Entry, key: str, value: str) -> bool:
    found = json.loads(row["details"])
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    listed = found if isinstance(found, list) else [found]
    return any(value == (each if isinstance(each, str) else json.dumps(each)) for each in listed)
