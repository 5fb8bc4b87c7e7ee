"""Between the tables of apps and the plain values that scheduler, rollout machine and documents work on."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row as Result
from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.orm import Session

from yoq_web.agents.models import Agent
from yoq_web.apps.documents import Snapshot
from yoq_web.apps.manifest.document import Workload, label_items
from yoq_web.apps.models import App, Assignment, Release, RolloutRow
from yoq_web.apps.rollout import machine
from yoq_web.apps.rollout.machine import Rollout
from yoq_web.apps.rollout.reconcile import ALIVE, Row
from yoq_web.apps.rollout.scheduler import Node, Usage
from yoq_web.database.locks import advisory_lock
from yoq_web.jsontext import dumps


def new_id() -> str:
    """An identifier as yoq has them: 48 random bits as lower-case hexadecimal."""
    return secrets.token_hex(6)


def lock_placing(session: Session) -> None:
    """Let nobody else place anything before this transaction ends: two would fill the same room.

    Taken before any row's lock, by everybody. SQLite has but one writer.
    """
    advisory_lock(session, "placing")


def nodes(session: Session, *, without: str | None = None) -> list[Node]:
    """All agents in the order of their registration, with what is assigned to them.

    Services of the app `without` are left out.
    """
    counted: tuple[Any, ...] = (Assignment.status.in_(ALIVE), Assignment.agent_id.is_not(None))
    if without is not None:
        # What the database compares with null is neither equal nor different.
        ours = (func.coalesce(Assignment.app, "") == without) & (func.coalesce(Assignment.kind, "") == "service")
        counted = (*counted, ~ours)
    sums = (func.sum(Assignment.cpu), func.sum(Assignment.memory_mb), func.sum(Assignment.gpus))
    totals = session.execute(select(Assignment.agent_id, *sums).where(*counted).group_by(Assignment.agent_id))
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
            labels=frozenset(label_items(agent.labels)),
            gpus=agent.gpu_count or 0,
            gpu_model=agent.gpu_model,
            gpu_vram_mb=agent.gpu_vram_mb or 0,
            reported=Usage(agent.cpu_used, agent.memory_used_mb, agent.gpu_used or 0),
            assigned=used.get(agent.id, Usage()),
        )
        for agent in agents
    ]


def rows(session: Session, *conditions: Any) -> dict[str, Row]:
    """The assignments that meet these conditions, in the order in which they were made."""
    found = session.scalars(
        select(Assignment).where(*conditions).order_by(Assignment.number), execution_options={"populate_existing": True}
    )
    return {item.id: _row(item) for item in found}


def of_services(app: str) -> tuple[Any, ...]:
    """The condition for the assignments of an app's services."""
    return Assignment.app == app, Assignment.kind == "service"


def _row(found: Assignment) -> Row:
    workload = Workload(
        kind="worker" if found.kind == "worker" else "service",
        name=found.workload or "",
        image=found.image,
        command=found.command,
        cpu=found.cpu,
        memory_mb=found.memory_mb,
        labels=label_items(found.labels),
        health_check=found.health_check,
        gpus=found.gpus,
        gpu_model=found.gpu_model,
        gpu_vram_mb=found.gpu_vram_mb,
        # One row is one part: placed again on its own, it takes one place.
    )
    return Row(
        id=found.id,
        release=found.release,
        agent_id=found.agent_id,
        workload=workload,
        status=found.status,
        reason=found.reason,
        gang=found.gang,
        rank=found.rank,
        master=found.master,
        replaced_by=found.replaced_by,
        app=found.app,
    )


def save_rows(session: Session, app: str | None, before: dict[str, Row], after: dict[str, Row], now: int) -> None:
    """Write what became of assignments: those that are gone, changed and new."""
    gone = [key for key in before if key not in after]
    if gone:
        session.execute(_quiet(delete(Assignment).where(Assignment.id.in_(gone))))
    for key, row in after.items():
        # Only what changed: an agent may have said something since these were read.
        if changed := {} if key not in before else _changes(before[key], row):
            session.execute(_quiet(update(Assignment).where(Assignment.id == key).values(changed)))
    new = [_values(app, row, now) for key, row in after.items() if key not in before]
    if new:
        session.execute(insert(Assignment), new)


def _changes(old: Row, new: Row) -> dict[str, Any]:
    names = ("agent_id", "status", "reason", "replaced_by", "master")
    return {name: getattr(new, name) for name in names if getattr(new, name) != getattr(old, name)}


def _quiet(statement: Any) -> Any:
    return statement.execution_options(synchronize_session=False)


def _values(app: str | None, row: Row, now: int) -> dict[str, Any]:
    workload = row.workload
    return {
        "id": row.id,
        "agent_id": row.agent_id,
        "release": row.release,
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
        "gang": row.gang,
        "rank": row.rank,
        "ranks": workload.ranks or None,
        "master": row.master,
        "master_port": workload.master_port if row.rank is not None else None,
        "status": row.status,
        "reason": row.reason,
        "replaced_by": row.replaced_by,
        "created_at": now,
    }


def save_rollout(session: Session, number: int, rollout: Rollout) -> None:
    """Write how far a release has got."""
    change = update(RolloutRow).where(RolloutRow.number == number)
    session.execute(_quiet(change.values(_progress(rollout) | {"version": RolloutRow.version + 1})))


def add_release(session: Session, release: dict[str, Any], rollout: Rollout) -> int:
    """Store a new release of an app, now its newest; returns its number."""
    number: int = session.execute(insert(Release).values(release).returning(Release.number)).scalar_one()
    name = release["app"]
    session.execute(insert(RolloutRow).values(number=number, app=name, version=0, **_progress(rollout)))
    if session.scalar(select(App.name).where(App.name == name)) is None:
        session.execute(insert(App).values(name=name, newest=number))
    else:
        session.execute(_quiet(update(App).where(App.name == name).values(newest=number)))
    return number


def _progress(rollout: Rollout) -> dict[str, Any]:
    state = dumps(machine.to_document(rollout))
    return {"status": rollout.status, "control": rollout.control, "state": state, "due_at": rollout.due_at}


def read_rollout(state: str) -> Rollout:
    """The rollout that a row keeps."""
    return machine.from_document(json.loads(state))


SNAPSHOT = (
    Release.number,
    Release.id,
    Release.app,
    Release.trigger,
    Release.source,
    Release.manifest_hash,
    Release.created_at,
    Release.services,
    Release.workers,
    Release.crons,
    Release.training_jobs,
    RolloutRow.state,
)
"""What of a release a Snapshot needs: not the body, which may be long."""


def releases() -> Select[Any]:
    """All releases as snapshot() takes them."""
    columns: list[Any] = list(SNAPSHOT)
    return select(*columns).join(RolloutRow, RolloutRow.number == Release.number)


def snapshot(found: Result[Any]) -> Snapshot:
    """A release with how far it has got."""
    values = dict(found._mapping)
    return Snapshot(rollout=read_rollout(values.pop("state")), **values)


def snapshots(session: Session, chosen: Select[Any]) -> list[Snapshot]:
    """The releases that a query of releases() finds."""
    return [snapshot(found) for found in session.execute(chosen)]


def newest(session: Session, app: str) -> Snapshot | None:
    """An app's newest release, or None if it has none."""
    found = session.execute(releases().join(App, App.newest == Release.number).where(App.name == app)).first()
    return None if found is None else snapshot(found)


def previous_numbers(session: Session, app: str | None = None) -> dict[str, int]:
    """By app, or of one app alone, its newest completed release other than its newest."""
    inner = select(func.max(RolloutRow.number)).where(
        RolloutRow.app == App.name, RolloutRow.status == "completed", RolloutRow.number < App.newest
    )
    chosen = select(App.name, inner.scalar_subquery())
    if app is not None:
        chosen = chosen.where(App.name == app)
    return {name: number for name, number in session.execute(chosen) if number is not None}


def by_number(session: Session, numbers: Iterable[int]) -> dict[int, Snapshot]:
    """The releases of these numbers."""
    return {item.number: item for item in snapshots(session, releases().where(Release.number.in_(list(numbers))))}
