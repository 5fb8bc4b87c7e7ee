"""Lists of agents that yoq's client can take, however many there are."""

from __future__ import annotations

from typing import Any

from yoq_web import dumps
from yoq_wire.answers import CLIENT_BYTES

NEEDED = ("id", "address", "status", "cpu_cores", "memory_mb", "cpu_used", "memory_used_mb", "containers")
"""What `yoq nodes` shows of an agent, and its address."""


def within(agents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The agents whole if they fit into the client's limit, else with what it shows alone, as many as fit."""
    if _size(agents) <= CLIENT_BYTES:
        return agents
    short = [{name: agent[name] for name in NEEDED} for agent in agents]
    kept, size = 0, 2
    for agent in short:
        size += _size(agent) + 1
        if size > CLIENT_BYTES:
            break
        kept += 1
    return short[:kept]


def _size(value: object) -> int:
    return len(dumps(value).encode())
