"""What the tests of agents that leave share: drains, removals, beats and silence, and what the trail says."""

from __future__ import annotations

import time
from typing import Any

from tests.support.apps import Shop
from yoq_web.agents import liveness


def drain(shop: Shop, agent: str, query: str = "") -> dict[str, Any]:
    """Drain an agent; returns the answer."""
    answer = shop.operator("POST", f"/v1/agents/{agent}/drain{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def remove(shop: Shop, agent: str, query: str = "", status: int = 200) -> dict[str, Any]:
    """Remove an agent; returns the answer, which has this status."""
    answer = shop.operator("DELETE", f"/v1/agents/{agent}{query}")
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def beat(shop: Shop, agent: str) -> str:
    """What yoq's agent is told in answer to a heartbeat."""
    answer = shop.agents("POST", f"/agents/{agent}/heartbeat", json={})
    status: str = answer.get_json()["status"]
    return status


def expire(shop: Shop, after: int) -> None:
    """Look for silent agents so many seconds from now, and do what is due."""
    with shop.app.app_context():
        liveness.expire_agents_at(int(time.time()) + after)
    shop.run_due_work()


def told(shop: Shop, *actions: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    """(actor, action, target, details) of the entries with these actions, the oldest first."""
    return [
        (entry["actor"], entry["action"], entry["target"], entry["details"])
        for entry in reversed(shop.operator.entries())
        if entry["action"] in actions
    ]
