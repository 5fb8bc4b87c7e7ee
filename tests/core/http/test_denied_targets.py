"""What was denied is found by the same target as what was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Request
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.conftest import Api, MakeApp
from tests.support.agents import JOIN, registration
from tests.support.apps import HEALTH, manifest, service
from yoq_audit.export import feeds
from yoq_web import JOINING, Actor, Resource, db, hookimpl
from yoq_web.http.endpoints import find_declaration
from yoq_web.http.guard import find_attempt

LONG = "n" * 200
"""Two such names are too long for a target, which is cut."""

SHOP = manifest(service("a"), app="shop") | {"workers": [{"name": "w", "image": "w:1"}]}
ROLLING = manifest(service("a", "img:2"), app="shop", rollout=HEALTH) | {"workers": SHOP["workers"]}

things = Resource("things", __name__)


@things.operation("things_put", "PUT /v1/things/<shelf>/<name>", details=("shelf",))
def put(name: str, shelf: str, note: str = "") -> None:
    """Put a thing on a shelf."""


@things.operation("things_add", "POST /v1/things")
def add(name: str) -> None:
    """Add a thing."""


@things.operation("things_clear", "DELETE /v1/things")
def clear() -> None:
    """Throw all things away."""


class Things:
    """A plugin whose operations take their targets from the path, from the body and from nowhere."""

    name = "things"

    @hookimpl
    def yoq_contribute(self) -> object:
        """Contribute the operations."""
        return things.contribution()


DEEDS: list[tuple[str, str, dict[str, str], Any]] = [
    ("PUT", "/v1/things/<shelf>/<name>", {"shelf": "upper", "name": "cup"}, {"note": "x"}),
    ("POST", "/v1/things", {}, {"name": "cup"}),
    ("DELETE", "/v1/things", {}, None),
    ("GET", "/v1/secrets", {}, None),
    ("POST", "/v1/secrets", {}, {"name": "db", "value": "v"}),
    ("DELETE", "/v1/secrets/<name:name>", {"name": "db"}, None),
    ("POST", "/v1/policies", {}, {"source": "web", "target": "db", "action": "allow"}),
    ("POST", "/v1/policies", {}, {"source": LONG, "target": LONG, "action": "allow"}),
    ("DELETE", "/v1/policies/<source>/<target>", {"source": "web", "target": "db"}, None),
    ("DELETE", "/v1/policies/<source>/<target>", {"source": LONG, "target": LONG}, None),
    ("DELETE", "/v1/policies", {"": "?source=web/a&target=db"}, None),
    ("POST", "/v1/tokens", {}, {"name": "ops", "scopes": ["secrets:read"]}),
    ("DELETE", "/v1/tokens/<name:name>", {"name": "ops"}, None),
    ("POST", "/v1/agents", {}, registration()),
    ("POST", "/agents/register", {}, registration()),
    ("PUT", "/v1/agents/<agent>/labels", {}, {"labels": "zone=a"}),
    ("PUT", "/agents/<agent>/labels", {}, {"labels": "zone=a"}),
    ("POST", "/v1/apps", {}, SHOP),
    ("POST", "/deploy", {}, SHOP | {"app_name": None}),
    ("POST", "/v1/apps/<name:app>/workers/<name:worker>/run", {"app": "shop", "worker": "w"}, None),
    ("POST", "/apps/<app>/workers/<worker>/run", {"app": "shop", "worker": "w"}, None),
    ("POST", "/apps/apply", {}, ROLLING),
    ("POST", "/v1/apps/<name:app>/pause", {"app": "shop"}, None),
    ("POST", "/v1/apps/<name:app>/resume", {"app": "shop"}, None),
    ("POST", "/apps/<app>/rollout/pause", {"app": "shop"}, None),
    ("POST", "/apps/<app>/rollout/resume", {"app": "shop"}, None),
    ("POST", "/v1/apps/<name:app>/cancel", {"app": "shop"}, None),
    ("POST", "/v1/apps/<name:app>/rollback", {"app": "shop"}, {}),
    ("POST", "/apps/<app>/rollback", {"app": "shop"}, {}),
    ("POST", "/v1/apps", {}, ROLLING),
    ("POST", "/apps/<app>/rollout/cancel", {"app": "shop"}, None),
    ("POST", "/v1/agents/<agent>/drain", {}, None),
    ("POST", "/v1/agents/<agent>/undrain", {}, None),
    ("POST", "/agents/<agent>/drain", {}, None),
    ("DELETE", "/v1/agents/<agent>", {"": "?force=1"}, None),
    ("GET", "/v1/audit/export", {}, None),
    ("GET", "/v1/audit/stream", {}, None),
    ("POST", "/v1/backups", {}, {}),
    ("GET", "/v1/backups/<name>", {}, None),
    ("DELETE", "/v1/backups/<name>", {}, None),
]
"""A deed by every route with an operation, in an order in which each can be done."""


COMPOSED = {
    "policy_add": {"source", "destination"},
    "policy_delete": {"source", "destination"},
    "app_run": {"worker"},
    "agent_remove": {"force"},
    "things_put": {"shelf"},
}
"""The actions whose targets do not name their object alone, and the details that tell it apart."""


@pytest.mark.parametrize("backend", ["sqlite"])  # what a target is does not depend on the database
def test_a_denial_has_the_deeds_target(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """By each route that performs an operation, who may not is recorded with the action and target of who may."""
    monkeypatch.setattr(feeds, "LIFE_SECONDS", 0)
    monkeypatch.setattr(feeds, "CHECK_SECONDS", 0)
    app = make_app(Things(), YOQ_JOIN_TOKEN=JOIN)
    assert {(method, rule) for method, rule, _, _ in DEEDS} == set(audited(app))
    operator, agents = Api(app), Api(app, JOIN)
    stranger = operator.token("services:read", name="stranger")
    known: dict[str, str] = {}
    for method, rule, names, body in DEEDS:
        path = filled(rule, known | names)
        joining = audited(app)[method, rule] == JOINING

        def ask(api: Api, method: str = method, path: str = path, body: Any = body) -> TestResponse:
            return api(method, path, json=body, buffered=True)

        denied = None if joining else entry_of(operator, ask, stranger, 403)
        done = entry_of(operator, ask, agents if joining else operator)
        assert done["outcome"] == "ok", (method, path)
        if denied is None:  # nobody but who has the scope passes for an agent, so it is told of nobody
            with app.test_request_context(path, method=method, json=body):
                declaration = find_declaration(app.view_functions[matched(app, method, path)])
                assert declaration is not None
                assert find_attempt(declaration)[0] == done["target"]
        elif rule == "/v1/backups":
            assert denied["target"] is None  # it is made up by the deed
            known["name"] = done["target"]
        else:
            assert [denied[name] for name in ("action", "target", "outcome")] == [
                *(done["action"], done["target"], "denied")
            ], (method, path)
            assert denied["details"].items() <= done["details"].items(), (method, path)
            if done["action"] in COMPOSED:
                assert denied["details"].keys() >= COMPOSED[done["action"]], (method, path)
        if joining:
            known["agent"] = done["details"]["agent"]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/secrets", b""),
        ("/v1/secrets", b"{"),
        ("/v1/secrets", b'{"name":"x"}'),
        ("/v1/secrets", b'{"name":7,"value":"v"}'),
        ("/v1/secrets", b" " * (1024 * 1024 + 1)),
    ],
)
def test_a_body_that_says_nothing(api: Api, path: str, body: bytes) -> None:
    """A denied attempt whose body is of no use is denied and recorded all the same, without a target."""
    assert api.token("status:read")("POST", path, data=body).status_code == 403
    entry = api.entries(1)[0]
    assert (entry["action"], entry["target"], entry["outcome"]) == ("secret_set", None, "denied")


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("body", [b"", b"{", b'{"note":7}'])
def test_the_path_tells_where_the_body_does_not(make_app: MakeApp, body: bytes) -> None:
    """Of an operation whose target is in its path the target is known whatever came with it."""
    api = Api(make_app(Things()))
    assert api.token("status:read")("PUT", "/v1/things/upper/cup", data=body).status_code == 403
    assert (api.entries(1)[0]["action"], api.entries(1)[0]["target"]) == ("things_put", "cup")


def audited(app: Flask) -> dict[tuple[str, str], str | None]:
    """The scope of every route that performs an operation, by method and rule."""
    found: dict[tuple[str, str], str | None] = {}
    for rule in app.url_map.iter_rules():
        declaration = find_declaration(app.view_functions[rule.endpoint])
        if declaration and declaration.operation:
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            found |= {(method, rule.rule): declaration.scope for method in methods}
    return found


def filled(rule: str, names: dict[str, str]) -> str:
    """A rule's path with these names in it, and a query under none."""
    for name, value in names.items():
        rule = rule.replace(f"<{name}>", value).replace(f"<name:{name}>", value)
    return rule + names.get("", "")


def matched(app: Flask, method: str, path: str) -> str:
    """The endpoint that answers a request."""
    endpoint: str = app.url_map.bind("").match(path, method)[0]
    return endpoint


def entry_of(operator: Api, ask: Callable[[Api], TestResponse], api: Api, status: int | None = None) -> dict[str, Any]:
    """The entry that a request leaves."""
    answer = ask(api)
    assert status is None or answer.status_code == status, answer.text
    answer.close()
    (entry,) = [entry for entry in operator.entries(9) if entry["event_id"] == answer.headers["Audit-Id"]]
    return entry


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_session_that_ends_before_the_body_is_read(make_app: MakeApp) -> None:
    """The database ends the session with which the caller was looked up: the denial's target is told all the same."""

    class Lookup:
        """Looks callers up in the database, whose session is then ended by somebody else."""

        name = "lookup"

        @hookimpl
        def yoq_authenticate(self, request: Request) -> Actor | None:
            if request.headers.get("X-Lookup") is None:
                return None
            session = db.session()
            pid = session.scalar(text("SELECT pg_backend_pid()"))
            with db.engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            return Actor("token", "weak", ("apps:read",))

    api = Api(make_app(Lookup()))
    body = {"name": "db", "value": "hunter2"}
    denied = api("POST", "/v1/secrets", json=body, headers={"X-Lookup": "yes"})
    assert denied.status_code == 403
    (entry,) = api.entries()
    assert (entry["target"], entry["outcome"], entry["actor"]) == ("db", "denied", "weak")
