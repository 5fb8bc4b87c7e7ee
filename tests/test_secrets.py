"""Secrets over HTTP: yoq's contract, and what never leaves the server."""

from __future__ import annotations

from tests.conftest import Api


def test_a_secret_is_set_listed_and_deleted(api: Api) -> None:
    """The seed's main path, with its exact answers."""
    answer = api("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"})
    assert (answer.status_code, answer.text) == (200, '{"status":"ok"}')
    answer = api("GET", "/v1/secrets")
    assert (answer.status_code, answer.text) == (200, '["db"]')
    answer = api("DELETE", "/v1/secrets/db")
    assert (answer.status_code, answer.text) == (200, '{"status":"removed"}')
    assert [entry["action"] for entry in api.entries()] == ["secret_delete", "secret_list", "secret_set"]
