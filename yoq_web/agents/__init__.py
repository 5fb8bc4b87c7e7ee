"""Agents: the machines that run workloads. They register, beat, are drained, and fall silent."""

from __future__ import annotations

from yoq_web.agents import commands, operations, routes
from yoq_web.agents.liveness import pulse
from yoq_web.contributions.registry import Contribution

__all__ = ["contribution", "pulse"]


def contribution() -> Contribution:
    """What this domain adds to the application."""
    return Contribution(operations=operations.OPERATIONS, blueprints=(routes.blueprint,), commands=(commands.group,))
