"""Policies over HTTP: yoq's contract."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Api


def add(api: Api, source: str, target: str, action: str) -> None:
    """Add a rule, with the exact answer."""
    answer = api("POST", "/v1/policies", json={"source": source, "target": target, "action": action})
    assert (answer.status_code, answer.text) == (200, '{"status":"ok"}')


def test_a_rule_is_added_listed_and_deleted(api: Api) -> None:
    """The main path, with its exact answers and entries."""
    assert api("GET", "/v1/policies").text == "[]"
    add(api, "web", "db", "deny")
    assert api("GET", "/v1/policies").text == '[{"source":"web","target":"db","action":"deny"}]'
    answer = api("DELETE", "/v1/policies/web/db")
    assert (answer.status_code, answer.text) == (200, '{"status":"removed"}')
    assert api("GET", "/v1/policies").text == "[]"
    rule = {"source": "web", "destination": "db"}
    assert [(entry["action"], entry["target"], entry["outcome"], entry["details"]) for entry in api.entries()] == [
        ("policy_delete", "web->db", "ok", rule | {"before": "deny"}),
        ("policy_add", "web->db", "ok", rule | {"action": "deny", "before": None}),
    ]


def test_rules_come_by_age_and_a_replaced_one_moves_to_the_end(api: Api) -> None:
    """One rule a pair: adding it again replaces it and makes it the newest. The direction matters."""
    add(api, "b", "x", "deny")
    add(api, "a", "x", "allow")
    add(api, "x", "b", "deny")
    add(api, "b", "x", "allow")
    assert api("GET", "/v1/policies").text == (
        '[{"source":"a","target":"x","action":"allow"},{"source":"x","target":"b","action":"deny"},'
        '{"source":"b","target":"x","action":"allow"}]'
    )


def test_deleting_a_rule_that_is_not_there_is_no_error(api: Api) -> None:
    """Yoq answers the same, and records it, whether there was a rule or not."""
    answer = api("DELETE", "/v1/policies/no/thing")
    assert (answer.status_code, answer.text) == (200, '{"status":"removed"}')
    assert [(entry["action"], entry["target"], entry["outcome"]) for entry in api.entries()] == [
        ("policy_delete", "no->thing", "ok")
    ]


def test_reading_rules_is_not_recorded(api: Api) -> None:
    """Listing policies is not sensitive and leaves no entry."""
    assert "Audit-Id" not in api("GET", "/v1/policies").headers
    assert api.entries() == []


@pytest.mark.parametrize("backend", ["sqlite"])  # decided before the database is asked
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b"{}", "missing source field"),
        (b'{"source":"a"}', "missing target field"),
        (b'{"source":"a","target":"b"}', "missing action field"),
        (b'{"source":"","target":""}', "missing action field"),
        (b'{"source":"","target":"","action":"x"}', "source cannot be empty"),
        (b'{"source":"a","target":"","action":"x"}', "target cannot be empty"),
        (b'{"source":"a","target":"b","action":""}', "action must be 'deny' or 'allow'"),
        (b'{"source":"a","target":"b","action":"Deny"}', "action must be 'deny' or 'allow'"),
        (b'{"source":"a","target":"b","action":"allow "}', "action must be 'deny' or 'allow'"),
        (b'{"source":"a","target":"b","action":1}', "missing action field"),
        (b'{"source":"a","target":"b","action":null}', "missing action field"),
        (b'{"source":"a","target":"b","action":["deny"]}', "missing action field"),
        (b'{"source":1,"target":2,"action":3}', "missing source field"),
        (b'{"source":"a","target":{},"action":"deny"}', "missing target field"),
        (b"[]", "missing source field"),
        (b"not json", "missing source field"),
        (b"[" * 10_000, "missing source field"),
        (b'{"source":"a\\u0000","target":"b","action":"deny"}', "invalid source"),
        (b'{"source":"a","target":"\\u0000","action":"deny"}', "invalid target"),
        (b'{"source":"a","target":"' + b"b" * 257 + b'","action":"deny"}', "invalid target"),
        (b'{"source":"\\udfff","target":"b","action":"deny"}', "missing source field"),
        (b" " * (1024 * 1024 + 1), "request body too large"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(api: Api, body: bytes, text: str) -> None:
    """Every bad body is refused with yoq's text, missing fields before empty ones; nothing is stored or recorded."""
    answer = api("POST", "/v1/policies", data=body)
    assert answer.status_code == (413 if text == "request body too large" else 400)
    assert answer.json["error"] == text  # type: ignore[index]
    assert api("GET", "/v1/policies").text == "[]"
    assert api.entries() == []


def test_of_a_long_pair_the_target_is_cut(api: Api) -> None:
    """A pair beyond 256 bytes is cut and marked; one of 256 is there in full."""
    add(api, "s" * 127, "t" * 127, "deny")
    add(api, "s" * 127, "t" * 128, "deny")
    assert [entry["target"] for entry in api.entries()] == [
        "s" * 127 + "->" + "t" * 124 + "…",
        "s" * 127 + "->" + "t" * 127,
    ]


@pytest.mark.parametrize("path", ["/v1/policies/%00/b", "/v1/policies/a/%00", "/v1/policies/a/" + "b" * 257])
def test_a_path_that_cannot_name_a_rule_is_refused(api: Api, path: str) -> None:
    """A NUL or an over-long name in a path is a 400 and no operation."""
    answer = api("DELETE", path)
    assert answer.status_code == 400
    assert answer.json["error"] in ("invalid source", "invalid target")  # type: ignore[index]
    assert api.entries() == []


NAME = st.one_of(st.text(min_size=1, max_size=90), st.sampled_from(["é", "a->b", "*", "'", " ", "\N{GRINNING FACE}"]))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=NAME, target=NAME, action=st.sampled_from(["deny", "allow"]))
def test_any_pair_round_trips_or_is_refused(api: Api, source: str, target: str, action: str) -> None:
    """What is added is listed exactly, unescaped and compact, or it was refused with a 400; never a 500."""
    rule = {"source": source, "target": target, "action": action}
    answer = api("POST", "/v1/policies", data=json.dumps(rule))
    allowed = "\0" not in source + target and max(len(source.encode()), len(target.encode())) <= 256
    assert answer.status_code == (200 if allowed else 400)
    if allowed:
        text = json.dumps(rule, ensure_ascii=False, separators=(",", ":"))
        assert api("GET", "/v1/policies").text.endswith(text + "]")
