"""Agents: the machines that run workloads. They register, beat, are drained, and fall silent."""

from __future__ import annotations

from yoq_web.agents import commands, liveness, operations, routes
from yoq_web.agents.authentication import authenticate
from yoq_web.contributions.contribution import Contribution
from yoq_web.http.authentication import Authenticator
from yoq_web.scopes import JOINING


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(
        operations=operations.OPERATIONS,
        blueprints=(routes.blueprint,),
        commands=(commands.group,),
        periodic=(liveness.expire_agents,),
        authenticators=(Authenticator(authenticate, scope=JOINING),),
    )
