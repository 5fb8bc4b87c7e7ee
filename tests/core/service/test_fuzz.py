"""Input made by machines: what the description allows, what it does not, and noise. Never a 5xx, never a surprise."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from tests.conftest import ADMIN, Api
from yoq_audit.export import feeds
from yoq_web.http.endpoints import MAX_BODY, find_declaration

HEADERS = {"Authorization": f"Bearer {ADMIN}"}

EXAMPLES = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

NASTY = [
    b"null",
    b"[]",
    b"[" * 100_000,
    b'{"name":' * 100_000,
    b'{"name":NaN,"value":Infinity}',
    b'{"name":1e999,"value":' + b"9" * 10_000 + b"}",
    b'{"name":"\\ud800","value":"\\ud800","source":"\\ud800","target":"\\ud800","action":"allow","scopes":["*"]}',
    b'{"name":"\\u0000","value":"\\u0000","source":"\\u0000","target":"\\u0000","action":"allow","scopes":["*"]}',
    b'{"name":"a","name":"b","value":"c","value":"d","source":"a","target":"b","action":"deny","scopes":["*"]}',
    b'\xef\xbb\xbf{"name":"a","value":"b"}',
    '{"name":"a","value":"b"}'.encode("utf-16"),
    b'{"name":"a","value":"\xff"}',
    b'{"__proto__":{},"name":{"$ne":1},"value":["a"],"source":true,"target":0.1,"action":[],"scopes":{"a":1}}',
    b'{"name":"' + "\N{GRINNING FACE}".encode() * 1000 + b'","value":"b"}',
    b" " * (MAX_BODY + 1),
]
"""Bodies that have broken JSON services before."""


@pytest.mark.parametrize("backend", ["sqlite"])  # the description is the same on both
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_described(app: Flask, mode: GenerationMode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status, media type and form of every answer are as described; input described as good is taken, other refused."""
    # Streams end at their first look.
    monkeypatch.setattr(feeds, "LIFE_SECONDS", 0)
    monkeypatch.setattr(feeds, "CHECK_SECONDS", 0)
    description = schemathesis.openapi.from_wsgi("/openapi.json", app)
    operations = [found.ok() for found in description.get_all_operations() if isinstance(found, Ok)]
    if mode is GenerationMode.NEGATIVE:  # what takes no input can be given no bad one
        operations = [one for one in operations if {"parameters", "requestBody"} & one.definition.raw.keys()]
    assert len(operations) > 5
    for operation in operations:
        try_operation(operation, mode)


def try_operation(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    """Send many cases to one operation, and hold the answers to the description."""
    # It sends requests without a token, of which only ten are answered 401; the guard has tests of its own.
    excluded = [ignored_auth]
    if "cursor" in {parameter["name"] for parameter in operation.definition.raw.get("parameters", ())}:
        # No description says what a cursor looks like. A bad parameter that has no value is not sent, and what is left
        # of the query is good; a number is a text here.
        excluded += [negative_data_rejection, positive_data_acceptance]
    if operation.path == "/v1/audit/stats":
        # Nor how a time is written relative to now, or how many buckets are too many; and `false` is a text here.
        excluded += [negative_data_rejection, positive_data_acceptance]
    if operation.label == "POST /v1/backups":
        # Nor which of the texts that look like a recipient's key are one.
        excluded.append(positive_data_acceptance)
    if operation.path in ("/v1/audit/export", "/v1/audit/stream"):
        # Nor that only ndjson has proofs, or that a place is beyond the log; and a number is a text here.
        excluded += [negative_data_rejection, positive_data_acceptance]
    if operation.path == "/v1/audit/log/consistency":
        # No description says that one size must not be beyond the other.
        excluded.append(positive_data_acceptance)
    if operation.path in ("/v1/apps", "/v1/apps/diff"):
        # By yoq's rule a field of another type counts as not given, and a manifest needs workloads, and agents.
        excluded += [negative_data_rejection, positive_data_acceptance]
    if operation.path == "/v1/metrics":
        # A bad parameter that has no value is not sent, and what is left of the query is good.
        excluded.append(negative_data_rejection)
    if operation.label == "POST /v1/tokens":
        # Which characters are printable no pattern says that every reader of the description understands.
        excluded.append(positive_data_acceptance)

    @EXAMPLES
    @given(case=operation.as_strategy(generation_mode=mode))
    def try_case(case: Case[Any]) -> None:
        answer = case.call_and_validate(headers=HEADERS, excluded_checks=excluded)
        # The description's `default` takes any status; one that is usual must be named.
        assert str(answer.status_code) in operation.definition.raw["responses"], answer.text

    try_case()


@EXAMPLES
@given(body=st.binary(max_size=200), media_type=st.sampled_from(["application/json", "text/plain", ""]))
def try_noise(api: Api, routes: list[tuple[str, str]], body: bytes, media_type: str) -> None:
    """Send one body to every route."""
    for method, path in routes:
        answer = api(method, path, data=body, content_type=media_type)
        assert answer.status_code < 500, (method, path, body)


def test_noise_is_the_clients_fault(api: Api) -> None:
    """A body of random bytes, or one known to break parsers, is no reason for a 5xx on any route that writes."""
    routes = writing_routes(api.app)
    assert ("POST", "/v1/secrets") in routes
    try_noise(api, routes)
    for body in NASTY:
        for method, path in routes:
            answer = api(method, path, data=body, content_type="application/json")
            assert answer.status_code < 500, (method, path, body[:100])


def writing_routes(app: Flask) -> list[tuple[str, str]]:
    """Method and an example path of every route that writes."""
    found = []
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
        for rule in app.url_map.iter_rules():
            assert find_declaration(app.view_functions[rule.endpoint])
            path = adapter.build(rule.endpoint, dict.fromkeys(rule.arguments, "1"))
            found += [(method, path) for method in (rule.methods or set()) & {"POST", "PUT", "DELETE", "PATCH"}]
    return sorted(found)
