"""Side by side: operations that end in every way there is, at once, each as it would alone."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from tests.conftest import Api, MakeApp
from tests.support.disk import Disk
from tests.support.door import acting, behind, entries, policies
from yoq_audit.sealing import sealer
from yoq_web import Contribution, Event, Operation, Problem, Veto, add_details, hookimpl
from yoq_web.policies.models import Policy

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

SOURCES = "SELECT source FROM policies"
ROW = {"target": "b", "action": "allow", "created_at": 1}
EACH = 6


class Crowd:
    """Operations that end in every way there is."""

    name = "crowd"
    act = Operation("crowd_act", "Act", "crowd:write", ("note",))
    refuse = Operation("crowd_refuse", "Act or be refused", "crowd:write", audit_failure="refuse")
    reach = Operation("crowd_reach", "Reach out", "crowd:write", external=True)

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Bring the operations."""
        return Contribution(operations=(self.act, self.refuse, self.reach))

    @hookimpl
    def yoq_before_operation(self, event: Event, session: Any) -> None:
        """Refuse some, with the database held."""
        if (event.target or "").startswith("vetoed"):
            raise Veto("no")

    @hookimpl
    def yoq_record_operation(self, event: Event, session: Any) -> None:
        """Fail to record some."""
        if event.operation is self.refuse and event.outcome == "ok":
            session.execute(text("INSERT INTO nowhere VALUES (1)"))


def _change(session: Any, name: str) -> None:
    session.execute(insert(Policy).values(ROW | {"source": name}))


def _do_well(name: str) -> None:
    with Crowd.act.performed(name) as session:
        _change(session, name)


def _do_wrong(name: str) -> None:
    with suppress(ValueError), Crowd.act.performed(name) as session:
        _change(session, name)
        raise ValueError


def _be_vetoed(name: str) -> None:
    with suppress(Problem), Crowd.act.performed(name) as session:
        _change(session, name)


def _be_refused(name: str) -> None:
    with suppress(Problem), Crowd.refuse.performed(name) as session:
        _change(session, name)


def _break_a_statement(name: str) -> None:
    with Crowd.act.performed(name) as session:
        with pytest.raises(sqlite3.Error), session.begin_nested():
            session.connection().connection.cursor().execute("INSERT INTO nowhere VALUES (1)")
        _change(session, name)
        add_details(note="went on")


def _die(name: str) -> None:
    with suppress(SystemExit), Crowd.act.performed(name) as session:
        _change(session, name)
        sys.exit()


def _reach_out(name: str) -> None:
    with Crowd.reach.undertaken(name) as undertaking:
        undertaking.at_the_end(lambda session: _change(session, name))


def _nest(name: str) -> None:
    with Crowd.act.performed(name) as session:
        _change(session, name)
        with pytest.raises(RuntimeError, match="do not nest"):
            Crowd.act.performed(name).__enter__()


WAYS: dict[str, tuple[Callable[[str], None], list[str]]] = {
    "well": (_do_well, ["ok"]),
    "wrong": (_do_wrong, ["failed"]),
    "vetoed": (_be_vetoed, ["denied"]),
    "refused": (_be_refused, ["failed"]),
    "broken": (_break_a_statement, ["ok"]),
    "dying": (_die, ["failed"]),
    "external": (_reach_out, ["ok", "started"]),
    "nested": (_nest, ["ok"]),
}
"""Each way to end, and what the trail says of it."""


def test_each_ends_as_it_would_alone(make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side, with readers and the sealer beside them, operations that end in every way leave what is theirs."""
    app = make_app(Crowd())
    disk = Disk(tmp_path, monkeypatch)
    over = threading.Event()

    def work(way: str) -> None:
        with acting(app):
            for number in range(EACH):
                WAYS[way][0](f"{way}-{number}")

    def look_on() -> None:
        while not over.is_set():
            with acting(app):
                sealer.try_to_seal()
            assert Api(app)("GET", "/v1/policies").status_code == 200

    with ThreadPoolExecutor(len(WAYS) + 1) as pool:
        beside = pool.submit(look_on)
        try:
            list(pool.map(work, WAYS))
        finally:
            over.set()
        beside.result(30)
    wanted = {
        (f"{way}-{n}", outcome): 1 for way, (_, outcomes) in WAYS.items() for outcome in outcomes for n in range(EACH)
    }
    done = {name for name, outcome in wanted if outcome == "ok"}
    url = f"sqlite:///{tmp_path / 'yoq.db'}"
    assert Counter((entry["target"], entry["outcome"]) for entry in entries(url)) == wanted
    assert Counter(policies(url)) == dict.fromkeys(done, 1)
    assert set(disk.read(SOURCES)) == done
    with app.app_context():
        sealer.seal()
    verified = app.test_cli_runner().invoke(args=["audit", "verify"])
    assert verified.exit_code == 0, verified.output
    assert behind(url, "SELECT count(*) AS n FROM audit_leaf")[0]["n"] == len(wanted)
