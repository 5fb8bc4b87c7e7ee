"""External operations: the intent is committed before the effect, the outcome after it, and readers see one entry."""
# ruff: noqa: PT012 - what an operation raises comes out of its block, which has several steps

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from tests.conftest import Api, MakeApp
from tests.support.commandline import output
from tests.support.depot import Depot, depot_push
from tests.support.door import acting, behind, entries, policies
from yoq_web import Contribution, Denied, NotFound, Problem, Resource, Veto, db, hookimpl
from yoq_web.hooks.host import current_host
from yoq_web.operations.mac import INTENTS
from yoq_web.policies.operations import policy_delete

POLICY = "INSERT INTO policies (source, target, action, created_at) VALUES ('a', 'b', 'deny', 1)"
OTHER = POLICY.replace("'a'", "'other'")


def rows(url: str) -> list[tuple[str, str]]:
    """(event id, outcome) of each stored row, the oldest first."""
    return [(row["event_id"], row["outcome"]) for row in entries(url)]


def intents(tmp_path: Path) -> list[str]:
    """What this machine takes for under way."""
    folder = tmp_path / INTENTS
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def proved(app: Flask, event_id: str, tmp_path: Path) -> str:
    """What `audit check-proof` says of the entry's proof, offline."""
    proof, entry = tmp_path / "entry.tlog-proof", tmp_path / "entry.json"
    output(app, "audit", "prove", event_id, "-o", str(proof), "--entry", str(entry))
    key = output(app, "audit", "key").split()[-1]
    return output(app, "audit", "check-proof", str(proof), "--entry", str(entry), "--key", key)


def test_one_entry_is_read_first_started_then_settled(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """While it runs others write and read it as `started`, with a proof; afterwards as its outcome, with another."""
    seen: list[object] = []

    def effect() -> None:
        behind(database_url, POLICY)  # nothing holds the database
        [(event_id, outcome)] = rows(database_url)
        seen.extend([event_id, outcome])
        assert intents(tmp_path) == [f"{event_id}.json"]
        with app.app_context():  # somebody else's
            [entry] = Api(app).entries()
            assert (entry["event_id"], entry["outcome"], entry["details"]) == (event_id, "started", {"note": "by hand"})
            assert Api(app)("GET", f"/v1/audit/entries/{event_id}").json == entry
            assert Api(app)("GET", f"/v1/audit/entries/{event_id}/proof").status_code == 200

    app = make_app(depot := Depot(effect))
    answer = Api(app)("POST", "/v1/depot/north")
    assert (answer.status_code, answer.json) == (200, {"status": "pushed"})
    event_id = answer.headers["Audit-Id"]
    assert seen == [event_id, "started"]
    assert rows(database_url) == [(event_id, "started"), (event_id, "ok")]
    assert policies(database_url) == ["a"]
    [entry] = Api(app).entries()
    assert (entry["action"], entry["target"], entry["outcome"]) == ("depot_push", "north", "ok")
    assert (entry["details"], entry["actor"]) == ({"note": "by hand", "size": 3}, "api-token")
    assert Api(app)("GET", f"/v1/audit/entries/{event_id}").json == entry
    assert "OUTCOME\n" in (listed := output(app, "audit", "list"))
    assert "started" not in listed
    current_host(app).drain(10)
    assert depot.recorded == ["started", "ok"]
    assert [event.outcome for event in depot.committed] == ["ok"]
    assert (depot.failed, intents(tmp_path)) == ([], [])
    assert entry["event_id"] in proved(app, event_id, tmp_path)
    assert output(app, "audit", "verify").startswith("the log holds; 2 entries, 2 sealed")


def test_every_ending_is_recorded(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Whatever the block raises is raised again and settles the intent, with the details that were added until then."""
    app = make_app(depot := Depot())
    endings: dict[BaseException, tuple[str, str]] = {
        ValueError("hunter2"): ("failed", "ValueError"),
        KeyboardInterrupt(): ("failed", "KeyboardInterrupt"),
        NotFound("no depot"): ("failed", "no depot"),
        Problem(507, "the disk is full"): ("failed", "the disk is full"),
        Denied("not this depot"): ("denied", "not this depot"),
    }
    for error, (outcome, reason) in endings.items():
        with acting(app), pytest.raises(type(error)), depot_push.undertaken("north") as undertaking:
            undertaking.add(size=1)
            raise error
        started, settled = entries(database_url)[-2:]
        assert (started["event_id"], started["outcome"]) == (settled["event_id"], "started")
        assert (settled["outcome"], settled["reason"], settled["details"]) == (outcome, reason, '{"size":1}')
        assert intents(tmp_path) == []
    current_host(app).drain(10)
    assert [event.outcome for event in depot.failed] == [outcome for outcome, _ in endings.values()]
    assert depot.committed == []


def test_who_may_not_begins_nothing(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Without the scope, or with a veto, there is one entry `denied` and no effect."""
    effects: list[str] = []
    app = make_app(depot := Depot(lambda: effects.append("pushed")))
    assert Api(app).token("secrets:write")("POST", "/v1/depot/north").status_code == 403
    depot.veto = Veto("not on a Friday")
    answer = Api(app)("POST", "/v1/depot/north")
    assert (answer.status_code, (answer.json or {})["error"]) == (403, "not on a Friday")
    assert effects == []
    assert [outcome for _, outcome in rows(database_url)] == ["ok", "denied", "denied"]
    assert intents(tmp_path) == []


def test_the_rules_of_the_door(make_app: MakeApp, database_url: str) -> None:
    """External operations are undertaken, others performed; none nests; details are declared."""
    app = make_app(Depot())
    with acting(app):
        with pytest.raises(RuntimeError, match="undertaken"), depot_push.performed("north"):
            pass
        with pytest.raises(RuntimeError, match="not external"), policy_delete.undertaken("north"):
            pass
        assert rows(database_url) == []
        with pytest.raises(RuntimeError, match="do not nest"), depot_push.undertaken("north"), depot_push.undertaken():
            pass
        with pytest.raises(TypeError, match="does not declare secret"), depot_push.undertaken("b") as undertaking:
            undertaking.add(secret="hunter2")
        with depot_push.undertaken("c"):
            pass
    assert [outcome for _, outcome in rows(database_url)] == ["started", "failed"] * 2 + ["started", "ok"]


def test_a_change_is_committed_with_the_outcome(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """What the block leaves to be changed stands if its outcome does; if the change fails, so has the operation."""
    app = make_app(Depot())
    with acting(app), depot_push.undertaken("north") as undertaking:
        undertaking.at_the_end(lambda session: session.execute(text(POLICY)))
        assert policies(database_url) == []
    assert policies(database_url) == ["a"]
    with acting(app), pytest.raises(ZeroDivisionError), depot_push.undertaken("south") as undertaking:
        undertaking.at_the_end(lambda session: session.execute(text(OTHER)))
        undertaking.at_the_end(lambda _session: 1 / 0)
    with acting(app), pytest.raises(ValueError, match="x"), depot_push.undertaken("west") as undertaking:
        undertaking.at_the_end(lambda session: session.execute(text(OTHER)))
        raise ValueError("x")
    assert policies(database_url) == ["a"]
    assert [outcome for _, outcome in rows(database_url)] == ["started", "ok", *["started", "failed"] * 2]
    assert intents(tmp_path) == []


def test_a_change_left_in_the_session_fails_it(make_app: MakeApp, database_url: str) -> None:
    """What the block changes in the session outside a transaction of the door is not committed."""
    app = make_app(Depot())
    with acting(app), depot_push.undertaken("north"):
        db.session.execute(text(POLICY))
    assert policies(database_url) == []
    assert [outcome for _, outcome in rows(database_url)] == ["started", "ok"]


shelf = Resource("shelf", __name__)
STOCK: list[str] = []


@shelf.operation("shelf_fill", "POST /v1/shelf", external=True, details=("item",))
def fill(place: str, item: str) -> None:
    """Put something on the shelf."""
    if item == "fire":
        raise Problem(409, "that burns")
    STOCK.append(item)


class Shelf:
    """A plugin made of a Resource alone."""

    name = "shelf"

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Bring it."""
        return shelf.contribution()


def test_a_resource_may_be_external(make_app: MakeApp, database_url: str) -> None:
    """A Resource's function declared `external` is undertaken as a route and as a command."""
    app = make_app(Shelf())
    STOCK.clear()
    assert Api(app)("POST", "/v1/shelf", json={"place": "top", "item": "salt"}).json == {"status": "ok"}
    assert Api(app)("POST", "/v1/shelf", json={"place": "top", "item": "fire"}).status_code == 409
    assert output(app, "shelf", "fill", "low", "pepper") == "ok\n"
    assert STOCK == ["salt", "pepper"]
    shown = [(entry["target"], entry["outcome"], entry["details"]["item"]) for entry in Api(app).entries()]
    assert shown == [("low", "ok", "pepper"), ("top", "failed", "fire"), ("top", "ok", "salt")]
    assert [outcome for _, outcome in rows(database_url)] == ["started", "ok", "started", "failed", "started", "ok"]
