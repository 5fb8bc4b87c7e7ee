"""Policies: which service may talk to which."""

from __future__ import annotations

from yoq_web.contributions.contribution import Contribution
from yoq_web.policies import commands, operations, routes


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(operations=operations.OPERATIONS, blueprints=(routes.blueprint,), commands=(commands.group,))
