"""Tokens over HTTP: what is told, what is stored, and who may make them."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.conftest import Api
from yoq_web import db
from yoq_web.database.rights import allow_commits
from yoq_web.tokens.models import Token


def create(api: Api, **body: Any) -> dict[str, Any]:
    """A new token as answered."""
    answer = api("POST", "/v1/tokens", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json  # type: ignore[assignment]
    return made


def change(app: Flask, **values: object) -> None:
    """Change every token's row behind the program's back."""
    with app.app_context(), allow_commits(), db.engine.begin() as connection:
        connection.execute(update(Token).values(values))


def test_a_token_is_shown_once_and_only_its_hash_is_kept(api: Api, app: Flask) -> None:
    """The answer holds 64 hex characters; the row, the list and the entry hold no trace of them."""
    answer = api("POST", "/v1/tokens", json={"name": "ci", "scopes": ["secrets:read", "audit:read"]})
    text = answer.json["token"]  # type: ignore[index]
    assert re.fullmatch(r"[0-9a-f]{64}", text)
    assert answer.text == (f'{{"name":"ci","scopes":["secrets:read","audit:read"],"token":"{text}","expires_at":null}}')
    with app.app_context():
        row = db.session.execute(select(Token.__table__)).one()
    assert row.secret_hash == hashlib.sha256(text.encode()).hexdigest()
    assert text not in str(tuple(row))
    assert text not in api("GET", "/v1/tokens").text + api("GET", "/v1/audit").text
    entry = api.entries(1)[0]
    assert (entry["action"], entry["target"], entry["outcome"]) == ("token_create", "ci", "ok")
    assert entry["details"] == {"scopes": ["secrets:read", "audit:read"], "expires_at": None}


def test_the_list_has_every_token_newest_first(api: Api, app: Flask) -> None:
    """Listed with exactly these members in this order; revoked and expired ones stay."""
    for name in ("a", "b", "c"):
        create(api, name=name, scopes=["*"], ttl="1h" if name == "b" else None)
    change(app, created_at=1000, expires_at=None)
    assert api("DELETE", "/v1/tokens/b").status_code == 200
    shown = ',"scopes":["*"],"status":'
    assert api("GET", "/v1/tokens").text == (
        f'[{{"name":"c"{shown}"active","created_at":1000,"expires_at":null}},'
        f'{{"name":"b"{shown}"revoked","created_at":1000,"expires_at":null}},'
        f'{{"name":"a"{shown}"active","created_at":1000,"expires_at":null}}]'
    )


def test_a_named_token_acts_under_its_name(api: Api) -> None:
    """What a token does stands in the trail under its name, with its kind."""
    ci = api.token("secrets:write", name="deploy bot ü")
    assert ci("POST", "/v1/secrets", json={"name": "db", "value": "v"}).status_code == 200
    entry = api.entries(1)[0]
    assert (entry["actor"], entry["actor_kind"], entry["action"]) == ("deploy bot ü", "token", "secret_set")


@pytest.mark.parametrize(("ttl", "seconds"), [("45s", 45), ("30m", 1800), ("12h", 43200), ("7d", 604800)])
def test_a_time_to_live_sets_the_expiry(api: Api, ttl: str, seconds: int) -> None:
    """The expiry is told and listed, so many seconds after the creation."""
    made = create(api, name="ci", scopes=["*"], ttl=ttl)
    listed = api("GET", "/v1/tokens").json[0]  # type: ignore[index]
    assert made["expires_at"] == listed["expires_at"] == listed["created_at"] + seconds


def test_an_expired_token_is_nobody(api: Api, app: Flask) -> None:
    """From the second of its expiry on a token is refused; before, and without an expiry, it is taken."""
    ci = api.token("secrets:read")
    now = int(time.time())
    for expires_at, status, shown in ((now + 600, 200, "active"), (now - 1, 401, "expired"), (None, 200, "active")):
        change(app, expires_at=expires_at)
        assert ci("GET", "/v1/secrets").status_code == status
        assert api("GET", "/v1/tokens").json[0]["status"] == shown  # type: ignore[index]


def test_revoking_works_at_once_and_again(api: Api, app: Flask) -> None:
    """The next request with a revoked token is 401; revoking again is no error and keeps the first time."""
    ci = api.token("secrets:read")
    assert ci("GET", "/v1/secrets").status_code == 200
    answer = api("DELETE", "/v1/tokens/ci")
    assert (answer.status_code, answer.text) == (200, '{"status":"revoked"}')
    assert ci("GET", "/v1/secrets").status_code == 401
    change(app, revoked_at=1000, expires_at=1)
    assert api("DELETE", "/v1/tokens/ci").text == '{"status":"revoked"}'
    with app.app_context():
        assert db.session.scalar(select(Token.revoked_at)) == 1000
    assert api("GET", "/v1/tokens").json[0]["status"] == "revoked"  # type: ignore[index]
    assert [entry["outcome"] for entry in api.entries() if entry["action"] == "token_revoke"] == ["ok", "ok"]


def test_revoking_an_unknown_token_is_not_recorded(api: Api) -> None:
    """404, and no entry: nothing took place."""
    answer = api("DELETE", "/v1/tokens/nope")
    assert (answer.status_code, answer.json["error"]) == (404, "not found")  # type: ignore[index]
    assert api.entries() == []


def test_a_name_is_never_given_twice(api: Api) -> None:
    """Not even after revocation; the refusal is a 409, recorded as failed, and the first token stays what it was."""
    first = api.token("secrets:read", name="ci")
    for _ in range(2):
        answer = api("POST", "/v1/tokens", json={"name": "ci", "scopes": ["*"]})
        assert answer.status_code == 409
        assert answer.json["error"] == "failed to create token (does 'ci' already exist?)"  # type: ignore[index]
        entry = api.entries(1)[0]
        assert (entry["action"], entry["target"], entry["outcome"]) == ("token_create", "ci", "failed")
        assert api("DELETE", "/v1/tokens/ci").status_code == 200
    assert first("GET", "/v1/secrets").status_code == 401
    assert len(api("GET", "/v1/tokens").json) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["api-token", "join-token", "local", "system", "unauthenticated"])
def test_no_token_passes_for_another_actor(api: Api, name: str) -> None:
    """The trail's own labels are not to be had."""
    answer = api("POST", "/v1/tokens", json={"name": name, "scopes": ["*"]})
    assert (answer.status_code, answer.json["error"]) == (409, "the name is reserved")  # type: ignore[index]
    assert api("GET", "/v1/tokens").json == []


def test_two_names_never_share_a_label(api: Api) -> None:
    """The trail shows 64 bytes of a name, cut between characters and marked; a second name with the same is refused."""
    name = "é" * 31 + "xé" + "y" * 100
    long = api.token("secrets:*", name=name)
    assert long("GET", "/v1/secrets").status_code == 200
    assert api.entries(1)[0]["actor"] == "é" * 30 + "…"
    for other in ("é" * 30 + "…", name + "z", "é" * 30 + "ü" * 5):
        answer = api("POST", "/v1/tokens", json={"name": other, "scopes": ["*"]})
        assert answer.status_code == 409, other
    create(api, name="é" * 32, scopes=["*"])


@pytest.mark.parametrize("backend", ["sqlite"])  # decided before the database is asked
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b"{}", "missing name field"),
        (b'{"name":"ci"}', "missing scopes field"),
        (b'{"name":"","scopes":["*"]}', "name cannot be empty"),
        (b'{"name":"ci","scopes":"*"}', "missing scopes field"),
        (b'{"name":"ci","scopes":[1]}', "missing scopes field"),
        (b'{"name":"ci","scopes":[]}', "invalid scopes"),
        (b'{"name":"ci","scopes":[' + b'"*",' * 16 + b'"*"]}', "invalid scopes"),
        (b'{"name":"ci","scopes":["secrets"]}', "invalid scope: secrets"),
        (b'{"name":"ci","scopes":["secrets:admin"]}', "invalid scope: secrets:admin"),
        (b'{"name":"ci","scopes":["*","nothing:read"]}', "invalid scope: nothing:read"),
        (b'{"name":"ci","scopes":["secrets:read,*"]}', "invalid scope: secrets:read,*"),
        (b'{"name":"ci","scopes":[" *"]}', "invalid scope:  *"),
        (b'{"name":"ci","scopes":[""]}', "invalid scope: "),
        (b'{"name":"ci","scopes":["*"],"ttl":"0s"}', "invalid ttl"),
        (b'{"name":"ci","scopes":["*"],"ttl":"-1h"}', "invalid ttl"),
        (b'{"name":"ci","scopes":["*"],"ttl":"1w"}', "invalid ttl"),
        (b'{"name":"ci","scopes":["*"],"ttl":"1.5h"}', "invalid ttl"),
        (b'{"name":"ci","scopes":["*"],"ttl":""}', "invalid ttl"),
        ('{"name":"ci","scopes":["*"],"ttl":"٣h"}', "invalid ttl"),
        (b'{"name":"ci","scopes":["*"],"ttl":"9999999999d"}', "invalid ttl"),
        (b'{"name":"ci","scopes":["*"],"ttl":3600}', "missing ttl field"),
        (b'{"name":"--ci","scopes":["*"]}', "invalid name"),
        (b'{"name":"a\\nb","scopes":["*"]}', "invalid name"),
        (b'{"name":"a\\u001b[2K","scopes":["*"]}', "invalid name"),
        (b'{"name":"a\\u0000","scopes":["*"]}', "invalid name"),
        (b'{"name":"a\\u202eb","scopes":["*"]}', "invalid name"),
        (b'{"name":"' + b"n" * 257 + b'","scopes":["*"]}', "invalid name"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(api: Api, body: bytes | str, text: str) -> None:
    """Every bad body is a 400 that names what was wrong; no token is made and nothing recorded."""
    answer = api("POST", "/v1/tokens", data=body)
    assert (answer.status_code, answer.json["error"]) == (400, text)  # type: ignore[index]
    assert api("GET", "/v1/tokens").json == []
    assert api.entries() == []


def test_the_vocabulary_is_yoqs_and_the_plugins(api: Api) -> None:
    """Each of yoq's scopes and each of the audit plugin's can be given to a token."""
    resources = [
        "apps",
        "secrets",
        "policies",
        "certificates",
        "audit",
        "status",
        "services",
        "cluster",
        "agents",
        "containers",
        "images",
        "s3",
    ]
    words = ["*", "cluster:admin", *(f"{name}:{verb}" for name in resources for verb in ("read", "write", "*"))]
    for start in range(0, len(words), 16):
        create(api, name=f"t{start}", scopes=words[start : start + 16])


def test_only_administrators_manage_tokens(api: Api) -> None:
    """No scope but `*` suffices, however much else a token holds; a named token with `*` is an administrator."""
    resources = ["secrets", "policies", "audit", "status", "services", "cluster", "agents"]
    nearly = api.token(*(f"{resource}:*" for resource in resources), "cluster:admin", name="nearly")
    for method, path in (("GET", "/v1/tokens"), ("POST", "/v1/tokens"), ("DELETE", "/v1/tokens/nearly")):
        assert nearly(method, path).status_code == 403
    root = api.token("*", name="root")
    assert root("DELETE", "/v1/tokens/nearly").status_code == 200
    assert nearly("GET", "/v1/secrets").status_code == 401
