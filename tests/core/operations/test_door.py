"""The door: a change and its record are stored together or not at all, and every ending leaves the right record."""
# ruff: noqa: PT012 - what an operation raises comes out of its block, which has several steps

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from tests.conftest import Api, MakeApp
from tests.support.door import VETO, Probe, acting, behind, entries, lose_the_next_answer, policies, probe_act
from yoq_web import Denied, Event, NotFound, Problem, hookimpl
from yoq_web.hooks.host import current_host
from yoq_web.metrics import current_metrics
from yoq_web.policies.models import Policy


@pytest.fixture
def probe() -> Probe:
    """The plugin of `app`."""
    return Probe()


@pytest.fixture
def app(make_app: MakeApp, probe: Probe) -> Flask:
    """An application with the plugin."""
    return make_app(probe)


def policy(source: str = "a") -> Policy:
    """Something to change."""
    return Policy(source=source, target="b", action="allow", created_at=1)


def break_commit(session: Session) -> None:
    """Make the commit itself fail, on either database: a constraint that is checked no sooner."""
    session.execute(text("INSERT INTO child (parent) VALUES (1)"))


DEFERRED = (
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
)


def test_change_and_record_are_stored_together(app: Flask, database_url: str, probe: Probe) -> None:
    """An operation that ends well leaves its change and one entry that says who did what, and tells the plugins."""
    with acting(app), probe_act.performed("b", note="why") as session:
        session.add(policy())
    assert policies(database_url) == ["a"]
    (entry,) = entries(database_url)
    told = {name: entry[name] for name in ("actor", "actor_kind", "action", "target", "outcome", "reason", "node")}
    assert told == {
        "actor": "tester",
        "actor_kind": "token",
        "action": "probe_act",
        "target": "b",
        "outcome": "ok",
        "reason": None,
        "node": "node-1",
    }
    assert entry["details"] == '{"note":"why"}'
    assert entry["recorded_at"] == entry["time"] // 1_000_000
    assert [event.id for event in probe.committed] == [entry["event_id"]]
    assert not probe.failed


def test_a_body_that_raises_changes_nothing(app: Flask, database_url: str, probe: Probe) -> None:
    """What the body raises comes out as it is; the change is gone and the failure is on record, without its message."""
    with acting(app), pytest.raises(ValueError, match="hunter2"), probe_act.performed("b") as session:
        session.add(policy())
        session.flush()
        raise ValueError("hunter2")
    assert policies(database_url) == []
    (entry,) = entries(database_url)
    assert (entry["outcome"], entry["reason"]) == ("failed", "ValueError")
    assert "hunter2" not in str(entry)
    assert [event.outcome for event in probe.failed] == ["failed"]
    assert not probe.committed


def test_a_flush_that_raises_changes_nothing(app: Flask, database_url: str) -> None:
    """A change that the database refuses takes the whole operation back, what was stored before it included."""
    with acting(app), pytest.raises(IntegrityError), probe_act.performed("b") as session:
        session.add(policy("first"))
        session.flush()
        session.add_all([policy("twice"), policy("twice")])
    assert policies(database_url) == []
    assert [(entry["outcome"], entry["reason"]) for entry in entries(database_url)] == [("failed", "IntegrityError")]


def test_a_commit_that_raises_changes_nothing(app: Flask, database_url: str, probe: Probe) -> None:
    """A commit that fails takes the change and its `ok` back: the trail says `failed`, and nobody is told otherwise."""
    behind(database_url, *DEFERRED)
    with acting(app), pytest.raises(IntegrityError), probe_act.performed("b") as session:
        session.add(policy())
        break_commit(session)
    assert policies(database_url) == []
    assert [(entry["outcome"], entry["reason"]) for entry in entries(database_url)] == [("failed", "IntegrityError")]
    assert not probe.committed


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_lost_connection_changes_nothing(app: Flask, database_url: str, probe: Probe) -> None:
    """A connection lost before the commit takes change and `ok` with it; the failure is recorded on another."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with acting(app), pytest.raises(OperationalError), probe_act.performed("b") as session:
        session.add(policy())
        session.flush()
        behind(database_url, f"{others} AND pid <> pg_backend_pid()")
    assert policies(database_url) == []
    assert [(entry["outcome"], entry["reason"]) for entry in entries(database_url)] == [("failed", "OperationalError")]
    assert not probe.committed


def test_a_commit_whose_answer_is_lost_stays_on_record(
    app: Flask, api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the commit was done and only its answer is lost, the trail says `ok`, once, where the caller looks."""
    lose_the_next_answer(app, monkeypatch)
    answer = api("POST", "/v1/policies", json={"source": "a", "target": "b", "action": "allow"})
    assert answer.status_code == 503
    assert policies(database_url) == ["a"]
    assert [(entry["event_id"], entry["outcome"]) for entry in entries(database_url)] == [
        (answer.headers["Audit-Id"], "ok")
    ]


def test_an_exit_in_the_body_is_a_failure_too(app: Flask, database_url: str) -> None:
    """Even an exception that ends the process is recorded, and its change is not stored."""
    with acting(app), pytest.raises(KeyboardInterrupt), probe_act.performed("b") as session:
        session.add(policy())
        raise KeyboardInterrupt
    assert policies(database_url) == []
    assert [(entry["outcome"], entry["reason"]) for entry in entries(database_url)] == [("failed", "KeyboardInterrupt")]


def test_the_door_works_after_every_failure(app: Flask, database_url: str) -> None:
    """No failure leaves a transaction, a lock or a half-made change behind for the next operation."""
    behind(database_url, *DEFERRED)
    with acting(app):
        with pytest.raises(ValueError, match="x"), probe_act.performed("1") as session:
            session.add(policy("lost"))
            raise ValueError("x")
        with pytest.raises(IntegrityError), probe_act.performed("2") as session:
            session.add_all([policy("lost"), policy("lost")])
        with pytest.raises(IntegrityError), probe_act.performed("3") as session:
            break_commit(session)
        with probe_act.performed("4") as session:
            session.add(policy("kept"))
    assert policies(database_url) == ["kept"]
    stored = [(entry["target"], entry["outcome"]) for entry in entries(database_url)]
    assert stored == [("1", "failed"), ("2", "failed"), ("3", "failed"), ("4", "ok")]


def test_a_problem_is_recorded_with_its_own_text(app: Flask, database_url: str) -> None:
    """The reason of a failure that the caller is told of is the short text that the caller gets."""
    with acting(app), pytest.raises(Problem), probe_act.performed("b"):
        raise Problem(409, "the name is taken", "a detail for people")
    assert [(entry["outcome"], entry["reason"]) for entry in entries(database_url)] == [("failed", "the name is taken")]


def test_what_is_not_there_leaves_no_record(app: Flask, database_url: str, probe: Probe) -> None:
    """An operation on something that does not exist did not take place: no entry, nobody told, nothing changed."""
    with acting(app), pytest.raises(NotFound), probe_act.performed("b") as session:
        session.add(policy())
        session.flush()
        raise NotFound
    assert policies(database_url) == []
    assert entries(database_url) == []
    assert not probe.committed
    assert not probe.failed


def test_a_veto_is_a_denial(app: Flask, database_url: str, probe: Probe) -> None:
    """A plugin's veto stops the operation before its body, and the trail says `denied` and why."""
    probe.veto = VETO
    reached = []
    with acting(app), pytest.raises(Denied, match="not on a Friday"), probe_act.performed("b"):
        reached.append(True)
    assert not reached
    assert [(entry["outcome"], entry["reason"]) for entry in entries(database_url)] == [("denied", "not on a Friday")]
    assert [event.outcome for event in probe.failed] == ["denied"]


def test_a_body_may_deny(app: Flask, database_url: str) -> None:
    """A refusal that only the body can decide is recorded `denied`, like any other."""
    with acting(app), pytest.raises(Denied), probe_act.performed("b"):
        raise Denied("not yours")
    assert [(entry["outcome"], entry["reason"]) for entry in entries(database_url)] == [("denied", "not yours")]


def test_an_operation_outlives_its_trail(app: Flask, api: Api, database_url: str) -> None:
    """Where an entry cannot be stored the operation goes through; the failure is logged and counted, and not hidden."""
    behind(database_url, "DROP TABLE audit_log")
    with capture_logs() as logs:
        answer = api("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"})
    assert answer.status_code == 200
    assert [row["name"] for row in behind(database_url, "SELECT name FROM secrets")] == ["db"]
    (line,) = [line for line in logs if line["event"] == "an operation could not be recorded"]
    assert (line["action"], line["outcome"], line["plugin"]) == ("secret_set", "ok", "audit")
    assert line["audit_id"] == answer.headers["Audit-Id"]
    assert "hunter2" not in str(logs)
    assert "yoq_audit_failures_total 1.0" in api("GET", "/metrics").text


def test_a_failure_outlives_its_trail(app: Flask, database_url: str) -> None:
    """Where a failure cannot be recorded the caller still gets the failure itself; an outage is logged once."""
    behind(database_url, "DROP TABLE audit_log")
    with capture_logs() as logs, acting(app):
        with pytest.raises(ValueError, match="x"), probe_act.performed("b") as session:
            session.add(policy())
            raise ValueError("x")
        assert current_metrics(app).registry.get_sample_value("yoq_audit_failures_total") == 1
        with probe_act.performed("b") as session:
            session.add(policy("after"))
    assert policies(database_url) == ["after"]
    assert [line["outcome"] for line in logs if "audit_id" in line] == ["failed"]


def test_plugins_are_told_after_the_commit(make_app: MakeApp, database_url: str) -> None:
    """Whoever is told of an operation can see its change and its entry from outside, and of a failure its entry."""
    seen: list[tuple[list[str], list[str]]] = []

    class Looking(Probe):
        @hookimpl
        def yoq_operation_committed(self, event: Event) -> None:
            seen.append((policies(database_url), [entry["outcome"] for entry in entries(database_url)]))

        @hookimpl
        def yoq_operation_failed(self, event: Event) -> None:
            seen.append((policies(database_url), [entry["outcome"] for entry in entries(database_url)]))

    with acting(make_app(Looking())):
        with probe_act.performed("1") as session:
            session.add(policy())
        with pytest.raises(NotImplementedError), probe_act.performed("2") as session:
            session.add(policy("lost"))
            raise NotImplementedError
        current_host().drain(10)
    assert seen == [(["a"], ["ok"]), (["a"], ["ok", "failed"])]
