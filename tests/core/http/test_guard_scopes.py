"""Scopes at the guard: which scope a path needs, which scopes cover it, and what a refusal leaves in the trail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Api
from yoq_web.scopes import is_granted

# Tables of what is decided without a look at the database run on one of them.
on_one_database = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.mark.parametrize(
    ("held", "required", "granted"),
    [
        ("*", "secrets:read", True),
        ("*", "cluster:admin", True),
        ("*", "*", True),
        ("secrets:read", "secrets:read", True),
        ("secrets:read", "secrets:write", False),
        ("secrets:write", "secrets:read", True),
        ("secrets:write", "secrets:write", True),
        ("secrets:*", "secrets:read", True),
        ("secrets:*", "secrets:write", True),
        ("secrets:*", "*", False),
        ("secrets:*", "policies:read", False),
        ("policies:write", "secrets:read", False),
        ("cluster:admin", "cluster:admin", True),
        ("cluster:admin", "cluster:read", False),
        ("cluster:admin", "cluster:write", False),
        ("cluster:write", "cluster:admin", False),
        ("cluster:write", "cluster:read", True),
        ("cluster:*", "cluster:admin", True),
        ("secrets", "secrets:read", False),
        ("secrets:", "secrets:read", False),
        ("", "secrets:read", False),
        ("*:*", "secrets:read", False),
        ("*:read", "secrets:read", False),
    ],
)
def test_matching(held: str, required: str, granted: bool) -> None:
    """`*` covers all, the same word itself, `resource:*` the resource, `write` also `read`, and nothing else."""
    assert is_granted([held], required) is granted
    assert is_granted(["images:read", held], required) is granted


@on_one_database
@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/secrets", "secrets:read"),
        ("POST", "/v1/secrets", "secrets:write"),
        ("DELETE", "/v1/secrets/a", "secrets:write"),
        ("GET", "/v1/policies", "policies:read"),
        ("POST", "/v1/policies", "policies:write"),
        ("DELETE", "/v1/policies/a/b", "policies:write"),
        ("GET", "/v1/audit", "audit:read"),
        ("GET", "/v1/audit/entries/x", "audit:read"),
        ("GET", "/metrics", "status:read"),
        ("GET", "/v1/tokens", "*"),
        ("POST", "/v1/tokens", "*"),
        ("DELETE", "/v1/tokens/a", "*"),
    ],
)
def test_the_scope_of_every_route(api: Api, method: str, path: str, scope: str) -> None:
    """A token with exactly the documented scope gets in; one with every other scope does not."""
    assert api.token(scope, name="enough")(method, path).status_code not in (401, 403)
    resource = scope.partition(":")[0]
    others = [f"{name}:*" for name in ("secrets", "policies", "audit", "status", "cluster", "apps") if name != resource]
    if scope.endswith(":write"):
        others.append(scope.replace(":write", ":read"))
    assert api.token(*others, name="others")(method, path).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "action", "target"),
    [
        ("POST", "/v1/secrets", "secret_set", None),
        ("DELETE", "/v1/secrets/db", "secret_delete", "db"),
        ("DELETE", "/v1/policies/web/db", "policy_delete", "web->db"),
        ("POST", "/v1/tokens", "token_create", None),
        ("DELETE", "/v1/tokens/root", "token_revoke", "root"),
        ("GET", "/v1/secrets", "secret_list", None),
    ],
)
def test_a_denied_operation_is_recorded(api: Api, method: str, path: str, action: str, target: str | None) -> None:
    """A known token's denied attempt stands under its name and the operation's action, and says what was missing."""
    answer = api.token("status:read", name="ci")(method, path, headers={"X-Request-Id": "try-1"})
    assert answer.status_code == 403
    entry = api.entries(1)[0]
    shown = ("actor", "actor_kind", "action", "target", "outcome", "request_id", "event_id")
    assert [entry[name] for name in shown] == [
        *("ci", "token", action, target, "denied", "try-1"),
        answer.headers["Audit-Id"],
    ]
    assert entry["reason"].startswith("needs the scope ")
    assert "needs the scope" in answer.json["detail"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [("GET", "/v1/audit", "audit:read"), ("GET", "/v1/tokens", "*"), ("POST", "/v1/apps/diff", "apps:read")],
)
def test_a_denial_without_an_operation_is_recorded(api: Api, method: str, path: str, scope: str) -> None:
    """Where no operation is involved the entry is `access_denied`, with the method and the path."""
    answer = api.token("status:read", name="ci")(method, path)
    assert answer.status_code == 403
    entry: dict[str, Any] = api.entries(1)[0]
    assert entry["event_id"] == answer.headers["Audit-Id"]
    assert (entry["actor"], entry["action"], entry["outcome"]) == ("ci", "access_denied", "denied")
    assert entry["target"] == f"{method} {path}"
    assert entry["details"] == {"method": method, "path": path}
    assert entry["reason"] == f"needs the scope {scope}"


def test_attempts_of_nobody_are_recorded(api: Api) -> None:
    """A request without valid credentials leaves `access_denied` under `unauthenticated`, without the token sent."""
    assert api.with_token("f" * 64)("DELETE", "/v1/secrets/db").status_code == 401
    entry = api.entries(1)[0]
    assert (entry["actor"], entry["actor_kind"]) == ("unauthenticated", "unauthenticated")
    assert (entry["action"], entry["target"], entry["outcome"]) == ("access_denied", "DELETE /v1/secrets/db", "denied")
    assert "f" * 64 not in str(entry)
