"""The program over real HTTP."""

from __future__ import annotations

from tests.served import Served


def test_it_serves(served: Served) -> None:
    """A started server answers and audits."""
    assert served("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"}).status_code == 200
    assert served("GET", "/v1/audit").json()[0]["action"] == "secret_set"
