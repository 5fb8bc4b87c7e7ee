"""Input that is not understood is refused by name: on every route, in every body, for plugins' as for the core's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_origin

import pytest
from flask import Flask
from werkzeug.routing import Rule

from tests.conftest import Api, MakeApp
from tests.support.agents import JOIN, registration
from yoq_web import JOINING, Contribution, Resource, hookimpl
from yoq_web.http.endpoints import Declaration, find_declaration

shelves = Resource("shelves", __name__)


@shelves.operation("shelves_put", "PUT /v1/shelves/<shelf>")
def put(shelf: str, note: str = "", count: int = 1) -> None:
    """Put something on a shelf."""


@shelves.operation("shelves_drop", "DELETE /v1/shelves/<name:shelf>")
def drop(shelf: str) -> None:
    """Take a shelf away."""


@shelves.reading("GET /v1/shelves")
def list_shelves() -> list[str]:
    """List the shelves."""
    return []


class Shelves:
    """A plugin with a body and a route without."""

    name = "shelves"

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Contribute them."""
        return shelves.contribution()


Route = tuple[str, str, Declaration]


def routes_of(app: Flask) -> Iterator[Route]:
    """Method, an example path and the declaration of every route under /v1."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        found = find_declaration(app.view_functions[rule.endpoint])
        assert found
        if rule.rule.startswith("/v1/") and not found.hidden:
            path = adapter.build(rule.endpoint, {name: example(rule, name) for name in rule.arguments})
            yield from ((method, path, found) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"})


def example(rule: Rule, name: str) -> str:
    """A value of a variable of a rule."""
    return "0/000" if type(rule._converters[name]).__name__ == "PathConverter" else "1"


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application with plugins that have bodies."""
    return make_app(Shelves(), YOQ_JOIN_TOKEN=JOIN)


def send(app: Flask, route: Route, query: str = "", **options: Any) -> dict[str, Any]:
    """The problem with which a route answers a request that it must refuse."""
    method, path, declaration = route
    api = Api(app, JOIN) if declaration.scope == JOINING else Api(app)
    answer = api(method, path + query, **options)
    assert answer.status_code == 400, (method, path, answer.text)
    problem: dict[str, Any] = answer.get_json()
    return problem


def needed(route: Route, other_than: str = "") -> str:
    """The parameters without which a route answers nothing."""
    fields = route[2].query.model_fields if route[2].query else {}
    names = [field.alias or name for name, field in fields.items() if field.is_required()]
    return "".join(f"&{name}=0" for name in names if name != other_than)


def fields_of(route: Route) -> list[str]:
    """The parameters of a route."""
    query = route[2].query
    return [field.alias or name for name, field in query.model_fields.items()] if query else []


@pytest.mark.parametrize("backend", ["sqlite"])
def test_unknown_parameters(app: Flask) -> None:
    """A parameter that a route does not have is a 400 that names it, on every route of /v1."""
    for route in routes_of(app):
        assert send(app, route, f"?nonsense=1{needed(route)}")["error"] == "unknown parameter nonsense"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_repeated_parameters(app: Flask) -> None:
    """A parameter given twice is a 400 that names it, unless several values have a meaning."""
    tried = 0
    for route in routes_of(app):
        model = route[2].query
        for parameter, field in zip(fields_of(route), model.model_fields.values() if model else (), strict=True):
            if get_origin(field.annotation) is not list:
                problem = send(app, route, f"?{parameter}=1&{parameter}=1")
                assert problem["error"] == f"repeated parameter {parameter}"
                tried += 1
    assert tried > 10


@pytest.mark.parametrize("backend", ["sqlite"])
def test_empty_parameters(app: Flask) -> None:
    """A parameter without a value is a 400 that names it."""
    for route in routes_of(app):
        for parameter in fields_of(route):
            assert parameter in send(app, route, f"?{parameter}={needed(route, parameter)}")["error"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_unknown_members(app: Flask) -> None:
    """A member that a body does not have is a 400 that names it; only a manifest has members of its author's."""
    tried = 0
    for route in routes_of(app):
        body = route[2].body
        if body and not route[2].raw:
            problem = send(app, route, json={"nonsense": "a value"})
            assert "unknown member nonsense" in problem["error"] + problem.get("detail", "")
            assert "a value" not in str(problem)
            tried += 1
    assert tried > 8


@pytest.mark.parametrize("backend", ["sqlite"])
def test_repeated_members(app: Flask) -> None:
    """A member that is there twice is a 400 that names it, at whatever depth, in manifests too."""
    for route in routes_of(app):
        if route[2].body:
            for body in ('{"a":1,"a":1}', '{"x":[{"b":{"a":1,"a":2}}]}'):
                assert send(app, route, data=body)["error"] == "repeated member a"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_unexpected_bodies(app: Flask) -> None:
    """Where a route takes no body, one that says something is refused; an empty object says nothing."""
    for route in routes_of(app):
        if route[2].body is None:
            assert send(app, route, f"?{needed(route)}", data='{"force":true}')["error"] == "unexpected request body"
    api = Api(app)
    for body in (b"", b"{}", b" {}\n"):
        assert api("GET", "/v1/policies", data=body).status_code == 200


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("method", "path", "body", "error", "detail"),
    [
        ("POST", "/v1/tokens", {"name": "t", "scopes": ["*"], "TTL": "1h"}, "unknown member TTL", "did you mean ttl?"),
        (
            *("POST", "/v1/tokens", {"name": "t", "scopes": ["*"], "expires_at": 1}),
            *("unknown member expires_at", "there are name, scopes, ttl"),
        ),
        (
            *("POST", "/v1/tokens", {"nmae": "t", "scopes": ["*"]}),
            *("missing name field", "unknown member nmae: did you mean name?"),
        ),
        ("POST", "/v1/backups", {"recipient": []}, "unknown member recipient", "did you mean recipients?"),
        ("POST", "/v1/backups", {"recipients": []}, "invalid recipients", "at least 1 item"),
        ("PUT", "/v1/shelves/a", {"Note": "x"}, "unknown member Note", "did you mean note?"),
        ("PUT", "/v1/shelves/a", {"x\n" * 100: 1}, "unknown member", "there are note, count"),
        ("PUT", "/v1/shelves/a", {"x" * 65: 1}, "unknown member", "there are note, count"),
        ("PUT", "/v1/shelves/a", {"hunter2": 1}, "unknown member", "there are note, count"),
        ("GET", "/v1/audit?Limit=1", None, "unknown parameter Limit", "did you mean limit?"),
        ("GET", "/v1/audit/log/retention?a=1", None, "unknown parameter a", "there are none"),
        ("GET", "/v1/audit?limit=501", None, "invalid limit", "500 at most"),
        ("GET", "/v1/audit?since=1h&until=2h", None, "since is not before until", "no entry"),
        ("GET", "/v1/metrics?fromat=prometheus", None, "unknown parameter fromat", "did you mean format?"),
        ("GET", "/v1/metrics?mode=disks", None, "mode must be 'pairs', 'storage_io' or 'gpu'", None),
        ("GET", "/v1/status?mode=all", None, "mode must be 'service_discovery' or 'service_rollout'", None),
    ],
)
def test_what_is_said(app: Flask, method: str, path: str, body: Any, error: str, detail: str | None) -> None:  # noqa: PLR0917 - a table
    """The answer names what is wrong, and the nearest name that there is, else all of them."""
    answer = Api(app)(method, path, json=body)
    problem: dict[str, Any] = answer.get_json()
    assert (answer.status_code, problem["error"]) == (400, error)
    assert detail is None or detail in problem["detail"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_agents_fields_of_other_types(app: Flask) -> None:
    """What an agent says of itself is of the type that it should be; on yoq's own routes the rest counts as absent."""
    agents = Api(app, JOIN)
    for field in ("agent_api_port", "region", "labels", "gpu_count", "gpu_model"):
        for path, status in (("/v1/agents", 400), ("/agents/register", 200)):
            assert agents("POST", path, json=registration(**{field: [1]})).status_code == status, (path, field)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_yoqs_own_routes_stay_lenient(app: Flask) -> None:
    """Yoq's agents send more than is read: its routes take whatever they do not know, twice if it be."""
    agents, operator = Api(app, JOIN), Api(app)
    body = '{"token":"%s","address":"10.0.0.1","cpu_cores":1,"memory_mb":1,"more":1,"more":2}' % JOIN  # noqa: UP031 - braces
    answer = agents("POST", "/agents/register?x=1&x=2", data=body)
    assert answer.status_code == 200
    agent = answer.get_json()["id"]
    beat = {"cpu_cores": 4, "memory_mb": 8, "gpu_count": 0, "more": 1}
    assert agents("POST", f"/agents/{agent}/heartbeat", json=beat).status_code == 200
    assert operator("POST", f"/agents/{agent}/drain", data="whatever").status_code == 200
    assert operator("GET", "/apps?mode=whatever").status_code == 200


@pytest.mark.parametrize("backend", ["sqlite"])
def test_yoqs_client_may_ask_for_any_number(app: Flask) -> None:
    """`yoq audit --limit N` sends whatever it was told; it gets no more than the most."""
    api = Api(app)
    api.client.environ_base.pop("HTTP_USER_AGENT")  # yoq's sends none
    for number in (0, 501, 2**32 - 1):
        assert api("GET", f"/v1/audit?limit={number}").status_code == 200


@pytest.mark.parametrize("backend", ["sqlite"])
def test_public_routes_ignore_parameters(app: Flask) -> None:
    """Health checks and browsers add what they like to an address."""
    for path in ("/health", "/version", "/docs", "/openapi.json"):
        assert Api(app, None)("GET", f"{path}?t=1&t=2").status_code == 200
