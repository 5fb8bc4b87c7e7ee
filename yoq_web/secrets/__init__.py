"""Secrets: named values, encrypted at rest, never readable over HTTP."""

from __future__ import annotations

from yoq_web.contributions import Contribution
from yoq_web.secrets import commands, key_commands, operations, rotation, routes
from yoq_web.secrets.key_keeper import SecretsKeeper


def contribution() -> Contribution:
    """What this domain adds to the application."""
    return Contribution(
        operations=(*operations.OPERATIONS, *rotation.OPERATIONS),
        blueprints=(routes.blueprint,),
        commands=(commands.group, key_commands.group),
        keeper=SecretsKeeper(),
    )
