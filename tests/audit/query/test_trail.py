"""The trail over HTTP: yoq's contract for `GET /v1/audit`, and the entries behind it."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from flask import Flask

from tests.conftest import ADMIN, Api
from yoq_web.actors import ADMIN as ADMINISTRATOR
from yoq_web.actors import set_actor
from yoq_web.policies.operations import delete_policy

MEMBERS = [
    *("recorded_at", "actor", "action", "target", "outcome"),
    *("id", "event_id", "time", "actor_kind", "reason", "request_id", "node", "peer", "details", "version", "nonce"),
]
CLIENT_LIMIT = 64 * 1024


def fill(app: Flask, entries: int, name: str = "s") -> None:
    """Leave so many entries, numbered in their targets."""
    with app.test_request_context():
        set_actor(ADMINISTRATOR)
        for number in range(entries):
            delete_policy(name, str(number))


def targets(api: Api, query: str) -> list[str]:
    """The targets listed for a query, without the source's name."""
    answer = api("GET", f"/v1/audit{query}")
    assert answer.status_code == 200, answer.text
    return [entry["target"].partition("->")[2] for entry in answer.json]  # type: ignore[union-attr]


def old_client(api: Api, path: str) -> bytes:
    """What yoq's own client gets: it sends no User-Agent."""
    api.client.environ_base.pop("HTTP_USER_AGENT", None)
    body: bytes = api("GET", path).data
    return body


def test_an_entry_begins_with_yoqs_five_members(api: Api) -> None:
    """The five come first, in this order, compact and unescaped, as yoq's clients search them."""
    before = int(time.time())
    assert api("POST", "/v1/secrets", json={"name": 'é"x', "value": "v"}).status_code == 200
    answer = api("GET", "/v1/audit")
    assert answer.content_type == "application/json"
    start = re.match(
        r'\[\{"recorded_at":(\d+),"actor":"api-token","action":"secret_set","target":"é\\"x","outcome":"ok",',
        answer.text,
    )
    assert start is not None, answer.text
    assert before <= int(start[1]) <= time.time()
    assert list(answer.json[0]) == MEMBERS  # type: ignore[index]
    assert answer.text == json.dumps(answer.json, ensure_ascii=False, separators=(",", ":"))


def test_an_entry_says_who_did_what_from_where(api: Api) -> None:
    """The further members: time to the microsecond, kind of actor, request, node, peer, details, version."""
    answer = api(
        "POST",
        "/v1/policies",
        json={"source": "web", "target": "db", "action": "deny"},
        headers={"X-Request-Id": "r1"},
        environ_overrides={"REMOTE_ADDR": "192.0.2.7"},
    )
    entry: dict[str, Any] = api.entries(1)[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", entry["time"])
    assert entry["event_id"] == answer.headers["Audit-Id"]
    details = {"source": "web", "destination": "db", "action": "deny", "before": None}
    assert [entry[name] for name in MEMBERS[8:-1]] == [
        *("admin", None, "r1", "node-1", "192.0.2.7", details, 1),
    ]
    assert re.fullmatch(r"[0-9a-f]{32}", entry["nonce"])


def test_an_operation_without_a_target_has_null(api: Api) -> None:
    """A target that is not there is null, not an empty string."""
    assert api("GET", "/v1/secrets").status_code == 200
    assert ',"action":"secret_list","target":null,"outcome":"ok",' in api("GET", "/v1/audit").text


def test_an_empty_trail_is_an_empty_array(api: Api) -> None:
    """A new server answers `[]`; reading the trail adds nothing to it."""
    for _ in range(2):
        assert api("GET", "/v1/audit").data == b"[]"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_how_a_limit_is_read(api: Api, app: Flask) -> None:
    """Default 50, at most 500, 0 is none; else it is refused; yoq's client may ask for more than the most."""
    fill(app, 510)
    newest = [str(number) for number in range(509, -1, -1)]
    for query, count in {"": 50, "?limit=0": 0, "?limit=1": 1, "?limit=007": 7, "?limit=500": 500}.items():
        assert targets(api, query) == newest[:count], query
    bad = ("", "abc", "-1", "+1", "1.5", "1e2", "%201", "%D9%A3", "%C2%B2", "%00", "%FF")
    for given in (*bad, "501", "4294967295", "9" * 26):
        answer = api("GET", f"/v1/audit?limit={given}")
        assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid limit"), given
    for number in (501, 2**32 - 1, 10**26):
        assert len(json.loads(old_client(api, f"/v1/audit?limit={number}"))) == 500
    for given in bad:
        assert api("GET", f"/v1/audit?limit={given}").status_code == 400, given


def test_the_newest_entry_comes_first(api: Api, app: Flask) -> None:
    """Order is by row, newest first, on both databases."""
    fill(app, 60)
    assert targets(api, "?limit=60") == [str(number) for number in range(59, -1, -1)]


def test_an_entry_is_found_by_the_audit_id_of_its_answer(api: Api) -> None:
    """Every answer to an operation carries Audit-Id; the entry there is the one in the list."""
    for method, path, body in (
        ("POST", "/v1/secrets", {"name": "a", "value": "v"}),
        ("GET", "/v1/secrets", None),
        ("DELETE", "/v1/secrets/a", None),
        ("POST", "/v1/tokens", {"name": "local", "scopes": ["*"]}),
    ):
        audit_id = api(method, path, json=body).headers["Audit-Id"]
        answer = api("GET", f"/v1/audit/entries/{audit_id}")
        assert answer.status_code == 200
        assert answer.json == api.entries(1)[0]
        assert list(answer.json) == MEMBERS
        assert "Audit-Id" not in answer.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [("nope", 404), ("", 404), ("a/b", 404), ("%00", 400), ("x" * 257, 400), ("1", 404), ("%27%20OR%201=1--", 404)],
)
def test_an_unknown_entry_is_not_found(api: Api, path: str, status: int) -> None:
    """What names no entry is a 404 or a 400."""
    assert api("GET", f"/v1/audit/entries/{path}").status_code == status


def test_a_failed_operation_says_why(api: Api) -> None:
    """An operation that ended badly is in the trail with its outcome and the reason."""
    api.token("*", name="ci")
    assert api("POST", "/v1/tokens", json={"name": "ci", "scopes": ["*"]}).status_code == 409
    entry = api.entries(1)[0]
    assert entry["outcome"] == "failed"
    assert entry["reason"] == "failed to create token (does 'ci' already exist?)"


def test_a_client_without_a_user_agent_gets_no_more_than_it_can_take(api: Api, app: Flask) -> None:
    """Yoq's client takes 64 KiB: entries are cut to its five members only where they would be longer."""
    fill(app, 450)
    short = json.loads(old_client(api, "/v1/audit?limit=100"))
    assert list(short[0]) == MEMBERS
    answer = old_client(api, "/v1/audit?limit=450")
    assert len(answer) < CLIENT_LIMIT
    assert answer.startswith(b'[{"recorded_at":')
    assert [list(entry) for entry in json.loads(answer)] == [MEMBERS[:5]] * 450
    whole = api("GET", "/v1/audit?limit=450", headers={"User-Agent": "curl"})
    assert len(whole.data) > CLIENT_LIMIT
    assert [list(entry) for entry in whole.json] == [MEMBERS] * 450  # type: ignore[union-attr]


def test_reading_needs_audit_read(api: Api) -> None:
    """The trail is open to `audit:read` and to no other scope."""
    assert api.token("audit:read", name="auditor")("GET", "/v1/audit").status_code == 200
    assert api.token("audit:write", name="writer")("GET", "/v1/audit").status_code == 200
    assert api.token("secrets:*", name="ci")("GET", "/v1/audit").status_code == 403
    assert api.with_token(None)("GET", "/v1/audit").status_code == 401
    assert api.with_token(ADMIN)("GET", "/v1/audit").status_code == 200


def test_no_route_changes_the_trail(api: Api, app: Flask) -> None:
    """Entries can be read and nothing else, by an administrator too."""
    fill(app, 1)
    entry = api.entries()[0]
    for path in ("/v1/audit", f"/v1/audit/entries/{entry['event_id']}", "/v1/audit/entries"):
        for method in ("POST", "PUT", "DELETE"):
            assert api(method, path).status_code in (404, 405)
    assert api.entries() == [entry]


def test_long_targets_fit_into_yoqs_client(app: Flask, api: Api) -> None:
    """Where even the short form is longer than yoq's client takes, it gets the newest entries that fit."""
    fill(app, 230, name="s" * 250)
    answer = old_client(api, "/v1/audit?limit=500")
    assert CLIENT_LIMIT - 2048 < len(answer) < CLIENT_LIMIT - 512
    whole = api("GET", "/v1/audit?limit=500", headers={"User-Agent": "curl"}).json
    assert whole is not None
    assert len(whole) == 230
    short = json.loads(answer)
    assert short == [{name: entry[name] for name in MEMBERS[:5]} for entry in whole[: len(short)]]
