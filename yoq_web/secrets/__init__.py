"""Secrets: named values, encrypted at rest, never readable over HTTP."""

from __future__ import annotations

from yoq_web.contributions.contribution import Contribution
from yoq_web.secrets import commands, operations, routes
from yoq_web.secrets.backup import SecretsKeeper
from yoq_web.secrets.keys import key_commands, rotation


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(
        operations=(*operations.OPERATIONS, *rotation.OPERATIONS),
        blueprints=(routes.blueprint,),
        commands=(commands.group, key_commands.group),
        keeper=SecretsKeeper(),
    )
