"""When an operation cannot be recorded: it goes through and its record is kept, or with `refuse` nothing is changed."""
# ruff: noqa: PT012 - what an operation raises comes out of its block, which has several steps

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from tests.conftest import Api, MakeApp
from tests.core.operations.test_door import DEFERRED, break_commit, policy
from tests.support.door import Probe, acting, behind, entries, lose_the_next_answer, policies, probe_act
from tests.support.limits import break_spool
from tests.support.plugins import Made
from yoq_web import Contribution, Operation, create_app
from yoq_web.database.session import current_write_lock
from yoq_web.metrics import current_metrics
from yoq_web.operations.replay import replay
from yoq_web.operations.spool import current_spool
from yoq_web.operations.spool_file import FILE
from yoq_web.operations.spool_lines import SpoolLines
from yoq_web.settings import SettingsError

SET = {"name": "db", "value": "hunter2"}


@contextmanager
def no_audit_log(database_url: str) -> Iterator[None]:
    """The table of entries is gone for a while."""
    behind(database_url, "ALTER TABLE audit_log RENAME TO audit_log_away")
    try:
        yield
    finally:
        behind(database_url, "ALTER TABLE audit_log_away RENAME TO audit_log")


def spooled(tmp_path: Path) -> list[dict[str, Any]]:
    """The lines of the spool."""
    file = tmp_path / FILE
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def sample(app: Flask, name: str) -> float | None:
    """One metric."""
    return current_metrics(app).registry.get_sample_value(name)


def test_operations_outlive_their_trail_and_are_recorded_later(
    app: Flask, api: Api, database_url: str, tmp_path: Path
) -> None:
    """While entries cannot be stored operations go on; afterwards each has exactly one entry, in order, as it was."""
    acknowledged = []
    reader = api.token("secrets:read")
    with no_audit_log(database_url), capture_logs() as logs:
        for number in range(3):
            answer = api("POST", "/v1/secrets", json=SET | {"name": f"n{number}"})
            assert answer.status_code == 200
            acknowledged.append((answer.headers["Audit-Id"], "ok"))
        answer = reader("POST", "/v1/secrets", json=SET)
        assert answer.status_code == 403
        acknowledged.append((answer.headers["Audit-Id"], "denied"))
        assert api("GET", "/health").json == {"status": "degraded", "spool": 4}
    assert [line["plugin"] for line in logs if line["event"] == "an operation could not be recorded"] == ["audit"]
    with capture_logs() as logs:
        answer = api("POST", "/v1/policies", json={"source": "a", "target": "b", "action": "allow"})
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["operations are recorded again"]
    assert api("GET", "/health").json == {"status": "ok"}
    stored = [(entry["event_id"], entry["outcome"]) for entry in entries(database_url)]
    assert stored[1:] == [(answer.headers["Audit-Id"], "ok"), *acknowledged]
    (entry,) = [entry for entry in entries(database_url) if entry["event_id"] == acknowledged[1][0]]
    assert (entry["actor"], entry["actor_kind"], entry["target"], entry["node"]) == (
        "api-token",
        "admin",
        "n1",
        "node-1",
    )
    assert entry["recorded_at"] == entry["time"] // 1_000_000
    assert spooled(tmp_path) == []
    assert "hunter2" not in str(logs)
    counted = {name: sample(app, f"yoq_audit_{name}_total") for name in ("recorded", "spooled", "replayed", "refused")}
    assert counted == {"recorded": 2, "spooled": 4, "replayed": 4, "refused": 0}
    assert sample(app, "yoq_audit_failures_total") == 4


def test_a_receipt_is_good_while_the_entry_is_only_in_the_spool(api: Api, database_url: str) -> None:
    """The Audit-Id finds the entry at once, and the answer says where it is; once stored it is like any other."""
    with no_audit_log(database_url):
        audit_id = api("POST", "/v1/secrets", json=SET).headers["Audit-Id"]
        waiting = api("GET", f"/v1/audit/entries/{audit_id}").get_json()
        assert api("GET", f"/v1/audit/entries/{audit_id[:-1]}x").status_code == 503
    assert (waiting["stored"], waiting["id"], waiting["action"], waiting["outcome"]) == (
        "spool",
        None,
        "secret_set",
        "ok",
    )
    assert api("GET", f"/v1/audit/entries/{audit_id}").get_json()["stored"] == "spool"
    api("GET", "/v1/secrets")
    stored = api("GET", f"/v1/audit/entries/{audit_id}").get_json()
    assert "stored" not in stored
    assert stored["details"].pop("stored_at") >= stored["recorded_at"]
    added = ("id", "nonce", "stored")
    assert {name: stored[name] for name in stored if name not in added} == {
        name: waiting[name] for name in waiting if name not in added
    }
    assert list(stored)[:5] == list(waiting)[:5]


def test_a_commit_that_fails_after_its_record_was_spooled(make_app: MakeApp, database_url: str) -> None:
    """The spooled `ok` of a change that does not commit is never recorded: its failure is."""
    app = make_app(Probe())
    behind(database_url, *DEFERRED)
    with no_audit_log(database_url), acting(app), pytest.raises(IntegrityError), probe_act.performed("b") as session:
        session.add(policy())
        break_commit(session)
    with acting(app), probe_act.performed("c"):
        pass
    assert policies(database_url) == []
    stored = [(entry["target"], entry["outcome"], entry["reason"]) for entry in entries(database_url)]
    assert stored == [("c", "ok", None), ("b", "failed", "IntegrityError")]


def test_a_commit_whose_answer_is_lost_with_its_record(
    app: Flask, api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither the commit's answer nor its record is to be had the trail claims nothing: `interrupted`."""
    with no_audit_log(database_url):
        lose_the_next_answer(app, monkeypatch)
        answer = api("POST", "/v1/policies", json={"source": "a", "target": "b", "action": "allow"})
    assert answer.status_code == 503
    api("GET", "/v1/secrets")
    outcomes = {entry["event_id"]: entry["outcome"] for entry in entries(database_url)}
    assert outcomes[answer.headers["Audit-Id"]] == "interrupted"
    assert policies(database_url) == ["a"]


def test_a_process_that_dies_at_its_commit_was_interrupted(
    make_app: MakeApp, database_url: str, tmp_path: Path
) -> None:
    """After a crash between spooling and settling the trail says `interrupted`: it does not claim what nobody knows."""
    app = make_app(Probe())
    with no_audit_log(database_url), acting(app), pytest.MonkeyPatch.context() as patched:
        patched.setattr(current_spool(app), "resolve", lambda *_: None)  # it is gone by then
        with probe_act.performed("b") as session:
            session.add(policy())
    (line,) = spooled(tmp_path)
    lines = SpoolLines(tmp_path)
    lines.rewrite([line | {"process": "an earlier one"}], lines.examine())
    with acting(app), probe_act.performed("c"):
        pass
    stored = [(entry["target"], entry["outcome"]) for entry in entries(database_url)]
    assert stored == [("c", "ok"), ("b", "interrupted")]


@pytest.mark.parametrize("whole_site", [True, False])
def test_refusing_changes_nothing(make_app: MakeApp, database_url: str, whole_site: bool) -> None:
    """With `refuse`, for the site or one operation: no record, no change, and a 503 that says so."""
    careful = Operation("careful_act", "Act carefully", "careful:write", audit_failure="refuse")
    plugin = Made("careful", yoq_contribute=lambda: Contribution(operations=(careful,)))
    app = make_app(plugin, YOQ_AUDIT_FAILURE="refuse" if whole_site else "spool")
    api = Api(app)
    with no_audit_log(database_url):
        if whole_site:
            answer = api("POST", "/v1/policies", json={"source": "a", "target": "b", "action": "allow"})
            assert answer.status_code == 503
            assert answer.get_json()["error"] == "the operation could not be recorded"
            assert "nothing was changed" in answer.get_json()["detail"]
        else:
            with (
                acting(app),
                pytest.raises(Exception, match="could not be recorded"),
                careful.performed("b") as session,
            ):
                session.add(policy())
            assert api("POST", "/v1/secrets", json=SET).status_code == 200
    assert policies(database_url) == []
    assert sample(app, "yoq_audit_refused_total") == 1
    api("GET", "/v1/secrets")
    outcomes = {(entry["outcome"], entry["reason"]) for entry in entries(database_url)}
    assert ("failed", "the operation could not be recorded") in outcomes
    if whole_site:
        assert api("POST", "/v1/policies", json={"source": "a", "target": "b", "action": "allow"}).status_code == 200


def test_a_policy_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A misspelt policy stops the start; it does not quietly mean the other one."""
    with pytest.raises(SettingsError, match="YOQ_AUDIT_FAILURE must be spool, refuse or continue"):
        create_app({"YOQ_DATA_DIR": str(tmp_path), "YOQ_AUDIT_FAILURE": "refuze"})


def test_what_neither_database_nor_disk_takes_is_not_done(
    app: Flask, api: Api, database_url: str, tmp_path: Path
) -> None:
    """Nothing that is only in memory is acknowledged: no change, no receipt, and a 503; all of it said loudly."""
    broken = break_spool(tmp_path)
    with no_audit_log(database_url), capture_logs() as logs:
        answer = api("POST", "/v1/secrets", json=SET)
        assert (answer.status_code, answer.get_json()["error"]) == (503, "the operation could not be recorded")
        assert "Audit-Id" not in answer.headers
        assert behind(database_url, "SELECT name FROM secrets") == []
        denied = api.with_token(None)("POST", "/v1/secrets", json=SET)
        assert (denied.status_code, "Audit-Id" in denied.headers) == (401, False)
        assert api("GET", "/health").json == {"status": "degraded", "spool": 2, "spool_writable": False}
    critical = [line["record"] for line in logs if line["log_level"] == "critical"]
    assert [(record["target"], record["outcome"], record["actor"]["label"]) for record in critical] == [
        ("db", "failed", "api-token"),
        ("POST /v1/secrets", "denied", "unauthenticated"),
    ]
    assert "hunter2" not in str(logs)
    assert sample(app, "yoq_audit_refused_total") == 1
    assert (sample(app, "yoq_audit_spool_failures_total") or 0) >= 2
    broken.rmdir()
    assert api("POST", "/v1/secrets", json=SET).status_code == 200
    assert [entry["outcome"] for entry in entries(database_url)] == ["ok", "failed", "denied"]
    assert api("GET", "/health").json == {"status": "ok"}


def test_to_continue_is_the_operators_choice(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """With `continue` the operation goes on: its record is in the log and in memory, is told so, and stored later."""
    app = make_app(YOQ_AUDIT_FAILURE="continue")
    api = Api(app)
    broken = break_spool(tmp_path)
    with no_audit_log(database_url), capture_logs() as logs:
        answer = api("POST", "/v1/secrets", json=SET)
        assert (answer.status_code, "Audit-Id" in answer.headers) == (200, False)
        assert api("GET", "/health").json == {"status": "degraded", "spool": 1, "spool_writable": False}
    critical = [line["record"] for line in logs if line["log_level"] == "critical"]
    assert {(record["target"], record["outcome"], record["actor"]["label"]) for record in critical} == {
        ("db", "ok", "api-token")
    }
    assert "hunter2" not in str(logs)
    broken.rmdir()
    api("GET", "/v1/secrets")
    assert critical[0]["id"] in [entry["event_id"] for entry in entries(database_url)]
    assert api("GET", "/health").json == {"status": "ok"}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_operation_that_did_not_get_the_database_does_not_wait_for_it_again(
    make_app: MakeApp, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure of an operation that waited in vain is spooled at once, and recorded afterwards."""
    monkeypatch.setattr("yoq_web.database.engine.BUSY_TIMEOUT_MS", 50)
    app = make_app()
    waited = []
    lock = current_write_lock(app)

    class Counting:
        def acquire(self, timeout: float) -> bool:
            waited.append(timeout)
            return lock.acquire(timeout=timeout)

        def release(self) -> None:
            lock.release()

    current_write_lock.put(app, Counting())  # type: ignore[arg-type]  # as much of a lock as is used
    lock.acquire()
    answer = Api(app)("POST", "/v1/secrets", json=SET)
    lock.release()
    assert answer.status_code == 503
    assert len(waited) == 1
    assert [line["event"]["outcome"] for line in spooled(tmp_path)] == ["failed"]
    with app.app_context():
        replay()
    assert [(entry["event_id"], entry["outcome"]) for entry in entries(database_url)] == [
        (answer.headers["Audit-Id"], "failed")
    ]
