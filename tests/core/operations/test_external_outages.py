"""External operations while nothing can be recorded, or the process dies: nothing is lost, nothing stays open."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.conftest import ADMIN, Api, MakeApp
from tests.core.operations.test_external import POLICY, intents, rows
from tests.core.operations.test_failure_policy import no_audit_log, spooled
from tests.support.commandline import failure, output, run
from tests.support.depot import Depot, depot_push, depot_strict, leave_intent
from tests.support.door import acting, behind, entries, policies
from tests.support.limits import break_spool
from tests.support.plugins import Made
from tests.support.served import environment
from yoq_web import Denied, Event
from yoq_web.hooks.host import current_host
from yoq_web.operations import external
from yoq_web.operations.mac import INTENTS, KEY_FILE
from yoq_web.operations.recording import NotRecorded, OutcomeNotRecorded
from yoq_web.operations.replay import replay
from yoq_web.operations.spool import SUSPECT, current_spool
from yoq_web.operations.spool_file import FILE, LOCK

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


def begun(tmp_path: Path, database_url: str, target: str) -> tuple[subprocess.Popen[str], str]:
    """A process in the middle of an external operation, and the event's id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.depot", target],
        env=environment(tmp_path, YOQ_DATABASE_URL=database_url, YOQ_API_TOKEN=ADMIN),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def test_what_a_killed_process_left_open_was_interrupted(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """After kill -9 one entry `interrupted` is read, once somebody looks; what another process runs is left alone."""
    killed, event_id = begun(tmp_path, database_url, "killed")
    living, other_id = begun(tmp_path, database_url, "living")
    app = make_app(depot := Depot())
    with app.app_context():
        external.sweep()
    assert (shown(app, event_id), shown(app, other_id)) == (("started", None), ("started", None))
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=20)
    assert app.test_cli_runner().invoke(args=["policy", "list"]).exit_code == 0  # any command looks
    assert (shown(app, event_id), shown(app, other_id)) == (("interrupted", None), ("started", None))
    with app.app_context():
        external.sweep()
    assert [outcome for found, outcome in rows(database_url) if found == event_id] == ["started", "interrupted"]
    assert intents(tmp_path) == [f"{other_id}.json"]
    living.communicate("", timeout=20)
    assert living.returncode == 0
    with app.app_context():
        external.sweep()
    assert shown(app, other_id) == ("ok", None)
    assert [outcome for found, outcome in rows(database_url) if found == other_id] == ["started", "ok"]
    current_host(app).drain(10)
    assert [(event.target, event.outcome) for event in depot.failed] == [("killed", "interrupted")]
    actors = {
        (entry["target"], entry["actor"], entry["details"].get("os_user") is None) for entry in Api(app).entries()
    }
    assert actors == {("killed", "local", False), ("living", "local", False)}


def test_a_crash_at_any_other_moment(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """After the outcome it changes nothing; before the intent was stored, or in the spool, one entry is left."""
    app = make_app(Depot())
    with acting(app), depot_push.undertaken("north") as undertaking:
        file = tmp_path / INTENTS / f"{undertaking.event.id}.json"
        left = file.read_bytes()
        undertaking.add(size=5)
    file.write_bytes(left)
    earlier = json.loads(left) | {"id": undertaking.event.id[:-4] + "beef", "target": "before the intent"}
    leave_intent(tmp_path, earlier)
    (tmp_path / INTENTS / "torn.json").write_bytes(left[:40])
    (tmp_path / INTENTS / "empty.json").touch()
    leave_intent(tmp_path, {"id": "strange"})
    with app.app_context():
        external.sweep()
    set_aside = ["strange.unreadable", "torn.unreadable"]
    assert intents(tmp_path) == set_aside
    found = [(entry["target"], entry["outcome"]) for entry in Api(app).entries()]
    assert found == [("before the intent", "interrupted"), ("north", "ok")]
    with acting(app), no_audit_log(database_url):
        leave_intent(tmp_path, earlier | {"id": earlier["id"][:-4] + "cafe"})
        external.sweep()
    assert [line["event"]["outcome"] for line in spooled(tmp_path)] == ["interrupted"]
    assert intents(tmp_path) == set_aside
    recover(app)
    assert [entry["outcome"] for entry in Api(app).entries()] == ["interrupted", "interrupted", "ok"]
    assert Api(app)("GET", "/health").json == {"status": "ok"}


def test_an_intent_that_somebody_wrote_is_not_believed(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """What was altered, forged or put under another name leaves no entry: it is set aside, and `/health` says so."""
    app = make_app(Depot())
    with acting(app), depot_push.undertaken("north") as undertaking:
        left = (tmp_path / INTENTS / f"{undertaking.event.id}.json").read_text()
    other = undertaking.event.id[:-4] + "beef"
    edits = {
        other: left.replace(undertaking.event.id, other),
        undertaking.event.id: left.replace("north", "south"),
        "forged": '{"id":"forged"}',
        "moved": left,
    }
    for number, (name, content) in enumerate([*edits.items(), *edits.items()], 1):
        (tmp_path / INTENTS / f"{name}.json").write_text(content)
        with capture_logs() as logs, app.app_context():
            external.sweep()
        assert [line["why"] for line in logs] == ["an intent was altered or added"]
        assert intents(tmp_path) == []
        assert Api(app)("GET", "/health").json == {"status": "degraded", "spool_suspect": number}
        assert json.loads((tmp_path / SUSPECT).read_text().splitlines()[-1])["line"] == content
    assert [outcome for _, outcome in rows(database_url)] == ["started", "ok"]


def test_an_intent_of_an_earlier_version_is_taken_once(make_app: MakeApp, tmp_path: Path) -> None:
    """What was left before intents were signed is settled; afterwards an unsigned one is somebody's."""
    app = make_app(Depot())
    with acting(app), depot_push.undertaken("north") as undertaking:
        left = json.loads((tmp_path / INTENTS / f"{undertaking.event.id}.json").read_text())
    del left["mac"]
    for name in (KEY_FILE, LOCK):
        (tmp_path / name).unlink()
    for number, settled in ((1, True), (2, False)):
        event_id = undertaking.event.id[:-4] + f"000{number}"
        (tmp_path / INTENTS / f"{event_id}.json").write_text(json.dumps(left | {"id": event_id}))
        with (later := make_app(Depot())).app_context():
            external.sweep()
        assert (event_id in [entry["event_id"] for entry in Api(later).entries()]) == settled
        assert current_spool(later).suspect == (not settled)


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


def test_what_a_lost_machine_left_open_is_settled_by_hand(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """`audit settle` is for another machine's entry that says `started`; it asks, is recorded, and settles it once."""
    lost = make_app(Depot(), YOQ_NODE="lost", YOQ_DATA_DIR=str(tmp_path / "lost"))
    app = make_app(Depot())
    with acting(lost), depot_push.undertaken("north") as undertaking:
        event_id = undertaking.event.id
        assert "settled within a second" in failure(lost, "audit", "settle", event_id)
        assert run(app, "audit", "settle", event_id, stdin="n\n").exit_code == 1
        assert shown(app, event_id) == ("started", None)
        assert output(app, "audit", "settle", event_id, "--yes") == "interrupted\n"
        assert shown(app, event_id) == ("interrupted", None)
        assert "its outcome is interrupted" in failure(app, "audit", "settle", event_id)
        assert "there is no entry" in failure(app, "audit", "settle", "nobody")
    entry = Api(app)("GET", f"/v1/audit/entries/{event_id}").json or {}
    assert (entry["node"], entry["reason"]) == ("lost", "settled by hand: its machine is gone")
    [settling] = [found for found in Api(app).entries() if found["action"] == "audit_settle"]
    assert (settling["target"], settling["details"]["machine"]) == (event_id, "lost")
