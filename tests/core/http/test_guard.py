"""The guard's decisions in yoq's order: method and length, public paths, credentials, scope, and then the route."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask
from werkzeug.test import TestResponse

from tests.conftest import ADMIN, Api, MakeApp
from yoq_web import Contribution, Status, endpoint
from yoq_web.app import DOMAINS
from yoq_web.http.endpoints import find_declaration
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
    head = nobody("HEAD", path)
    assert (head.status_code, head.data) == (200, b"")
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
@pytest.mark.parametrize("path", ["/nowhere", "/health/", "/v1/secrets/", "/v1/policies/a", "/v1"])
def test_an_unknown_path_is_401_then_404(api: Api, path: str) -> None:
    """Nobody learns which paths exist without a token; who has one is not asked for more scopes than it has."""
    scoped = api.token("apps:read")
    assert error(api.with_token(None)("GET", path)) == (401, "unauthorized")
    assert error(scoped("GET", path)) == (404, "not found")
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
    """A path with more slashes is another path: neither public nor a route."""
    assert error(raw(api.with_token(None), "GET", path)) == (401, "unauthorized")
    assert api.entries(1)[0]["target"] == f"GET {path}"
    assert error(raw(api.token("secrets:*"), "GET", path)) == (404, "not found")
    assert error(raw(api, "GET", path)) == (404, "not found")


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
        ("PUT", "/v1/policies", "DELETE, GET, HEAD, POST"),
        ("GET", "/v1/policies/a/b", "DELETE"),
        ("POST", "/v1/audit", "GET, HEAD"),
        ("DELETE", "/v1/audit", "GET, HEAD"),
        ("PUT", "/v1/tokens", "GET, HEAD, POST"),
        ("GET", "/v1/tokens/ci", "DELETE"),
        ("POST", "/metrics", "GET, HEAD"),
    ],
)
def test_a_known_path_with_another_method_is_405(api: Api, method: str, path: str, allow: str) -> None:
    """405 names the methods there are, and HEAD only where it is answered as GET is."""
    answer = api(method, path)
    assert error(answer) == (405, "method not allowed")
    assert answer.headers["Allow"] == allow


@on_one_database
@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/secrets", 405), ("/v1/secrets/db", 405), ("/v1/audit/export", 405), ("/v1/x", 404), ("/nowhere", 404)],
)
def test_head_performs_nothing(api: Api, path: str, status: int) -> None:
    """Where GET is an operation, or not there, HEAD gets what an unknown method would, and does nothing."""
    answer = api("HEAD", path)
    assert (answer.status_code, answer.data) == (status, b"")
    assert int(answer.headers["Content-Length"]) > 0
    assert ("Allow" in answer.headers) == (status == 405)
    assert api.entries() == []


def test_head_counts_as_reading(api: Api) -> None:
    """HEAD needs the scope that GET needs."""
    reader = api.token("secrets:read")
    assert reader("HEAD", "/v1/policies").status_code == 403
    assert api.token("policies:read", name="other")("HEAD", "/v1/policies").status_code == 200


@on_one_database
def test_a_path_that_is_not_there_is_404_for_whoever_is_known(api: Api) -> None:
    """Nobody is told to get more scopes for a path that does not exist, and no denial is recorded."""
    stranger = api.token("images:read")
    before = api.entries()
    for path in ("/v1/secretsfoo", "/v1/agents/1/y", "/v1/nothing", "/nothing", "/v1/policies/"):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            assert stranger(method, path).status_code == 404, (method, path)
            assert api.with_token("f" * 64)(method, path).status_code in (401, 429)
    assert [entry for entry in api.entries() if entry["actor"] != "unauthenticated"] == before


@on_one_database
def test_head_is_get_without_a_body(app: Flask, api: Api) -> None:
    """Wherever GET performs no operation HEAD has its status and headers; a route of yoq's own answers as yoq does."""
    adapter = app.url_map.bind("localhost")
    tried = 0
    for rule in app.url_map.iter_rules():
        declaration = find_declaration(app.view_functions[rule.endpoint])
        if "GET" in (rule.methods or ()) and declaration and not rule.arguments and rule.rule != "/v1/audit/stream":
            got, head = api("GET", path := adapter.build(rule.endpoint)), api("HEAD", path)
            assert head.data == b""
            if declaration.operation or (declaration.hidden and not declaration.public):
                assert head.status_code in (401, 404, 405), path
            elif not declaration.hidden:
                assert (head.status_code, head.content_type) == (got.status_code, got.content_type), path
                tried += 1
    assert tried > 12


@on_one_database
@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_written_in_any_case(app: Flask, scheme: str) -> None:
    """Clients write the scheme as they like (RFC 9110, 11.1), for named tokens and for the admin's."""
    token = Api(app).token("policies:read").headers["Authorization"].removeprefix("Bearer ")
    for secret in (ADMIN, token):
        assert app.test_client().get("/v1/policies", headers={"Authorization": f"{scheme} {secret}"}).status_code == 200


@on_one_database
def test_a_browser_is_no_attacker(api: Api) -> None:
    """What a browser asks for by itself is no failed authentication, and at the root it finds something to read."""
    nobody = api.with_token(None)
    for _ in range(15):
        assert nobody("GET", "/favicon.ico").status_code == 204
    start = nobody("GET", "/")
    assert (start.status_code, start.headers["Location"]) == (302, "docs")
    assert api.entries() == []


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
