"""What agents ask and say: their assignments, and how these fare."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import func, select, update

from yoq_web.apps.documents import Document
from yoq_web.apps.manifest.document import storable_text
from yoq_web.apps.models import Assignment, RolloutRow
from yoq_web.apps.rollout.controller import go_on
from yoq_web.apps.rollout.reconcile import DROPPED
from yoq_web.database.session import db, unit_of_work
from yoq_web.problems import Problem

MAX_REASON = 128
"""Bytes of a reason that an agent may give (yoq's limit)."""


def assignments_of(agent_id: str) -> list[Document]:
    """An agent's assignments, in the order in which they were made and in yoq's key order."""
    chosen = (
        select(Assignment)
        .where(Assignment.agent_id == agent_id, Assignment.replaced_by.is_(None))
        .order_by(Assignment.number)
    )
    return [_assignment(found) for found in db.session.scalars(chosen)]


def _assignment(found: Assignment) -> Document:
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
    if reason is not None and (not storable_text(reason) or len(reason.encode()) > MAX_REASON):
        raise Problem(400, "invalid reason", f"at most {MAX_REASON} bytes of UTF-8 without NUL")
    mine = (Assignment.id == assignment_id, Assignment.agent_id == agent_id)
    release = select(Assignment.release).where(*mine).scalar_subquery()
    quiet: dict[str, Any] = {"synchronize_session": False}
    with unit_of_work() as session:
        # The rollout's row first, as every step does. Should this process end here, the pulse finds it due.
        due = update(RolloutRow).where(RolloutRow.number == release, RolloutRow.status == "in_progress")
        waits = session.scalar(due.values(due_at=0).returning(RolloutRow.number), execution_options=quiet)
        said = update(Assignment).where(*mine, func.coalesce(Assignment.reason, "") != DROPPED)
        changed = session.scalar(
            said.values(status=status, reason=reason).returning(Assignment.id), execution_options=quiet
        )
        known = changed is not None or session.scalar(select(Assignment.id).where(*mine)) is not None
    if waits is not None:
        go_on(waits)
    return known
