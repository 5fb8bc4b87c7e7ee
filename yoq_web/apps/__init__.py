"""Apps: releases of what is to run, rolled out over the agents, and rolled back.

Plugins may use the modules in `__all__`: what can be done with apps (`operations`) and asked about them (`queries`),
what agents ask and say (`agent_api`), how they leave (`departures`), and what comes in (`schemas`).
"""

from __future__ import annotations

from yoq_web.apps import (
    agent_api,
    commands,
    departure_commands,  # noqa: F401 - what it has is added to the group of agents
    departure_routes,  # noqa: F401 - and this to their routes
    departures,
    operations,
    queries,
    routes,
    schemas,
)
from yoq_web.apps.rollout import rescheduler
from yoq_web.contributions.contribution import Contribution

__all__ = ["agent_api", "departures", "operations", "queries", "schemas"]


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(
        operations=operations.OPERATIONS,
        blueprints=(routes.blueprint,),
        commands=(commands.group,),
        periodic=(rescheduler.run_due_work,),
    )
