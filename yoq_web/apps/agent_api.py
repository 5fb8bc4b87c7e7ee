"""What agents ask and say: their assignments, and how these fare."""

from __future__ import annotations

import json

from sqlalchemy import func, select, update

from yoq_web.apps.documents import Document
from yoq_web.apps.models import QUIET, AssignmentRow, RolloutRow
from yoq_web.apps.rollout.assignment import DROPPED
from yoq_web.apps.rollout.controller import continue_rollout
from yoq_web.database.pages import WHOLE, Page, Slice, read_page
from yoq_web.database.session import db, unit_of_work
from yoq_web.names import is_storable
from yoq_web.problems import Problem

NOT_SENSITIVE = "an agent says how its own assignments fare; what follows from it is recorded as the system's doing"
"""Why a report is not recorded."""

MAX_REASON = 128
"""Bytes of a reason that an agent may give (yoq's limit)."""


def list_assignments(agent_id: str, part: Slice = WHOLE) -> Page[Document]:
    """List an agent's assignments, in the order in which they were made and in yoq's key order."""
    chosen = select(AssignmentRow).where(AssignmentRow.agent_id == agent_id, AssignmentRow.replaced_by.is_(None))
    rows = read_page(db.session(), chosen, (AssignmentRow.number,), part)
    return rows.convert(lambda row: _make_document(row[0]))


def _make_document(found: AssignmentRow) -> Document:
    document: Document = {
        "id": found.id,
        "agent_id": found.agent_id,
        "image": found.image,
        "command": found.command,
        "status": found.status,
        "status_reason": found.reason,
        "cpu_limit": found.cpu,
        "memory_limit_mb": found.memory_mb,
        "app_name": found.app,
        "workload_kind": found.kind,
        "workload_name": found.workload,
        "health_check": None if found.health_check is None else json.loads(found.health_check),
        "gang_rank": found.rank,
        "gang_world_size": found.ranks,
        "gang_master_addr": found.master,
        "gang_master_port": found.master_port,
    }
    always = ("id", "agent_id", "image", "command", "status", "cpu_limit", "memory_limit_mb")
    return {key: value for key, value in document.items() if value is not None or key in always}


def report(agent_id: str, assignment_id: str, status: str, reason: str | None = None) -> bool:
    """Note what an agent says of one of its assignments: `running`, `stopped` or `failed`. Not recorded.

    Returns whether it is the agent's at all; nothing is changed if not. A rollout that waits for it goes on.
    Raises a Problem (400) if the status or the reason cannot be.
    """
    if status not in ("running", "stopped", "failed"):
        raise Problem(400, "invalid status value")
    if reason is not None and not is_storable(reason, MAX_REASON):
        raise Problem(400, "invalid reason", f"at most {MAX_REASON} bytes of UTF-8 without NUL")
    mine = (AssignmentRow.id == assignment_id, AssignmentRow.agent_id == agent_id)
    release = select(AssignmentRow.release).where(*mine).scalar_subquery()
    with unit_of_work() as session:
        # The rollout's row first, as every step does. Should this process end here, the pulse finds it due.
        due = update(RolloutRow).where(RolloutRow.number == release, RolloutRow.status == "in_progress")
        waits = session.scalar(due.values(due_at=0).returning(RolloutRow.number), execution_options=QUIET)
        said = update(AssignmentRow).where(*mine, func.coalesce(AssignmentRow.reason, "") != DROPPED)
        changed = session.scalar(
            said.values(status=status, reason=reason).returning(AssignmentRow.id), execution_options=QUIET
        )
        known = changed is not None or session.scalar(select(AssignmentRow.id).where(*mine)) is not None
    if waits is not None:
        continue_rollout(waits)
    return known
