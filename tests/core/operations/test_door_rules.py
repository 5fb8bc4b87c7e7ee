"""The door's rules: who may pass, one operation at a time, and no commit anywhere else."""
# ruff: noqa: PT012 - what an operation raises comes out of its block, which has several steps

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import insert

from tests.conftest import Api, MakeApp
from tests.support.door import Probe, acting, entries, policies, probe_act, probe_other
from yoq_web import Denied, db
from yoq_web.database.rights import CommitRefused
from yoq_web.policies.models import Policy
from yoq_web.policies.operations import add_policy, delete_policy
from yoq_web.secrets.operations import delete_secret, get_secret, list_secrets, rotate_secret, set_secret
from yoq_web.tokens.operations import create_token, revoke_token
from yoq_web.tokens.schemas import TokenIn

ROW = {"source": "a", "target": "b", "action": "allow", "created_at": 1}


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application with the plugin."""
    return make_app(Probe())


def test_every_domain_function_asks_for_its_scope(app: Flask, database_url: str) -> None:
    """The door itself authorizes: whoever calls a domain function without the scope is denied, on record."""
    with acting(app, "secrets:read", "apps:*"):
        for act in (
            lambda: set_secret("n", "hunter2"),
            lambda: get_secret("n"),
            lambda: delete_secret("n"),
            lambda: rotate_secret("n"),
            lambda: add_policy("a", "b", "allow"),
            lambda: delete_policy("a", "b"),
            lambda: create_token(TokenIn(name="n", scopes=["*"])),
            lambda: revoke_token("n"),
        ):
            with pytest.raises(Denied):
                act()
        assert list_secrets() == []
    stored = [(entry["action"], entry["outcome"]) for entry in entries(database_url)]
    actions = "secret_set secret_get secret_delete secret_rotate policy_add policy_delete token_create token_revoke"
    assert stored == [*((action, "denied") for action in actions.split()), ("secret_list", "ok")]
    assert {entry["actor"] for entry in entries(database_url)} == {"tester"}


def test_a_denial_happens_before_the_plugins_and_the_body(make_app: MakeApp, database_url: str) -> None:
    """Without the scope neither the body runs nor is a plugin asked; the entry names the scope that was missing."""
    probe = Probe()
    with acting(make_app(probe), "probe:read"), pytest.raises(Denied), probe_act.performed("b"):
        raise AssertionError("the body ran")
    assert not probe.asked
    (entry,) = entries(database_url)
    assert (entry["outcome"], entry["reason"], entry["target"]) == ("denied", "needs the scope probe:write", "b")


def test_nobody_acts_without_an_actor(app: Flask, database_url: str) -> None:
    """Code that runs with no actor set cannot act: there would be nobody to record."""
    with app.app_context(), pytest.raises(RuntimeError, match="no actor is set"), probe_act.performed("b"):
        raise AssertionError("the body ran")
    assert entries(database_url) == []


def test_operations_do_not_nest(app: Flask, database_url: str) -> None:
    """An operation begun inside another is refused, and the outer one fails whole."""
    with acting(app), pytest.raises(RuntimeError, match="do not nest"), probe_act.performed("outer") as session:
        session.add(Policy(**ROW))
        with probe_other.performed("inner"):
            raise AssertionError("the body ran")
    assert policies(database_url) == []
    assert [(entry["target"], entry["outcome"]) for entry in entries(database_url)] == [("outer", "failed")]


def test_a_nested_denial_does_not_wait_for_ever(app: Flask, database_url: str) -> None:
    """An actor who may do the outer operation only is told that they do not nest, and the door is free afterwards."""
    with acting(app, "probe:write"):
        with (
            pytest.raises(RuntimeError, match="do not nest"),
            probe_act.performed("outer"),
            probe_other.performed("inner"),
        ):
            raise AssertionError("the body ran")
        with probe_act.performed("next"):
            pass
    stored = [(entry["target"], entry["outcome"]) for entry in entries(database_url)]
    assert stored == [("outer", "failed"), ("next", "ok")]


def test_changes_made_outside_do_not_slip_in(app: Flask, database_url: str) -> None:
    """What was added to the session before an operation is refused by it, and not stored by the next one either."""
    with acting(app):
        db.session.add(Policy(**ROW))
        with pytest.raises(RuntimeError, match="outside an operation"), probe_act.performed("1"):
            raise AssertionError("the body ran")
        db.session.execute(insert(Policy).values(ROW))
        with probe_act.performed("2"):
            pass
    assert policies(database_url) == []
    stored = [(entry["target"], entry["outcome"]) for entry in entries(database_url)]
    assert stored == [("1", "failed"), ("2", "ok")]


def test_only_the_door_commits(app: Flask, database_url: str) -> None:
    """A commit outside an operation is refused, through the session as well as the engine, and stores nothing."""
    with acting(app):
        db.session.add(Policy(**ROW))
        with pytest.raises(CommitRefused):
            db.session.commit()
        db.session.rollback()
        db.session.execute(insert(Policy).values(ROW))
        with pytest.raises(CommitRefused):
            db.session.commit()
        db.session.rollback()
        with pytest.raises(CommitRefused), db.engine.begin() as connection:
            connection.execute(insert(Policy).values(ROW))
        with probe_act.performed("next"):
            pass
    assert policies(database_url) == []
    assert [entry["target"] for entry in entries(database_url)] == ["next"]


def test_the_body_may_not_commit(app: Flask, database_url: str) -> None:
    """A commit inside the block would store a change before its record: it is refused, and the operation fails."""
    with acting(app):
        with pytest.raises(CommitRefused), probe_act.performed("1") as session:
            session.add(Policy(**ROW))
            session.commit()
        with probe_act.performed("2"):
            pass
    assert policies(database_url) == []
    stored = [(entry["target"], entry["outcome"], entry["reason"]) for entry in entries(database_url)]
    assert stored == [("1", "failed", "CommitRefused"), ("2", "ok", None)]


def test_autocommit_is_no_way_round(app: Flask, database_url: str) -> None:
    """A connection that commits by itself cannot be had, neither from the session nor from the engine."""
    with acting(app):
        with pytest.raises(CommitRefused):
            db.session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        db.session.rollback()
        with pytest.raises(CommitRefused):
            db.engine.execution_options(isolation_level="AUTOCOMMIT")
    assert policies(database_url) == []


def test_a_route_that_performs_nothing_does_not_succeed(app: Flask, api: Api) -> None:
    """A route that declares an operation and answers without performing it is a defect (500), unless it only beats."""
    assert api("POST", "/v1/probe/kept").status_code == 200
    assert api("POST", "/v1/probe/beat").status_code == 200
    assert api("POST", "/v1/probe/idle").status_code == 500
    assert api("GET", "/v1/probe/idle").status_code == 500
    assert [entry["action"] for entry in api.entries()] == ["probe_act"]


def test_the_answer_names_its_entry(app: Flask, api: Api) -> None:
    """Every response to an operation carries the id of its entry, however it ended; other responses carry none."""
    reader = api.token("probe:read")
    outcomes = {
        "ok": api("POST", "/v1/probe/kept"),
        "failed": api("POST", "/v1/probe/failing"),
        "denied": reader("POST", "/v1/probe/kept"),
    }
    for outcome, answer in outcomes.items():
        entry = api("GET", f"/v1/audit/entries/{answer.headers['Audit-Id']}").json
        assert entry is not None
        assert (entry["outcome"], entry["action"]) == (outcome, "probe_act")
        assert entry["request_id"] == answer.headers["X-Request-Id"]
    assert "hunter2" not in outcomes["failed"].text
    for other in (api("POST", "/v1/probe/beat"), api("GET", "/v1/audit"), api("DELETE", "/v1/secrets/none")):
        assert "Audit-Id" not in other.headers
