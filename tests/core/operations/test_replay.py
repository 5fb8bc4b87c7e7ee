"""Replaying the spool: each event goes, once, to the recorders that lack it, whatever became of others."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.conftest import Api, MakeApp
from tests.core.operations.test_failure_policy import SET, no_audit_log
from tests.support.door import Probe, acting, entries, probe_act
from tests.support.plugins import Made
from yoq_web import Event
from yoq_web.operations.spool import current_spool


def test_only_the_recorder_that_failed_gets_the_event_again(make_app: MakeApp, database_url: str) -> None:
    """A plugin's recorder that raises for a while misses nothing, and nobody else hears an event twice."""
    seen: list[str | None] = []
    broken = [True]

    def record(event: Event) -> None:
        if broken:
            raise RuntimeError("hunter2")
        seen.append(event.target)

    app = make_app(Made("mirror", yoq_record_operation=record))
    api = Api(app)
    for name in ("a", "b"):
        assert api("POST", "/v1/secrets", json=SET | {"name": name}).status_code == 200
    assert [entry["target"] for entry in entries(database_url)] == ["a", "b"]
    assert api("GET", "/health").json == {"status": "degraded", "spool": 2}
    broken.clear()
    assert api("POST", "/v1/secrets", json=SET | {"name": "c"}).status_code == 200
    assert seen == ["c", "a", "b"]
    assert [entry["target"] for entry in entries(database_url)] == ["a", "b", "c"]
    assert api("GET", "/health").json == {"status": "ok"}


def test_an_event_that_is_never_taken_holds_up_no_other(make_app: MakeApp) -> None:
    """Events that a recorder cannot take at all wait on, and those behind them are stored."""
    seen: list[str | None] = []
    broken = [True]

    def record(event: Event) -> None:
        if broken or (event.target or "").startswith("bad"):
            raise RuntimeError
        seen.append(event.target)

    api = Api(make_app(Made("mirror", yoq_record_operation=record)))
    for name in ("bad1", "bad2", "bad3", "bad4", "good"):
        api("POST", "/v1/secrets", json=SET | {"name": name})
    broken.clear()
    api("POST", "/v1/secrets", json=SET | {"name": "last"})
    assert seen == ["last", "good"]
    assert api("GET", "/health").json == {"status": "degraded", "spool": 4}


def test_what_waits_for_a_plugin_that_is_gone_is_set_aside(make_app: MakeApp, tmp_path: Path) -> None:
    """A removed plugin's events degrade nothing for ever; those of a blocked one wait for it."""

    def record(event: Event) -> None:
        raise RuntimeError

    mirror = Made("mirror", yoq_record_operation=record)
    Api(make_app(mirror))("POST", "/v1/secrets", json=SET)
    blocked = Api(make_app(mirror, YOQ_BLOCKED_PLUGINS="mirror"))
    current_spool(blocked.app).due = True
    blocked("GET", "/v1/secrets")
    assert blocked("GET", "/health").get_json()["spool"] == 1
    without = Api(make_app())
    current_spool(without.app).due = True
    without("GET", "/v1/secrets")
    assert without("GET", "/health").json == {"status": "ok"}
    assert json.loads((tmp_path / "spool.torn").read_text())["event"]["target"] == "db"


def test_a_spooled_operation_may_be_unknown_by_then(make_app: MakeApp, database_url: str) -> None:
    """The record of a plugin's operation is stored under its label even after the plugin was removed."""
    app = make_app(Probe())
    with no_audit_log(database_url), acting(app), probe_act.performed("b", note="why", many=("x", "y")):
        pass
    without = Api(make_app())
    current_spool(without.app).due = True
    without("GET", "/v1/secrets")
    entry = next(entry for entry in without.entries() if entry["action"] == "probe_act")
    late = entry["details"].pop("stored_at")
    assert late >= entry["recorded_at"]
    assert (entry["target"], entry["details"]) == ("b", {"note": "why", "many": ["x", "y"]})


def test_what_came_late_says_when_it_was_stored(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Its time is that of the deed; what did not wait says nothing. Handed over once more it is the same entry."""
    api = Api(make_app())
    with no_audit_log(database_url):
        api("POST", "/v1/secrets", json=SET)
    waiting = {path.name: path.read_bytes() for path in tmp_path.glob("spool*")}
    time.sleep(1.1)
    before = int(time.time())
    api("POST", "/v1/secrets", json=SET)
    late, prompt = api.entries()
    assert "stored_at" not in prompt["details"]
    assert late["recorded_at"] < before <= late["details"]["stored_at"]
    # As after a crash between the commit and the spool's own note of it.
    time.sleep(1.1)
    for name, content in waiting.items():
        (tmp_path / name).write_bytes(content)
    again = Api(make_app())
    current_spool(again.app).due = True
    again("GET", "/v1/secrets")
    assert again("GET", "/health").json == {"status": "ok"}
    assert again.entries()[1:] == [late, prompt]


def test_the_next_start_records_what_waits(make_app: MakeApp, database_url: str) -> None:
    """What one process could not record the next one does when it starts, a command as well."""
    with no_audit_log(database_url):
        Api(make_app())("POST", "/v1/secrets", json=SET)
    assert make_app().test_cli_runner().invoke(args=["policy", "list"]).exit_code == 0
    assert [(entry["action"], entry["target"]) for entry in entries(database_url)] == [("secret_set", "db")]
