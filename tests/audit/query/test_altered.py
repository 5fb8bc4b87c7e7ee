"""A database that somebody altered is read all the same: the trail must show what was done to it."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import output
from tests.support.tampering import attack, find_entry, make_log


@pytest.mark.parametrize(
    ("member", "value"),
    [("actor_kind", "nobody"), ("actor", ""), ("details", "no JSON"), ("details", "[" * 100_000), ("time", 2**62)],
    ids=["kind", "label", "details", "deep details", "time"],
)
def test_what_nobody_recorded_is_shown_as_it_is(app: Flask, database_url: str, member: str, value: str | int) -> None:
    """One entry that cannot be is no reason to show none: over HTTP, by its id, and at the command line."""
    make_log(app, 3)
    literal = value if isinstance(value, int) else f"'{value}'"
    attack(database_url, f"UPDATE audit_log SET {member} = {literal} WHERE id = {find_entry(database_url, 1)}")
    found = Api(app)("GET", "/v1/audit")
    assert found.status_code == 200
    assert [entry[member] == value for entry in found.json or []] == [False, True, False]
    alone = Api(app)("GET", f"/v1/audit/entries/{(found.json or [])[1]['event_id']}")
    assert (alone.status_code, (alone.json or {})[member]) == (200, value)
    assert output(app, "audit", "list").count("\n") >= 3
