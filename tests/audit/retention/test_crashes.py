"""A fault at statements of pruning and erasing: what is missing was announced, and what was announced gets done."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import psycopg
import pytest
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from tests.core.operations.test_faults import faulty
from tests.support.door import acting, behind
from tests.support.retention import make_old_event, store
from tests.support.tampering import seal
from yoq_audit.retention import announcements, eraser, pruner
from yoq_audit.storage.tombstones import find_minimum
from yoq_audit.verification.commands import verify_log
from yoq_web import Problem, db
from yoq_web.operations.replay import replay

LEFT = "SELECT event_id FROM audit_log WHERE action = 'retention_test' ORDER BY id"
UNDER = "SELECT 1 FROM audit_leaf WHERE leaf_index < (SELECT max(minimum) FROM audit_minimum)"


@pytest.mark.parametrize("what", ["prune", "erase"])
def test_a_fault_at_a_statement(app: Flask, database_url: str, what: str) -> None:
    """Wherever it stops, nothing is missing that is not announced; and what was announced is done afterwards.

    At some of the statements on each database, and other ones: all of them take a minute.
    """

    def prepared() -> Callable[[], object]:
        """What is to be done, as far as it only reads."""
        if what == "erase":
            found = eraser.find_erasable(behind(database_url, LEFT)[0]["event_id"])
            return lambda: eraser.erase(found, "asked")
        planned = pruner.prepare_plan(-60)  # the announcements before it, too
        planned.extend()
        assert planned.reached > planned.before

        def act() -> None:
            pruner.announce(planned, "1d", "test")
            pruner.complete_removals()

        return act

    with app.app_context():
        engine = db.engine
    wanted = 256 if what == "prune" else 40
    step = 3 if engine.dialect.name == "sqlite" else 4
    reached, number, faults, done = True, 0, 0, 0
    with faulty(engine) as fault:
        while reached:
            number += step
            assert number < 100, "it never ended"
            if (there := len(behind(database_url, LEFT))) < (wanted if what == "prune" else 1):
                store(app, [make_old_event(3 * 86400, number) for number in range(wanted)], sealed=0)
                there += wanted
            with acting(app):
                act = prepared()
                fault.arm(number)
                try:
                    act()
                except (SQLAlchemyError, Problem, sqlite3.Error, psycopg.Error):
                    faults += 1
                reached = fault.heard >= number
                fault.arm(None)
            with acting(app):
                assert verify_log().ok, number
                replay()
                seal(app)
                assert pruner.complete_removals()
            done += len(behind(database_url, LEFT)) < there
            assert behind(database_url, UNDER) == []
    assert faults > 20 / step
    assert done > 12 / step
    with acting(app):
        assert verify_log().ok
        found = announcements.find_newest_pruning(db.session())
        assert found is None or found.minimum == find_minimum(db.session()) > 0
        assert announcements.find_sealed_erasures(db.session()) == []
