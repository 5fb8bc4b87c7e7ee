"""Vetoes: asked before the operation holds anything and against the clock, or inside its transaction by wish."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import g, request
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from tests.conftest import Api, MakeApp
from tests.support.depot import Depot
from tests.support.door import Probe, acting, behind, entries, policies, probe_act
from tests.support.plugins import Made
from yoq_web import Denied, Event, Veto, current_actor, db, set_deadline, unit_of_work
from yoq_web.actors import UNAUTHENTICATED, set_actor
from yoq_web.metrics import current_metrics
from yoq_web.operations.mac import INTENTS
from yoq_web.policies.models import Policy

SOON = 60.0
"""Seconds that nothing here takes, unless it hangs."""


class Hanging:
    """Answers no question about the targets `slow` until released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked = threading.Semaphore(0)
        self.answered = threading.Semaphore(0)
        self.refuse = False

    def before(self, event: Event) -> None:
        """Hang, and refuse if told so."""
        if (event.target or "").startswith("slow"):
            self.asked.release()
            self.released.wait(SOON)
            self.answered.release()
            if self.refuse:
                raise Veto("too late")

    def plugin(self, name: str = "hanging") -> Made:
        """The plugin."""

        def before(event: Event) -> None:
            self.before(event)

        return Made(name, yoq_before_operation=before)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """A plugin that hangs, released at the end of the test."""
    found = Hanging()
    yield found
    found.released.set()


def set_secret(api: Api, name: str) -> int:
    """Perform an operation; returns the status."""
    return api("POST", "/v1/secrets", json={"name": name, "value": "hunter2"}).status_code


def trail(url: str) -> list[tuple[str, str, str | None]]:
    """Targets, outcomes and reasons, the oldest first."""
    return [(entry["target"], entry["outcome"], entry["reason"]) for entry in entries(url)]


def test_a_veto_holds_up_no_other_writer(make_app: MakeApp, hanging: Hanging, database_url: str) -> None:
    """While a plugin thinks about one operation, others are performed; then it goes on as if nothing had been."""
    api = Api(make_app(hanging.plugin()))
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(set_secret, api, "slow")
        assert hanging.asked.acquire(timeout=SOON)
        assert set_secret(api, "other") == 200
        behind(database_url, "INSERT INTO policies (source, target, action, created_at) VALUES ('a', 'b', 'deny', 1)")
        hanging.released.set()
        assert slow.result(SOON) == 200
    assert trail(database_url) == [("other", "ok", None), ("slow", "ok", None)]


@pytest.mark.parametrize("refuse", [False, True])
def test_a_veto_that_is_late_refuses(
    make_app: MakeApp, hanging: Hanging, database_url: str, monkeypatch: pytest.MonkeyPatch, refuse: bool
) -> None:
    """The operation is denied, on record with the plugin's name; the answer that comes later changes nothing."""
    monkeypatch.setattr("yoq_web.operations.veto.PATIENCE", 0.05)
    app = make_app(hanging.plugin())
    api = Api(app)
    hanging.refuse = refuse
    assert set_secret(api, "slow") == 403
    assert set_secret(api, "other") == 200
    hanging.released.set()
    assert hanging.answered.acquire(timeout=SOON)
    assert set_secret(api, "slow again") == (403 if refuse else 200)
    assert trail(database_url)[:2] == [
        ("slow", "denied", "refused because the plugin hanging does not answer"),
        ("other", "ok", None),
    ]
    assert "slow" not in (api("GET", "/v1/secrets").json or ())
    labels = {"plugin": "hanging", "hook": "yoq_before_operation"}
    assert current_metrics(app).registry.get_sample_value("yoq_hook_failures_total", labels) == 1


def test_all_plugins_share_the_patience(
    make_app: MakeApp, hanging: Hanging, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is late is named; those behind it are not asked any more."""
    monkeypatch.setattr("yoq_web.operations.veto.PATIENCE", 0.05)
    asked: list[str] = []
    last = Made("last", yoq_before_operation=lambda event: asked.append(event.target))
    first = Made("first", yoq_before_operation=lambda event: asked.append(event.target))
    api = Api(make_app(last, hanging.plugin(), first))
    assert set_secret(api, "slow") == 403
    hanging.released.set()
    assert hanging.answered.acquire(timeout=SOON)
    assert set_secret(api, "quick") == 200
    assert asked == ["slow", "quick", "quick"]
    assert trail(database_url)[0][2] == "refused because the plugin hanging does not answer"


def test_a_plugin_that_never_answers_is_not_asked_for_ever(
    make_app: MakeApp, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It owes four answers about one operation and then is not asked again: threads do not pile up; others are."""
    monkeypatch.setattr("yoq_web.operations.veto.PATIENCE", 0.05)
    api = Api(make_app(hanging.plugin()))
    assert [set_secret(api, f"slow {number}") for number in range(8)] == [403] * 8
    assert sum(thread.name.startswith("yoq_before_operation") for thread in threading.enumerate()) == 4
    policy = {"source": "a", "target": "b", "action": "deny"}
    assert api("POST", "/v1/policies", json=policy).status_code == 200
    hanging.released.set()
    for _ in range(4):
        assert hanging.answered.acquire(timeout=SOON)
    for thread in threading.enumerate():
        if thread.name == "veto":
            thread.join(SOON)
    assert set_secret(api, "slow at last") == 200


def test_a_client_that_waits_less_is_answered_sooner(make_app: MakeApp, hanging: Hanging) -> None:
    """The patience is no longer than the request's deadline."""
    with acting(make_app(Probe(), hanging.plugin())):
        set_deadline(0.05)
        with pytest.raises(Denied, match="does not answer"), probe_act.performed("slow"):
            raise AssertionError("the body ran")


def test_an_external_operation_is_asked_before_its_intent(
    make_app: MakeApp, hanging: Hanging, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a plugin thinks nothing is written; if it is late there is a denial and no intent."""
    depot = Depot()
    app = make_app(hanging.plugin(), depot)
    with ThreadPoolExecutor(1) as thread:
        api = Api(app)
        slow = thread.submit(api, "POST", "/v1/depot/slow")
        assert hanging.asked.acquire(timeout=SOON)
        assert set_secret(api, "other") == 200
        assert list((tmp_path / INTENTS).glob("*")) == []
        hanging.released.set()
        assert slow.result(SOON).status_code == 200
    hanging.released.clear()
    monkeypatch.setattr("yoq_web.operations.veto.PATIENCE", 0.05)
    assert api("POST", "/v1/depot/slower").status_code == 403
    assert [found[1] for found in trail(database_url)] == ["ok", "started", "ok", "denied"]
    assert list((tmp_path / INTENTS).glob("*")) == []


def test_a_veto_knows_the_request_and_cannot_change_it(make_app: MakeApp) -> None:
    """It sees the actor, the request and what others left on g; its session is its own, and what it sets is gone."""
    seen: list[object] = []

    def authenticate() -> None:
        g.ticket = "T-1"

    def before(event: Event) -> None:
        seen.extend((current_actor().label, request.headers["X-Ticket"], g.ticket, db.session().in_transaction()))
        g.ticket = "T-2"
        set_actor(UNAUTHENTICATED)

    def committed(event: Event) -> None:
        seen.append(event.actor.label)

    app = make_app(
        Made("who", yoq_authenticate=authenticate, yoq_before_operation=before, yoq_operation_committed=committed)
    )
    answer = Api(app)("POST", "/v1/secrets", json={"name": "a", "value": "b"}, headers={"X-Ticket": "T-0"})
    assert answer.status_code == 200
    assert seen == ["api-token", "T-0", "T-1", False, "api-token"]


def write_and_commit() -> None:
    """Change data without an operation."""
    db.session.execute(insert(Policy).values(ROW))
    db.session.commit()


WRITES: dict[str, Callable[[], object]] = {
    "a unit of work": lambda: unit_of_work().__enter__(),
    "an operation": lambda: probe_act.performed("inner").__enter__(),
    "a commit": write_and_commit,
    "nothing more": lambda: db.session.add(Policy(**ROW)),
}
ROW: dict[str, Any] = {"source": "a", "target": "b", "action": "allow", "created_at": 1}


@pytest.mark.parametrize("how", WRITES)
def test_a_veto_beside_the_transaction_changes_nothing(make_app: MakeApp, database_url: str, how: str) -> None:
    """Whatever way it tries, nothing of it is stored, and the next operation is not in its way."""
    tried: list[BaseException | None] = []

    def before(event: Event) -> None:
        try:
            WRITES[how]()
        except BaseException as error:
            tried.append(error)
            raise
        tried.append(None)

    app = make_app(Probe(), Made("writer", yoq_before_operation=before))
    with acting(app):
        for _ in range(2):
            with suppress(Denied), probe_act.performed("b"):
                pass
    assert policies(database_url) == []
    assert len(tried) == 2


def test_a_veto_with_a_session_is_in_the_transaction(make_app: MakeApp, database_url: str) -> None:
    """What it changes is committed with the operation, is seen by its body, and is gone if it or a later one vetoes."""
    refuse: list[bool] = []

    def before(event: Event, session: Session) -> None:
        session.execute(insert(Policy).values(ROW | {"source": event.target}))

    def later(event: Event, session: Session) -> None:
        if refuse:
            raise Veto("no")

    count = text("SELECT count(*) FROM policies")
    app = make_app(Probe(), Made("later", yoq_before_operation=later), Made("writer", yoq_before_operation=before))
    with acting(app):
        with probe_act.performed("1") as session:
            assert session.scalar(count) == 1
        refuse.append(True)
        with pytest.raises(Denied, match="no"), probe_act.performed("2"):
            raise AssertionError("the body ran")
    assert policies(database_url) == ["1"]
    assert trail(database_url) == [("1", "ok", None), ("2", "denied", "no")]


def test_a_veto_with_a_session_of_an_external_operation(make_app: MakeApp, database_url: str) -> None:
    """It is in the transaction of the intent."""

    def before(event: Event, session: Session) -> None:
        session.execute(insert(Policy).values(ROW | {"source": event.target}))
        if event.target == "refused":
            raise Veto("no")

    api = Api(make_app(Depot(), Made("writer", yoq_before_operation=before)))
    assert api("POST", "/v1/depot/north").status_code == 200
    assert api("POST", "/v1/depot/refused").status_code == 403
    assert policies(database_url) == ["north"]
    assert [found[:2] for found in trail(database_url)] == [
        ("north", "started"),
        ("north", "ok"),
        ("refused", "denied"),
    ]
