"""External operations while nothing can be recorded: nothing is lost, nothing is begun or stored without a record."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.conftest import Api, MakeApp
from tests.core.operations.test_external import POLICY, intents, rows
from tests.core.operations.test_failure_policy import no_audit_log, spooled
from tests.support.depot import Depot, depot_push, depot_strict
from tests.support.door import acting, behind, entries, policies
from tests.support.limits import break_spool
from tests.support.plugins import Made
from yoq_web import Denied, Event
from yoq_web.operations import external
from yoq_web.operations.failure_policy import NotRecorded, OutcomeNotRecorded
from yoq_web.operations.mac import INTENTS
from yoq_web.operations.replay import replay
from yoq_web.operations.spool import current_spool
from yoq_web.operations.spool_file import FILE

TRAIL_AWAY, TRAIL_BACK = (
    "ALTER TABLE audit_log RENAME TO audit_log_away",
    "ALTER TABLE audit_log_away RENAME TO audit_log",
)


def recover(app: Flask) -> None:
    """Record what waits, as the pulse does."""
    with app.app_context():
        replay()


def shown(app: Flask, event_id: str) -> tuple[Any, ...]:
    """Outcome, and where the entry is stored if not in the log, as one entry is read."""
    found = Api(app)("GET", f"/v1/audit/entries/{event_id}").json or {}
    return found["outcome"], found.get("stored")


def test_an_intent_that_cannot_be_stored_is_on_disk_first(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """By the policy `spool` the effect takes place, after its intent is in the spool; both entries are stored later."""
    app = make_app(Depot())
    with no_audit_log(database_url):
        with acting(app), depot_push.undertaken("north") as undertaking:
            event_id = undertaking.event.id
            assert [(line["event"]["id"], line["event"]["outcome"]) for line in spooled(tmp_path)] == [
                (event_id, "started")
            ]
        assert [line["event"]["outcome"] for line in spooled(tmp_path)] == ["started", "ok"]
        assert intents(tmp_path) == []
    assert shown(app, event_id) == ("ok", "spool")
    recover(app)
    assert rows(database_url) == [(event_id, "started"), (event_id, "ok")]
    assert (shown(app, event_id), spooled(tmp_path)) == (("ok", None), [])


def test_an_outcome_that_cannot_be_stored_is_kept(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """An outcome goes to the spool even where the policy is to refuse: its effect has taken place."""
    app = make_app(Depot())
    for operation in (depot_push, depot_strict):
        with acting(app), operation.undertaken("north") as undertaking:
            away = no_audit_log(database_url)
            away.__enter__()
        away.__exit__(None, None, None)
        event_id = undertaking.event.id
        assert [(line["event"]["id"], line["event"]["outcome"]) for line in spooled(tmp_path)] == [(event_id, "ok")]
        assert (shown(app, event_id), intents(tmp_path)) == (("ok", "spool"), [])
        assert Api(app)("GET", f"/v1/audit/entries/{event_id}/proof").status_code == 503
        recover(app)
        assert rows(database_url)[-2:] == [(event_id, "started"), (event_id, "ok")]


def test_with_refuse_nothing_happens_unrecorded(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """By the policy `refuse` there is no effect without a stored intent, and the refusal is recorded as `failed`."""
    app = make_app(Depot())
    effects: list[str] = []
    with no_audit_log(database_url), acting(app), pytest.raises(NotRecorded), depot_strict.undertaken("north"):
        effects.append("pushed")
    (tmp_path / INTENTS).rmdir()
    (tmp_path / INTENTS).write_text("in the way of what a crash would need")
    with acting(app), pytest.raises(NotRecorded), depot_strict.undertaken("south"):
        effects.append("pushed")
    recover(app)
    assert effects == []
    found = [(entry["target"], entry["outcome"]) for entry in entries(database_url)]
    assert sorted(found) == [("north", "failed"), ("south", "failed")]
    with capture_logs() as logs, acting(app), depot_push.undertaken("west"):
        effects.append("pushed")  # the policy `spool` goes on, and says what that means
    assert effects == ["pushed"]
    assert "after a crash this would stay open" in [line["event"] for line in logs]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_database_that_is_gone_stops_no_restore(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Without any database the plugins are asked, the effect takes place, and all of it is recorded afterwards."""
    app = make_app(depot := Depot())
    file, away = tmp_path / "yoq.db", tmp_path / "away.db"
    file.rename(away)
    with acting(app), depot_push.undertaken("north") as undertaking:
        assert [line["event"]["outcome"] for line in spooled(tmp_path)] == ["started"]
        away.rename(file)
    event_id = undertaking.event.id
    recover(app)
    assert sorted(rows(database_url)) == [(event_id, "ok"), (event_id, "started")]
    depot.veto = ValueError("no")
    file.rename(away)
    refused = pytest.raises(Denied, match="refused because the plugin depot failed")
    with acting(app), refused, depot_push.undertaken("south"):
        raise AssertionError("unreachable: it was refused")
    away.rename(file)


def test_an_outcome_that_is_nowhere_is_not_forgotten(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """If neither database nor disk takes the outcome, its intent stays for the next process to sweep, not this one.

    The caller is told that it took place and is not recorded.
    """
    app = make_app(Depot(lambda: (behind(database_url, TRAIL_AWAY), break_spool(tmp_path))))
    answer = Api(app)("POST", "/v1/depot/north")
    behind(database_url, TRAIL_BACK)
    assert (answer.status_code, answer.get_json()["error"]) == (503, "the outcome could not be recorded")
    assert "Audit-Id" not in answer.headers
    [left] = intents(tmp_path)
    event_id = left.removesuffix(".json")
    assert event_id in answer.get_json()["detail"]
    with app.app_context():
        external.sweep()
    assert intents(tmp_path) == [left]
    recover(app)  # the database takes it now, the disk still does not
    assert shown(app, event_id) == ("ok", None)
    (tmp_path / FILE).rmdir()
    for handle in Path("/proc/self/fd").iterdir():  # as the end of the process does
        if os.path.realpath(handle).endswith(left):
            os.close(int(handle.name))
    with app.app_context():
        external.sweep()
    assert (shown(app, event_id), intents(tmp_path)) == (("ok", None), [])


def test_a_change_is_not_stored_without_an_outcome(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """What the block left to be changed needs a record as any change does, but not with `continue`."""
    for policy, stored in (("spool", []), ("refuse", []), ("continue", ["a"])):
        app = make_app(Depot(), YOQ_AUDIT_FAILURE=policy)
        told = nullcontext() if stored else pytest.raises(OutcomeNotRecorded)
        with told, acting(app), depot_push.undertaken("north") as undertaking:
            undertaking.at_the_end(lambda session: session.execute(text(POLICY)))
            behind(database_url, TRAIL_AWAY)
            break_spool(tmp_path)
        behind(database_url, TRAIL_BACK)
        (tmp_path / FILE).rmdir()
        assert policies(database_url) == stored
        recover(app)
        outcome = "ok" if stored else "failed"
        assert rows(database_url)[-2:] == [(undertaking.event.id, "started"), (undertaking.event.id, outcome)]


def test_an_intent_that_is_nowhere_begins_nothing(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Without an intent on a disk there is no effect, and nothing for a sweep; with `continue` there is."""
    effects: list[str] = []
    for policy, status in (("spool", 503), ("refuse", 503), ("continue", 200)):
        app = make_app(Depot(lambda: effects.append("pushed")), YOQ_AUDIT_FAILURE=policy)
        with no_audit_log(database_url):
            break_spool(tmp_path)
            answer = Api(app)("POST", "/v1/depot/north")
            (tmp_path / FILE).rmdir()
        assert (answer.status_code, "Audit-Id" in answer.headers) == (status, False)
        assert len(effects) == len(intents(tmp_path)) == (status == 200)
        recover(app)
    assert [outcome for _, outcome in rows(database_url)] == ["failed", "failed", "started", "ok"]


FORGED = (
    "INSERT INTO audit_log (event_id, recorded_at, time, actor, actor_kind, action, target, outcome, node, details, "
    "version, nonce) VALUES ('{id}', {seconds}, {time}, 'mallory', 'token', '{action}', 'elsewhere', '{outcome}', 'x', "
    "'{{}}', 1, 'n')"
)


@pytest.mark.parametrize("outcome", ["started", "ok"])
def test_a_forged_entry_keeps_none_out(make_app: MakeApp, database_url: str, outcome: str) -> None:
    """A recorder that stores an entry under another's id is found out: loudly, or with `refuse` nothing is changed."""

    def forge(event: Event, session: Any) -> None:
        if event.outcome == outcome and event.operation.name == "depot_push":
            values = {"id": event.id, "seconds": event.time // 10**6, "time": event.time}
            forged = FORGED.format(**values, action=event.operation.name, outcome=event.outcome)
            session.connection().exec_driver_sql(forged)

    strict = make_app(Depot(), Made("forger", yoq_record_operation=forge), YOQ_AUDIT_FAILURE="refuse")
    answer = Api(strict)("POST", "/v1/depot/north")
    if outcome == "started":
        assert answer.status_code == 503
        assert [entry["outcome"] for entry in entries(database_url)] == ["failed"]
    else:  # too late to refuse
        assert answer.status_code == 200
        assert Api(strict)("GET", "/health").json == {"status": "degraded", "spool": 1}
        recover(strict)
        assert Api(strict)("GET", "/health").json == {"status": "degraded", "spool": 1}
    assert "mallory" not in [entry["actor"] for entry in entries(database_url) if entry["outcome"] == "failed"]


def test_a_replay_takes_what_is_there_for_the_same(make_app: MakeApp, database_url: str) -> None:
    """After a crash a stored event comes again: it is stored once; another one under its id is never taken for it."""
    app = make_app(Depot())
    Api(app)("POST", "/v1/depot/north")
    [row] = [row for row in entries(database_url) if row["outcome"] == "ok"]
    document = {
        "id": row["event_id"],
        "operation": row["action"],
        "actor": {"kind": row["actor_kind"], "label": row["actor"]},
        "details": json.loads(row["details"]),
        **{name: row[name] for name in ("target", "time", "request_id", "node", "peer", "outcome", "reason")},
    }
    spool = current_spool(app)
    for changed, waiting in (
        ({}, 0),
        ({"outcome": "failed", "doubtful": True}, 0),
        ({"outcome": "interrupted", "details": {}, "doubtful": True}, 0),
        ({"outcome": "failed"}, 1),
        ({"target": "elsewhere", "doubtful": True}, 1),
    ):
        spool.keep(document | changed, ["audit"])
        recover(app)
        assert len(spool.read_waiting()) == waiting, changed
    assert [entry["outcome"] for entry in entries(database_url)] == ["started", "ok"]
    assert behind(database_url, "SELECT count(*) AS n FROM audit_log") == [{"n": 2}]
