"""Apps: releases of what is to run, rolled out over the agents, and rolled back."""

from __future__ import annotations

from yoq_web.apps import commands, operations, routes
from yoq_web.apps.rollout import rescheduler
from yoq_web.contributions.contribution import Contribution


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(
        operations=operations.OPERATIONS,
        blueprints=(routes.blueprint,),
        commands=(commands.group,),
        periodic=(rescheduler.run_due_work,),
    )
