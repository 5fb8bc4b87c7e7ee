"""Agents: the machines that run workloads. They register, beat, are drained, and fall silent.

Plugins may use the modules in `__all__`: what can be done with agents and what is known of them (`operations`), both as
JSON that yoq's clients read (`documents`), and what comes in (`schemas`).
"""

from __future__ import annotations

from yoq_web.agents import commands, documents, liveness, operations, routes, schemas
from yoq_web.agents.authentication import authenticate
from yoq_web.contributions.contribution import Contribution
from yoq_web.contributions.gauge import Gauge
from yoq_web.http.authentication import Authenticator
from yoq_web.scopes import JOINING

__all__ = ["documents", "operations", "schemas"]


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(
        operations=operations.OPERATIONS,
        blueprints=(routes.blueprint,),
        commands=(commands.group,),
        periodic=(liveness.expire_agents,),
        authenticators=(Authenticator(authenticate, scope=JOINING),),
        gauges=(Gauge("yoq_agents", "The agents that there are", operations.count_agents, "status"),),
    )
