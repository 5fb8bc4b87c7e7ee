"""What SQLite keeps for a while: in memory, where it takes no descriptor, but for what sorts a whole table."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import text

from tests.conftest import Api
from tests.core.operations.test_hot_path import statements
from tests.support.door import behind, entries
from tests.support.limits import no_descriptors
from yoq_web import db
from yoq_web.metrics import current_metrics

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

GROWN = """
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 4000)
    INSERT INTO audit_log (event_id, recorded_at, time, actor, actor_kind, action, target, outcome, node, details,
                           version, nonce)
    SELECT lower(hex(randomblob(18))), n, n * 1000000, lower(hex(randomblob(8))), 'token', 'secret_set',
           lower(hex(randomblob(8))), 'ok', 'x', '{}', 1, 'n' FROM number
"""
"""A log so large that an entry touches many pages."""


def test_entries_are_stored_at_the_end_of_the_descriptors(app: Flask, api: Api, database_url: str) -> None:
    """Where no file can be opened an operation is recorded like any other: its savepoint needs none."""
    behind(database_url, GROWN)
    answers = [api("POST", "/v1/secrets", json={"name": f"s{number}", "value": "x"}) for number in range(3)]
    with no_descriptors():
        answers += [api("POST", "/v1/secrets", json={"name": f"n{number}", "value": "x"}) for number in range(200)]
    assert {answer.status_code for answer in answers} == {200}
    assert current_metrics(app).registry.get_sample_value("yoq_audit_failures_total") == 0
    assert [answer.headers["Audit-Id"] for answer in answers] == [
        entry["event_id"] for entry in entries(database_url)[4000:]
    ]


def test_what_sorts_a_whole_table_does_so_in_files(app: Flask, api: Api) -> None:
    """Counting the trail fills no memory; whoever has the connection next is back at the rule."""
    with statements(app) as heard:
        assert api("GET", "/v1/audit/stats").status_code == 200
    assert [line for line in heard if "temp_store" in line] == ["PRAGMA temp_store=FILE", "PRAGMA temp_store=MEMORY"]
    with app.app_context():
        assert db.session.scalar(text("PRAGMA temp_store")) == 2
