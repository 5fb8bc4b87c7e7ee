"""The audit plugin: stores every event in the table `audit_log` and shows the trail. Loaded like anybody's plugin.

It is always there, and other plugins may import what `__all__` names.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.orm import Session

from yoq_audit import commands, in_doubt
from yoq_audit.backup import TrailKeeper
from yoq_audit.export import follow_routes
from yoq_audit.export import routes as export_routes
from yoq_audit.export.log_reader import LogPage, SealedEntry, read_log
from yoq_audit.export.operations import audit_export, audit_follow
from yoq_audit.gauges import GAUGES
from yoq_audit.proofs import routes as proof_routes
from yoq_audit.query import routes as query_routes
from yoq_audit.retention import routes as retention_routes
from yoq_audit.retention import schedule
from yoq_audit.retention.eraser import audit_erase
from yoq_audit.retention.pruner import audit_prune
from yoq_audit.sealing import clock_watch, overdue, rotation, sealer
from yoq_audit.settings import SETTINGS
from yoq_audit.storage.log import append
from yoq_web import Contribution, Event, hookimpl

__all__ = ["LogPage", "SealedEntry", "read_log"]


@hookimpl
def yoq_contribute() -> Contribution:
    """Add the table, the routes and the commands of the trail."""
    return Contribution(
        operations=(audit_export, audit_follow, audit_prune, audit_erase, in_doubt.audit_settle, *rotation.OPERATIONS),
        blueprints=(
            query_routes.entries,
            query_routes.lists,
            export_routes.blueprint,
            follow_routes.blueprint,
            proof_routes.blueprint,
            retention_routes.blueprint,
        ),
        commands=(commands.group,),
        migrations=Path(__file__).parent / "migrations",
        keeper=TrailKeeper(),
        settings=SETTINGS,
        gauges=GAUGES,
    )


@hookimpl
def yoq_pulse() -> None:
    """Seal what was committed since the last time, and prune what is old enough."""
    sealer.try_to_seal()
    overdue.look()
    clock_watch.look()
    schedule.run_due()


@hookimpl
def yoq_health() -> str | None:
    """Say why nothing is sealed or pruned, which entry waits for too long, and what lies in the future, if so."""
    unsealed = "; ".join(filter(None, (sealer.current_sealing().failure, overdue.describe())))
    concerns = unsealed or schedule.current_schedule().failure, clock_watch.current_clock_watch().concern
    return "; ".join(filter(None, concerns)) or None


@hookimpl
def yoq_record_operation(event: Event, session: Session) -> None:
    """Store the event as an entry, in the operation's own transaction."""
    append(event, session)
