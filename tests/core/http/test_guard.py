"""The guard's decisions in yoq's order: method and length, public paths, credentials, scope, and then the route."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint
from werkzeug.test import TestResponse

from tests.conftest import ADMIN, Api, MakeApp
from yoq_web import Contribution, Status, endpoint
from yoq_web.app import DOMAINS
from yoq_web.secrets.operations import secret_set

# Tables of what is decided without a look at the database run on one of them.
on_one_database = pytest.mark.parametrize("backend", ["sqlite"])

PUBLIC = ("/health", "/version", "/openapi.json", "/docs")


def raw(api: Api, method: str, path: str, **headers: str) -> TestResponse:
    """Send a method and a path exactly as written; the client would tidy them."""
    return api("GET", "/", environ_overrides={"REQUEST_METHOD": method, "PATH_INFO": path}, headers=headers)


def error(answer: TestResponse) -> tuple[int, str]:
    """What a client matches on: the status and the `error` member."""
    assert answer.content_type == "application/problem+json"
    assert answer.text.startswith('{"error":"')
    return answer.status_code, answer.json["error"]  # type: ignore[index]


@on_one_database
@pytest.mark.parametrize("path", PUBLIC)
def test_public_paths_need_no_credentials(api: Api, path: str) -> None:
    """Public paths answer without a token and with a wrong one; other methods on them are 404, never 401."""
    nobody = api.with_token(None)
    assert nobody("GET", path).status_code == 200
    assert api.with_token("f" * 64)("GET", path).status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        assert error(nobody(method, path)) == (404, "not found")
    assert nobody("HEAD", path).status_code == 404
    assert error(nobody("PATCH", path)) == (400, "malformed request")


@on_one_database
def test_a_public_route_with_a_variable_is_public(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands in a public path's variable, it needs no credentials; another path does."""
    blueprint = Blueprint("extra", __name__)

    @blueprint.get("/extra/<name>")
    @endpoint(public=True)
    def show(name: str) -> Status:
        """Show a name."""
        return Status(status=name)

    # A plugin cannot have one: it is refused.
    monkeypatch.setitem(DOMAINS, "extra", lambda: Contribution(blueprints=(blueprint,)))
    nobody = Api(make_app(), None)
    for name in ("a", "x" * 300, "%C3%A4", "extra"):
        assert nobody("GET", f"/extra/{name}").status_code == (200 if len(name) < 256 else 400)
    assert error(nobody("POST", "/extra/a")) == (404, "not found")
    for path in ("/extra", "/extra/", "/extra/a/b", "//extra/a", "/extra/a/"):
        assert error(nobody("GET", path)) == (401, "unauthorized")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"public": True, "scope": "secrets:read"},
        {"public": True, "operation": secret_set},
        {"scope": "secrets:read", "operation": secret_set},
    ],
)
def test_a_route_is_public_or_needs_one_scope(given: dict[str, Any]) -> None:
    """What says two things of who may call a route, or nothing, is refused where it is written."""
    with pytest.raises(TypeError, match="needs one of"):
        endpoint(**given)


@on_one_database
@pytest.mark.parametrize("path", ["/nowhere", "/health/", "/v1/secrets/", "/v1/policies/a", "/v1", "/"])
def test_an_unknown_path_is_401_then_403_then_404(api: Api, path: str) -> None:
    """Nobody learns which paths exist without the scope for them."""
    scoped = api.token("apps:read")
    assert error(api.with_token(None)("GET", path)) == (401, "unauthorized")
    assert error(scoped("GET", path)) == (403, "forbidden: insufficient scope")
    assert error(api("GET", path)) == (404, "not found")


def test_401_says_how_to_authenticate(api: Api) -> None:
    """A 401 carries WWW-Authenticate and comes before 404, 405 and any look at the body."""
    nobody = api.with_token(None)
    for method, path in (("GET", "/nowhere"), ("PUT", "/v1/secrets"), ("POST", "/v1/secrets"), ("GET", "/v1/audit")):
        answer = nobody(method, path, data=b"{")
        assert error(answer) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@on_one_database
@pytest.mark.parametrize("path", ["//health", "///v1/secrets", "//v1/secrets"])
def test_paths_are_not_normalised(api: Api, path: str) -> None:
    """A path with more slashes is another path: neither public nor a route, and only `*` learns that."""
    assert error(raw(api.with_token(None), "GET", path)) == (401, "unauthorized")
    assert api.entries(1)[0]["target"] == f"GET {path}"
    assert error(raw(api.token("secrets:*"), "GET", path)) == (403, "forbidden: insufficient scope")
    assert error(raw(api, "GET", path)) == (404, "not found")
    entry = api.entries(1)[0]
    assert (entry["action"], entry["target"]) == ("access_denied", f"GET {path}")


@on_one_database
@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "Post", "WHATEVER"])
@pytest.mark.parametrize("path", ["/health", "/v1/secrets", "/nowhere"])
def test_other_methods_are_malformed(api: Api, method: str, path: str) -> None:
    """Anything but GET, HEAD, POST, PUT and DELETE in upper case is refused before credentials are looked at."""
    assert error(raw(api.with_token(None), method, path)) == (400, "malformed request")


@on_one_database
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/secrets", "GET, POST"),
        ("DELETE", "/v1/secrets", "GET, POST"),
        ("GET", "/v1/secrets/db", "DELETE"),
        ("POST", "/v1/secrets/db", "DELETE"),
        ("PUT", "/v1/policies", "GET, POST"),
        ("GET", "/v1/policies/a/b", "DELETE"),
        ("POST", "/v1/audit", "GET"),
        ("DELETE", "/v1/audit", "GET"),
        ("PUT", "/v1/tokens", "GET, POST"),
        ("GET", "/v1/tokens/ci", "DELETE"),
        ("POST", "/metrics", "GET"),
    ],
)
def test_a_known_path_with_another_method_is_405(api: Api, method: str, path: str, allow: str) -> None:
    """405 names the methods there are, and HEAD is not one of them."""
    answer = api(method, path)
    assert error(answer) == (405, "method not allowed")
    assert answer.headers["Allow"] == allow


@on_one_database
@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/secrets", 405), ("/v1/secrets/db", 405), ("/v1/audit", 405), ("/v1/secrets/", 404), ("/nowhere", 404)],
)
def test_head_is_not_get(api: Api, path: str, status: int) -> None:
    """HEAD gets the 404 or 405 that an unknown method would, with its length and no body, and does nothing."""
    answer = api("HEAD", path)
    assert (answer.status_code, answer.data) == (status, b"")
    assert int(answer.headers["Content-Length"]) > 0
    assert ("Allow" in answer.headers) == (status == 405)
    assert api.entries() == []


def test_head_counts_as_reading(api: Api) -> None:
    """HEAD needs the scope to read, even where a path can only be written."""
    reader = api.token("secrets:read")
    assert reader("HEAD", "/v1/secrets").status_code == 405
    assert reader("HEAD", "/v1/secrets/db").status_code == 405
    assert reader("DELETE", "/v1/secrets/db").status_code == 403
    assert api.token("policies:read", name="other")("HEAD", "/v1/secrets").status_code == 403


@pytest.mark.parametrize("resource", ["secrets", "policies", "audit", "status", "apps", "agents"])
@pytest.mark.parametrize("rest", ["foo", "/x/y/z"])
def test_a_resource_is_the_beginning_of_a_path(api: Api, resource: str, rest: str) -> None:
    """Where no route is, yoq asks for the scope of the resource that the path begins with, and looks no further."""
    path = f"/v1/{resource}{rest}"
    assert api.token(f"{resource}:read")("GET", path).status_code == 404
    assert api.token("images:read", name="other")("GET", path).status_code == 403


def test_a_long_target_is_refused_first(api: Api) -> None:
    """2048 characters of path and query are served, one more is a 400 even without credentials."""
    path = "/v1/audit"
    room = 2048 - len(path)
    assert api("GET", path, query_string=f"limit={'0' * (room - 7)}1").json == []
    nobody = api.with_token(None)
    assert error(nobody("GET", path, query_string="x" * (room + 1))) == (400, "request uri too long")
    assert error(nobody("GET", "/" + "x" * 2048)) == (400, "request uri too long")


@on_one_database
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        ADMIN,
        "Bearer",
        "Bearer ",
        f"bearer {ADMIN}",
        f"BEARER {ADMIN}",
        f"Bearer  {ADMIN}",
        f"Bearer\t{ADMIN}",
        f"Bearer {ADMIN} ",
        f" Bearer {ADMIN}",
        f"Bearer {ADMIN}a",
        f"Bearer {ADMIN[:-1]}",
        f"Bearer {ADMIN.upper()}",
        f"Bearer {ADMIN}, Bearer {ADMIN}",
        f"Basic {ADMIN}",
        "Bearer " + "\xe4" * 64,
        "Bearer " + "b" * 64,
    ],
)
def test_the_authorization_header_is_exact(api: Api, header: str | None) -> None:
    """`Bearer`, one space, the token, nothing else; near misses are nobody."""
    environ = {} if header is None else {"HTTP_AUTHORIZATION": header}
    answer = api.with_token(None)("GET", "/v1/secrets", environ_overrides=environ)
    assert error(answer) == (401, "unauthorized")
    environ = {"HTTP_AUTHORIZATION": f"Bearer {ADMIN}"}
    assert api.with_token(None)("GET", "/v1/secrets", environ_overrides=environ).status_code == 200


def test_the_scope_is_checked_before_the_body(api: Api) -> None:
    """A token without the scope gets 403 for any body: malformed, too large or none at all."""
    reader = api.token("secrets:read")
    for body in (b"", b"{", b"[" * 100_000, b"x" * (1024 * 1024 + 1), b'{"name":"db","value":"v"}'):
        assert error(reader("POST", "/v1/secrets", data=body)) == (403, "forbidden: insufficient scope")
    assert api("GET", "/v1/secrets").json == []


def test_every_error_is_a_problem_document(api: Api) -> None:
    """RFC 9457 with `error` first: the status, its phrase, and the id that finds the log lines."""
    answer = api("GET", "/nowhere", headers={"X-Request-Id": "r1"})
    assert answer.text == (
        '{"error":"not found","type":"about:blank","title":"Not Found","status":404,"request_id":"r1"}'
    )
