"""Import from yoq's own database: secrets, policies and tokens of who comes from there."""

from __future__ import annotations

from yoq_web.contributions.contribution import Contribution
from yoq_web.yoq_import import commands, operations


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(operations=operations.OPERATIONS, commands=(commands.import_command,))
