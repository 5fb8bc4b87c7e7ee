"""Secrets: named values, encrypted at rest, never readable over HTTP."""

from __future__ import annotations

from yoq_web.contributions import Contribution
from yoq_web.secrets import commands, operations, routes


def contribution() -> Contribution:
    """What this domain adds to the application."""
    return Contribution(operations=operations.OPERATIONS, blueprints=(routes.blueprint,), commands=(commands.group,))
