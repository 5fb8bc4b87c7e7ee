"""Secrets over HTTP: yoq's contract, and what never leaves the server."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from tests.conftest import Api
from yoq_web import db
from yoq_web.actors import ADMIN, set_actor
from yoq_web.database.rights import allow_commits
from yoq_web.secrets.models import Secret
from yoq_web.secrets.operations import get_secret, rotate_secret

MAX_BODY = 1024 * 1024
MARKER = "hunter2-do-not-show"


def body_error(api: Api, body: bytes | str) -> tuple[int, str]:
    """The status and text that a body is refused with."""
    answer = api("POST", "/v1/secrets", data=body)
    assert answer.content_type == "application/problem+json", answer.text
    return answer.status_code, answer.json["error"]  # type: ignore[index]


def test_a_secret_is_set_listed_and_deleted(api: Api) -> None:
    """The seed's main path, with its exact answers."""
    answer = api("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"})
    assert (answer.status_code, answer.text) == (200, '{"status":"ok"}')
    answer = api("GET", "/v1/secrets")
    assert (answer.status_code, answer.text) == (200, '["db"]')
    answer = api("DELETE", "/v1/secrets/db")
    assert (answer.status_code, answer.text) == (200, '{"status":"removed"}')
    assert [entry["action"] for entry in api.entries()] == ["secret_delete", "secret_list", "secret_set"]


def test_the_list_is_compact_unescaped_and_in_the_order_of_bytes(api: Api) -> None:
    """Names come back as JSON that yoq's clients can search: sorted bytewise, UTF-8 as it is, no spaces."""
    assert api("GET", "/v1/secrets").data == b"[]"
    for name in ("b", "é", "a", "Z", 'q"\\', "\N{GRINNING FACE}", "\uffee", "a b"):
        assert api("POST", "/v1/secrets", json={"name": name, "value": ""}).status_code == 200
    answer = api("GET", "/v1/secrets")
    assert answer.data == '["Z","a","a b","b","q\\"\\\\","é","\uffee","\N{GRINNING FACE}"]'.encode()
    assert answer.content_type == "application/json"


def test_setting_again_replaces_the_value_and_keeps_the_creation(api: Api, app: Flask) -> None:
    """A replaced secret keeps its time of creation; there is one row a name."""
    assert api("POST", "/v1/secrets", json={"name": "db", "value": "first"}).status_code == 200
    with app.app_context(), allow_commits(), db.engine.begin() as connection:
        connection.execute(update(Secret).values(created_at=1000, updated_at=1000))
    assert api("POST", "/v1/secrets", json={"name": "db", "value": "second"}).text == '{"status":"ok"}'
    with app.app_context():
        rows = db.session.execute(select(Secret.name, Secret.created_at, Secret.updated_at)).all()
    assert [(row.name, row.created_at) for row in rows] == [("db", 1000)]
    assert rows[0].updated_at > time.time() - 600


@pytest.mark.parametrize("backend", ["sqlite"])  # decided before the database is asked
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b"{}", "missing name field"),
        (b'{"name":""}', "missing value field"),
        (b'{"value":"v"}', "missing name field"),
        (b'{"name":"","value":"v"}', "name cannot be empty"),
        (b'{"name":"","value":1}', "missing value field"),
        (b'{"name":null,"value":"v"}', "missing name field"),
        (b'{"name":7,"value":"v"}', "missing name field"),
        (b'{"name":["db"],"value":"v"}', "missing name field"),
        (b'{"name":"db","value":null}', "missing value field"),
        (b'{"name":"db","value":true}', "missing value field"),
        (b'{"name":"db","value":{"a":"b"}}', "missing value field"),
        (b'{"Name":"db","value":"v"}', "missing name field"),
        (b"{", "missing name field"),
        (b"null", "missing name field"),
        (b'"db"', "missing name field"),
        (b'[{"name":"db","value":"v"}]', "missing name field"),
        (b'{"name":"db","value":"v"} x', "missing name field"),
        (b"{'name':'db','value':'v'}", "missing name field"),
        (b"name=db&value=v", "missing name field"),
        (b'\xff{"name":"db","value":"v"}', "missing name field"),
        (b'{"name":"\xff","value":"v"}', "missing name field"),
        (b'{"name":"\\ud800","value":"v"}', "missing name field"),
        (b'{"name":"db","value":"\\udc00"}', "missing name field"),
        (b"[" * 100_000, "missing name field"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "missing name field"),
        (b'{"name":"db","value":"v","x":' + b"[" * 5000 + b"]" * 5000 + b"}", "missing name field"),
        (b'{"name":"a\\u0000b","value":"v"}', "invalid name"),
        (b'{"name":"' + b"n" * 257 + b'","value":"v"}', "invalid name"),
        ('{"name":"' + "é" * 129 + '","value":"v"}', "invalid name"),
        (b'{"name":"db","value":' + b"9" * 10_000 + b"}", "missing name field"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(api: Api, body: bytes | str, text: str) -> None:
    """Every bad body is a 400 with yoq's text; nothing is stored, nothing recorded."""
    assert body_error(api, body) == (400, text)
    assert api.entries() == []
    assert api("GET", "/v1/secrets").text == "[]"


def test_a_body_of_one_mebibyte_is_the_largest(api: Api) -> None:
    """A body up to the limit is served, one byte more is a 413."""
    frame = len('{"name":"big","value":""}')
    largest = '{"name":"big","value":"' + "v" * (MAX_BODY - frame) + '"}'
    assert api("POST", "/v1/secrets", data=largest).status_code == 200
    assert body_error(api, largest + " ") == (413, "request body too large")


def test_a_body_needs_no_content_type(api: Api) -> None:
    """Yoq asks for no Content-Type, and a wrong one changes nothing."""
    for content_type in (None, "text/plain", "application/json; charset=latin-1"):
        body = '{"name":"é","value":"v"}'.encode()
        assert api("POST", "/v1/secrets", data=body, content_type=content_type).status_code == 200
    assert api("GET", "/v1/secrets").json == ["é"]


def test_unknown_members_are_refused(api: Api) -> None:
    """A body may say no more than we know, not even under the name of a column."""
    body = {"x": 1, "name": "db", "key_id": "evil", "created_at": 0, "value": "v", "nested": {"name": "other"}}
    assert api("POST", "/v1/secrets", json=body).status_code == 400
    assert api("GET", "/v1/secrets").json == []


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1/secrets/nope", 404, "not found"),
        ("/v1/secrets/", 404, "not found"),
        ("/v1/secrets/a/b", 404, "not found"),
        ("/v1/secrets/%00", 400, "invalid name"),
        ("/v1/secrets/" + "n" * 257, 400, "invalid name"),
        ("/v1/secrets/%FF", 404, "not found"),
    ],
)
def test_deleting_what_is_not_there_is_not_recorded(api: Api, path: str, status: int, text: str) -> None:
    """A 404 or a 400 of a deletion changes nothing and leaves no entry."""
    answer = api("DELETE", path)
    assert (answer.status_code, answer.json["error"]) == (status, text)  # type: ignore[index]
    assert "Audit-Id" not in answer.headers
    assert api.entries() == []


def test_a_value_is_never_readable_over_http(api: Api, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """No answer, entry or log line shows a value, neither of a good request nor of a bad one; nor does the row."""
    caplog.set_level("DEBUG")
    answers = [
        api("POST", "/v1/secrets", json={"name": "db", "value": MARKER}),
        api("POST", "/v1/secrets", json={"name": "", "value": MARKER}),
        api("POST", "/v1/secrets", json={"name": "db", "value": [MARKER]}),
        api("POST", "/v1/secrets", data=f'{{"name":"db","value":"{MARKER}'),
        api("POST", "/v1/secrets", data=f'{{"name":"db","value":"{MARKER}\\ud800"}}'),
        api("GET", "/v1/secrets"),
        api("GET", "/v1/secrets/db"),
        api("GET", "/v1/audit"),
        api("GET", "/metrics"),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 400, 400, 400, 200, 405, 200, 200]
    assert not any(MARKER in answer.text + str(answer.headers) for answer in answers)
    assert MARKER not in caplog.text
    with app.app_context():
        row = db.session.scalars(select(Secret)).one()
        assert MARKER.encode() not in row.ciphertext + row.nonce
        assert MARKER not in repr(row)


NAMES = st.one_of(
    st.text(max_size=300),
    st.text(st.characters(max_codepoint=0x2FF, exclude_categories=()), max_size=8),
    st.sampled_from(["a/b", "..", ".", "%2e", "a?b", "a#b", "é" * 128, "é" * 129, "x" * 256, "x" * 257, " ", "\n"]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, value=st.text(max_size=200))
def test_any_name_and_value_round_trip_or_are_refused(api: Api, name: str, value: str) -> None:
    """A secret is either kept exactly, listed, rotated and deleted, or refused with a 400; never a 500."""
    answer = api("POST", "/v1/secrets", data=json.dumps({"name": name, "value": value}))
    allowed = 0 < len(name.encode(errors="surrogatepass")) <= 256 and "\0" not in name and name not in (".", "..")
    assert answer.status_code == (200 if allowed else 400)
    if not allowed:
        return
    assert api("GET", "/v1/secrets").json == [name]
    with api.app.test_request_context():
        set_actor(ADMIN)
        rotate_secret(name)
        assert get_secret(name) == value
        db.session.remove()
    assert api("DELETE", "/v1/secrets/" + quote(name, safe="")).text == '{"status":"removed"}'
    assert api("GET", "/v1/secrets").json == []
