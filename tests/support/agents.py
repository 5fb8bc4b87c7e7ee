"""What the tests of agents share: an application that agents can join, and what they send."""

from __future__ import annotations

from typing import Any

from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.door import behind

JOIN = "j" * 32
"""The join token of every application under test that has one."""


class Cluster:
    """An application with a join token: a client for its operator and one for its agents."""

    def __init__(self, make_app: MakeApp, **settings: str) -> None:
        self.app: Flask = make_app(YOQ_JOIN_TOKEN=JOIN, **settings)
        self.operator = Api(self.app)
        self.agents = Api(self.app, JOIN)
        self.url = self.app.config["SQLALCHEMY_DATABASE_URI"]

    def join(self, **fields: Any) -> str:
        """Register an agent; returns its id."""
        answer = self.agents("POST", "/v1/agents", json=registration(**fields))
        assert answer.status_code == 201, answer.text
        identifier: str = answer.get_json()["id"]
        return identifier

    def agent(self, identifier: str) -> dict[str, Any]:
        """An agent as the operator sees it."""
        answer = self.operator("GET", f"/v1/agents/{identifier}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.get_json()
        return found

    def age(self, identifier: str, seconds: int) -> None:
        """Let an agent have been silent for so long."""
        change = f"UPDATE agents SET last_heartbeat = last_heartbeat - {seconds} WHERE id = '{identifier}'"
        behind(self.url, change)


def registration(**fields: Any) -> dict[str, Any]:
    """The body of a registration, with these fields instead of the usual ones; those that are None are left out."""
    body = {"token": JOIN, "address": "10.0.0.5", "cpu_cores": 4, "memory_mb": 8192} | fields
    return {name: value for name, value in body.items() if value is not None}
