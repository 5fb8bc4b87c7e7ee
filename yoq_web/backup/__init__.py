"""Backup and restore: the whole database in one encrypted file, and back, without taking the audit trail back."""

from __future__ import annotations

from yoq_web.backup import commands, operations, routes, schedule, settings
from yoq_web.contributions.contribution import Contribution
from yoq_web.contributions.gauge import Gauge

LAST = Gauge(
    "yoq_backup_last_success_timestamp_seconds",
    "When the last scheduled backup began that succeeded",
    schedule.find_last_success,
)


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(
        operations=operations.OPERATIONS,
        blueprints=(routes.blueprint,),
        commands=(commands.group, commands.restore_command),
        periodic=(schedule.run_due,),
        settings=settings.SETTINGS,
        gauges=(LAST,),
    )
