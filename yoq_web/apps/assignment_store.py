"""The store of assignments: between their table and the plain values that the scheduler and the rollouts work on."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session

from yoq_web.agents.models import Agent
from yoq_web.apps.manifest.document import Workload, split_labels
from yoq_web.apps.models import QUIET, AssignmentRow
from yoq_web.apps.rollout.assignment import ALIVE, Assignment
from yoq_web.apps.rollout.scheduler import Node, Usage
from yoq_web.database.locks import advisory_lock


def make_id() -> str:
    """Make an identifier as yoq has them: 48 random bits as lower-case hexadecimal."""
    return secrets.token_hex(6)


def lock_placing(session: Session) -> None:
    """Let nobody else place anything before this transaction ends: two would fill the same room.

    Taken before any row's lock, by everybody. SQLite has but one writer.
    """
    advisory_lock(session, "placing")


def list_nodes(session: Session, *, without: str | None = None) -> list[Node]:
    """List all agents in the order of their registration, with what is assigned to them.

    Services of the app `without` are left out.
    """
    counted: list[ColumnElement[bool]] = [AssignmentRow.status.in_(ALIVE), AssignmentRow.agent_id.is_not(None)]
    if without is not None:
        # What the database compares with null is neither equal nor different.
        same_app = func.coalesce(AssignmentRow.app, "") == without
        counted.append(~(same_app & (func.coalesce(AssignmentRow.kind, "") == "service")))
    sums = (func.sum(AssignmentRow.cpu), func.sum(AssignmentRow.memory_mb), func.sum(AssignmentRow.gpus))
    totals = session.execute(select(AssignmentRow.agent_id, *sums).where(*counted).group_by(AssignmentRow.agent_id))
    used = {agent: Usage(int(cpu), int(memory), int(gpus)) for agent, cpu, memory, gpus in totals}
    agents = session.execute(
        select(
            Agent.id,
            Agent.address,
            Agent.cpu_cores,
            Agent.memory_mb,
            Agent.status,
            Agent.role,
            Agent.labels,
            Agent.gpu_count,
            Agent.gpu_model,
            Agent.gpu_vram_mb,
            Agent.cpu_used,
            Agent.memory_used_mb,
            Agent.gpu_used,
        ).order_by(Agent.registered_at, Agent.id)
    )
    return [
        Node(
            id=agent.id,
            address=agent.address.partition(":")[0] if agent.address.count(":") == 1 else agent.address,
            cpu=agent.cpu_cores * 1000,
            memory_mb=agent.memory_mb,
            status=agent.status,
            role=agent.role,
            labels=frozenset(split_labels(agent.labels)),
            gpus=agent.gpu_count or 0,
            gpu_model=agent.gpu_model,
            gpu_vram_mb=agent.gpu_vram_mb or 0,
            reported=Usage(agent.cpu_used, agent.memory_used_mb, agent.gpu_used or 0),
            assigned=used.get(agent.id, Usage()),
        )
        for agent in agents
    ]


def is_service_of(app: str) -> ColumnElement[bool]:
    """Say in SQL that an assignment is of an app's services."""
    return (AssignmentRow.app == app) & (AssignmentRow.kind == "service")


def list_assignments(session: Session, *conditions: ColumnElement[bool]) -> dict[str, Assignment]:
    """List the assignments that meet these conditions by their ids, in the order in which they were made."""
    chosen = select(AssignmentRow).where(*conditions).order_by(AssignmentRow.number)
    found = session.scalars(chosen, execution_options={"populate_existing": True})
    return {row.id: _read_row(row) for row in found}


def _read_row(row: AssignmentRow) -> Assignment:
    workload = Workload(
        kind="worker" if row.kind == "worker" else "service",
        name=row.workload or "",
        image=row.image,
        command=row.command,
        cpu=row.cpu,
        memory_mb=row.memory_mb,
        labels=split_labels(row.labels),
        health_check=row.health_check,
        gpus=row.gpus,
        gpu_model=row.gpu_model,
        gpu_vram_mb=row.gpu_vram_mb,
        # One row is one part: placed again on its own, it takes one place.
    )
    return Assignment(
        id=row.id,
        release=row.release,
        agent_id=row.agent_id,
        workload=workload,
        status=row.status,
        reason=row.reason,
        gang=row.gang,
        rank=row.rank,
        master=row.master,
        replaced_by=row.replaced_by,
        app=row.app,
    )


def save_assignments(
    session: Session, app: str | None, before: dict[str, Assignment], after: dict[str, Assignment], now: int
) -> None:
    """Write what became of assignments: those that are gone, changed and new."""
    gone = [key for key in before if key not in after]
    if gone:
        session.execute(delete(AssignmentRow).where(AssignmentRow.id.in_(gone)), execution_options=QUIET)
    for key, one in after.items():
        # Only what changed: an agent may have said something since these were read.
        if changed := {} if key not in before else _list_changes(before[key], one):
            change = update(AssignmentRow).where(AssignmentRow.id == key).values(changed)
            session.execute(change, execution_options=QUIET)
    new = [_make_row(app, one, now) for key, one in after.items() if key not in before]
    if new:
        session.execute(insert(AssignmentRow), new)


def _list_changes(old: Assignment, new: Assignment) -> dict[str, Any]:
    names = ("agent_id", "status", "reason", "replaced_by", "master")
    return {name: getattr(new, name) for name in names if getattr(new, name) != getattr(old, name)}


def _make_row(app: str | None, one: Assignment, now: int) -> dict[str, Any]:
    workload = one.workload
    return {
        "id": one.id,
        "agent_id": one.agent_id,
        "release": one.release,
        "app": app,
        "kind": None if app is None else workload.kind,
        "workload": None if app is None else workload.name,
        "image": workload.image,
        "command": workload.command,
        "cpu": workload.cpu,
        "memory_mb": workload.memory_mb,
        "labels": ",".join(workload.labels),
        "health_check": workload.health_check,
        "gpus": workload.gpus,
        "gpu_model": workload.gpu_model,
        "gpu_vram_mb": workload.gpu_vram_mb,
        "gang": one.gang,
        "rank": one.rank,
        "ranks": workload.ranks or None,
        "master": one.master,
        "master_port": workload.master_port if one.rank is not None else None,
        "status": one.status,
        "reason": one.reason,
        "replaced_by": one.replaced_by,
        "created_at": now,
    }
