"""`yoq-web audit settle`: an operation that a lost machine left open, settled by a person who knows that it is lost."""

from __future__ import annotations

import json
from typing import Any

import click
from sqlalchemy import Row

from yoq_audit.storage import log
from yoq_web import (
    Event,
    NotFound,
    Operation,
    Problem,
    command,
    current_intents,
    current_operations,
    db,
    escape_text,
    named,
)

audit_settle = Operation(
    "audit_settle", "Settle an operation that a lost machine left open", "*", ("machine",), activity="update"
)

REASON = "settled by hand: its machine is gone"


def settle(event_id: str) -> None:
    """Store that the event was interrupted. Raises NotFound, and a 409 unless it was left open by another machine."""
    with audit_settle.performed(event_id, machine=_find_open(event_id).node) as session:
        log.append(_make_interrupted(_find_open(event_id)), session)


def _find_open(event_id: str) -> Row[Any]:
    row = log.find(db.session(), event_id)
    if row is None:
        raise NotFound("not found", f"there is no entry {event_id!r}")
    if row.outcome != "started":
        raise Problem(409, "the entry is settled", f"its outcome is {row.outcome}")
    if current_intents().is_under_way(event_id):
        raise Problem(409, "this machine settles it", "it is under way here, or is settled within a second")
    return row


def _make_interrupted(row: Row[Any]) -> Event:
    same = {name: getattr(row, name) for name in ("target", "time", "request_id", "node", "peer")}
    document = same | {
        "id": row.event_id,
        "operation": row.action,
        "actor": {"kind": row.actor_kind, "label": row.actor},
        "details": json.loads(row.details),
        "outcome": "interrupted",
        "reason": REASON,
    }
    return Event.from_document(document, current_operations()).note_late()


@command("settle")
@named("entry")
@click.option("--yes", is_flag=True, help="Do not ask.")
def settle_command(entry: str, yes: bool) -> None:
    """Settle ENTRY, an event's id, as interrupted: it says `started`, and the machine that performed it is gone.

    A machine that comes back settles its own: this is for one whose data directory is lost.
    """
    row = _find_open(entry)
    if not yes:
        question = f"Is the machine {escape_text(row.node)} gone for good?"
        click.confirm(question, abort=True, err=True)
    settle(entry)
    click.echo("interrupted")
