"""The commands of the trail."""

from __future__ import annotations

import click

from yoq_audit import log
from yoq_audit.routes import DEFAULT_LIMIT, MAX_LIMIT
from yoq_audit.showing import documents
from yoq_web import CommandGroup, as_json, db, print_json, print_table

group = CommandGroup("audit", help="Read the audit trail.")


@group.command("list")
@click.option("--limit", type=click.IntRange(0), default=DEFAULT_LIMIT, show_default=True, help="How many entries.")
@as_json
def list_command(limit: int, as_json: bool) -> None:
    """List the newest entries, the newest first."""
    shown = documents(log.newest(db.session(), min(limit, MAX_LIMIT)))
    if as_json:
        print_json(shown)
        return
    names = ("recorded_at", "actor", "action", "target", "outcome")
    rows = [tuple("-" if entry[name] is None else entry[name] for name in names) for entry in shown]
    print_table((12, 16, 16, 28), ("TIME", "ACTOR", "ACTION", "TARGET", "OUTCOME"), rows)
