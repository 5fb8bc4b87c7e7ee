"""Backup and restore: the whole database in one encrypted file, and back, without taking the audit trail back."""

from __future__ import annotations

from yoq_web.backup import commands, operations, routes
from yoq_web.contributions.registry import Contribution


def contribution() -> Contribution:
    """What this domain adds to the application; the command `restore` is no group and is added by itself."""
    return Contribution(operations=operations.OPERATIONS, blueprints=(routes.blueprint,), commands=(commands.group,))
