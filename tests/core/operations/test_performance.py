"""What a block says of its operation while that is under way: details, its failure, what followed at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.depot import Depot, depot_push
from tests.support.door import VETO, Probe, acting, entries, policies, probe_act, probe_other
from tests.support.plugins import contributing
from yoq_web import Denied, Event, NotFound, Problem, add_details, hookimpl
from yoq_web.hooks.host import current_host
from yoq_web.operations.performance import add_sequel, mark_failed
from yoq_web.operations.replay import replay
from yoq_web.policies.models import Policy


@pytest.fixture
def probe() -> Probe:
    """The plugin of `app`."""
    return Probe()


@pytest.fixture
def app(make_app: MakeApp, probe: Probe) -> Flask:
    """An application with the plugin."""
    return make_app(probe)


def details(url: str) -> list[dict[str, Any]]:
    """The details of all entries, the oldest first."""
    return [json.loads(entry["details"]) for entry in entries(url)]


def test_what_a_block_adds_is_recorded(app: Flask, probe: Probe, database_url: str) -> None:
    """Beside what was known before; plugins that are told of it see it, too. The last word on a detail counts."""
    with acting(app), probe_act.performed("a", note="before"):
        add_details(many=["x"])
        add_details(note="after", many=["y", "z"])
    assert details(database_url) == [{"note": "after", "many": ["y", "z"]}]
    current_host(app).drain(10)
    assert dict(probe.committed[0].details) == {"note": "after", "many": ("y", "z")}
    assert dict(probe.asked[0].details) == {"note": "before"}


@pytest.mark.parametrize("error", [ValueError("x"), Problem(400, "bad"), Denied("no"), KeyboardInterrupt()])
def test_what_was_added_stays_however_it_ends(app: Flask, database_url: str, error: BaseException) -> None:
    """A failure and a refusal from inside the block are recorded with what the block had said until then."""

    def act() -> None:
        with probe_act.performed("a"):
            add_details(note="so far")
            raise error

    with acting(app), pytest.raises(type(error)):
        act()
    assert details(database_url) == [{"note": "so far"}]


def test_what_is_not_declared_is_refused(app: Flask, database_url: str) -> None:
    """It is a mistake of whoever wrote the operation: the change is not made, and the value is recorded nowhere."""
    with acting(app), pytest.raises(TypeError, match="probe_act does not declare value"), probe_act.performed("a"):
        add_details(value="hunter2")
    assert [(entry["outcome"], entry["reason"]) for entry in entries(database_url)] == [("failed", "TypeError")]
    assert "hunter2" not in str(entries(database_url))


def test_a_block_is_needed(app: Flask) -> None:
    """Before, after and between operations there is nothing to add to."""
    with acting(app):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no operation is under way"):
                add_details(note="x")
            with pytest.raises(RuntimeError, match="no operation is under way"):
                mark_failed("x")
            with pytest.raises(RuntimeError, match="no operation is under way"):
                add_sequel(probe_act, "a")
            with probe_act.performed("a"):
                pass
            with pytest.raises(NotFound), probe_act.performed("a"):
                raise NotFound


def test_added_details_are_cut_like_others(app: Flask, database_url: str) -> None:
    """With the same marks, and one line of `cut` for each that is cut in the end."""
    with acting(app), probe_act.performed("a", note="x" * 2000):
        add_details(many=["x"] * 65)
        add_details(note="y" * 3000)
    (found,) = details(database_url)
    assert found["note"] == "y" * 1021 + "…"
    assert found["cut"] == ["many: 65 items", "note: 3000 bytes"]


def test_external_operations_are_added_to_in_the_same_way(make_app: MakeApp, database_url: str) -> None:
    """add_details() is what the Undertaking's own method is, and refuses the same."""
    app = make_app(Depot())
    with acting(app):
        with depot_push.undertaken("north"):
            add_details(size=3)
        with pytest.raises(TypeError, match="does not declare secret"), depot_push.undertaken("north"):
            add_details(secret="x")
    assert details(database_url) == [{}, {"size": 3}, {}, {}]


def test_a_committed_change_can_be_a_failure(app: Flask, probe: Probe, database_url: str) -> None:
    """What it changed stays, and the entry says that it failed, and why; plugins are told of it as committed."""
    with acting(app), probe_act.performed("a") as session:
        session.add(Policy(source="a", target="b", action="deny", created_at=1))
        mark_failed("nobody was there")
    assert policies(database_url) == ["a"]
    assert [(entry["outcome"], entry["reason"]) for entry in entries(database_url)] == [("failed", "nobody was there")]
    current_host(app).drain(10)
    assert [event.outcome for event in probe.committed] == ["failed"]
    assert probe.failed == []


def test_what_follows_at_once_is_recorded_with_it(app: Flask, probe: Probe, database_url: str) -> None:
    """After the operation's own entry, as the system's deed, or not at all if the operation fails."""
    with acting(app), probe_act.performed("a"):
        add_sequel(probe_other, "b")
        add_sequel(probe_act, "c", "it broke", note="n", other="hunter2")

    def fail() -> None:
        with probe_act.performed("d"):
            add_sequel(probe_other, "e")
            raise ValueError("x")

    with acting(app), pytest.raises(ValueError, match="x"):
        fail()
    shown = ("actor", "action", "target", "outcome", "reason", "details")
    assert [tuple(entry[name] for name in shown) for entry in entries(database_url)] == [
        ("tester", "probe_act", "a", "ok", None, "{}"),
        ("system", "probe_other", "b", "ok", None, "{}"),
        ("system", "probe_act", "c", "failed", "it broke", '{"note":"n"}'),
        ("tester", "probe_act", "d", "failed", "ValueError", "{}"),
    ]
    current_host(app).drain(10)
    assert [event.target for event in probe.committed] == ["a", "b", "c"]


class Recorder:
    """A recorder that cannot store the events of one target."""

    name = "picky"

    def __init__(self) -> None:
        self.unwanted: str | None = "b"
        self.stored: list[str | None] = []

    @hookimpl
    def yoq_record_operation(self, event: Event) -> None:
        """Store it, unless it is unwanted."""
        if event.target == self.unwanted:
            raise ValueError("not this one")
        self.stored.append(event.target)


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("unwanted", ["a", "b"])
def test_what_follows_is_lost_as_little(make_app: MakeApp, database_url: str, unwanted: str) -> None:
    """Either of the two waits in the spool alone if it cannot be stored, and is stored later, once."""
    app = make_app(recorder := Recorder(), Probe())
    recorder.unwanted = unwanted
    with acting(app), probe_act.performed("a"):
        add_sequel(probe_other, "b")
    assert recorder.stored == [target for target in "ab" if target != unwanted]
    recorder.unwanted = None
    with app.app_context():
        replay()
        replay()
    assert sorted(map(str, recorder.stored)) == ["a", "b"]
    assert [entry["target"] for entry in entries(database_url)] == ["a", "b"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_refusing_what_follows_refuses_all(make_app: MakeApp, database_url: str) -> None:
    """With `refuse` nothing is changed if the one or the other cannot be recorded, and neither is said to be done."""
    app = make_app(Recorder(), Probe(), YOQ_AUDIT_FAILURE="refuse")
    with acting(app), pytest.raises(Problem, match="could not be recorded"), probe_act.performed("a"):
        add_sequel(probe_other, "b")
    assert [(entry["target"], entry["outcome"]) for entry in entries(database_url)] == [("a", "failed")]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_nothing_follows_in_an_external_operation(make_app: MakeApp) -> None:
    """It has no transaction to be committed with."""
    app = make_app(Depot(), Probe())
    with acting(app):
        with pytest.raises(RuntimeError, match="has none"), depot_push.undertaken("north"):
            add_sequel(probe_other, "b")
        with pytest.raises(RuntimeError, match="has none"), probe_act.performed("a"):
            add_sequel(depot_push, "b")


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_veto_sees_nothing_under_way(make_app: MakeApp, database_url: str) -> None:
    """What was vetoed is over: the next operation begins as if there had been none."""
    app = make_app(probe := Probe(VETO), contributing("idle"))
    with acting(app):
        with pytest.raises(Denied), probe_act.performed("a"):
            pass
        probe.veto = None
        with probe_act.performed("b"):
            add_details(note="n")
    assert details(database_url) == [{}, {"note": "n"}]
    assert Api(app).entries()[0]["outcome"] == "ok"
