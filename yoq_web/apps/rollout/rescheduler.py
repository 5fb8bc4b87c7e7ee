"""The rescheduler: moves workloads off agents that are offline or draining, and places those that are nowhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from yoq_web.actors import act_as_system
from yoq_web.agents.models import DRAINING, OFFLINE, Agent
from yoq_web.apps import assignment_store
from yoq_web.apps.models import QUIET, AssignmentRow, RolloutRow
from yoq_web.apps.rollout.assignment import ALIVE, Assignment
from yoq_web.apps.rollout.controller import StaleDecision, advance_due_rollouts
from yoq_web.apps.rollout.scheduler import Node, add_workload, place
from yoq_web.database.session import db, unit_of_work
from yoq_web.operations.operation import Operation

app_move = Operation(
    "app_move",
    "Move workloads off an agent by itself",
    "apps:write",
    details=("agent", "agent_status", "moved", "waiting"),
    activity="update",
)

LIVING = AssignmentRow.status.in_(ALIVE) & AssignmentRow.replaced_by.is_(None)
"""That an assignment is to run, or does."""

HELD = exists().where((AssignmentRow.agent_id == Agent.id) & LIVING)
"""That something is to run on an agent, or does."""

LEAVING = Agent.status.in_((OFFLINE, DRAINING))
"""That an agent cannot keep what it has."""


@dataclass(frozen=True, slots=True)
class Moves:
    """What becomes of an app's assignments that cannot stay where they are: on the agent `left`, or nowhere."""

    app: str | None
    left: str | None
    status: str
    before: dict[str, Assignment]
    after: dict[str, Assignment]

    @property
    def changed(self) -> list[Assignment]:
        """Those of which something becomes, as they are then."""
        return [one for key, one in self.after.items() if one != self.before[key]]

    @property
    def details(self) -> dict[str, str | list[str] | None]:
        """What is recorded of them."""
        return {
            "agent": self.left,
            "agent_status": self.status,
            "moved": [f"{_describe(one)} -> {one.agent_id}" for one in self.changed if one.agent_id],
            "waiting": [_describe(one) for one in self.changed if not one.agent_id],
        }


def run_due_work() -> None:
    """Do what is due: steps of rollouts, and workloads that are where they cannot stay."""
    run_due_work_at(int(time.time()))


def run_due_work_at(now: int) -> None:
    """Do what is due at `now`, in seconds since 1970. Any number of processes may do so at once."""
    # One statement, and one look at an index for each of its parts.
    rollouts, nowhere, held, draining = db.session.execute(
        select(
            exists().where(RolloutRow.due_at <= now),
            exists().where(AssignmentRow.agent_id.is_(None) & LIVING),
            exists().where(LEAVING & HELD),
            exists().where((Agent.status == DRAINING) & Agent.drained_at.is_(None)),
        )
    ).one()
    db.session.rollback()
    if rollouts:
        advance_due_rollouts(now)
    if nowhere or held:
        move_workloads(now)
    if draining:
        _note_drained(now)


def move_workloads(now: int) -> None:
    """Move whatever can be moved; each app's off each agent in one transaction, recorded as done by the system."""
    for app, left in _list_leaving(db.session()):
        db.session.rollback()
        planned = _plan_moves(db.session(), app, left)
        db.session.rollback()
        if not planned.changed:
            continue
        try:
            with act_as_system(), app_move.performed(app, **planned.details) as session:
                _carry_out(session, planned, now)
        except StaleDecision:
            continue


def _carry_out(session: Session, planned: Moves, now: int) -> None:
    assignment_store.lock_placing(session)
    again = _plan_moves(session, planned.app, planned.left)
    if again.details != planned.details:
        raise StaleDecision
    assignment_store.save_assignments(session, None, again.before, again.after, now)
    for one in again.changed:
        if one.rank == 0 and one.agent_id:
            # The other parts of a gang look for the first one where it is now.
            others = update(AssignmentRow).where(AssignmentRow.gang == one.gang).values(master=one.master)
            session.execute(others, execution_options=QUIET)


def _list_leaving(session: Session) -> list[tuple[str | None, str | None]]:
    """List the apps that have something that cannot stay, each with the agent that it is on; None is nowhere.

    What is nowhere comes first, then the agents as they registered, and of each the apps as they came to it.
    """
    chosen = (
        select(AssignmentRow.app, AssignmentRow.agent_id)
        .outerjoin(Agent, Agent.id == AssignmentRow.agent_id)
        .where(LIVING, AssignmentRow.agent_id.is_(None) | LEAVING)
        .group_by(AssignmentRow.app, AssignmentRow.agent_id)
        .order_by(func.coalesce(func.min(Agent.registered_at), 0), func.min(AssignmentRow.number))
    )
    return [(app, agent) for app, agent in session.execute(chosen)]


def _plan_moves(session: Session, app: str | None, left: str | None) -> Moves:
    status = "orphaned"
    if left is not None:
        status = session.scalar(select(Agent.status).where(Agent.id == left)) or OFFLINE
    theirs = (AssignmentRow.app == app, AssignmentRow.agent_id == left, LIVING)
    before = assignment_store.list_assignments(session, *theirs)
    if left is not None and status not in (OFFLINE, DRAINING):
        return Moves(app, left, status, before, before)
    after = place_anew(before.values(), assignment_store.list_nodes(session), keep=status == DRAINING)
    return Moves(app, left, status, before, after)


def place_anew(assignments: Iterable[Assignment], nodes: list[Node], *, keep: bool) -> dict[str, Assignment]:
    """Find each assignment a new place. One for which there is none waits: where it is if `keep`, else nowhere."""
    after: dict[str, Assignment] = {}
    addresses = {node.id: node.address for node in nodes}
    for one in assignments:
        seats = place(one.workload, nodes)
        if seats:
            chosen = seats[0].node
            nodes = [add_workload(node, one.workload) if node.id == chosen else node for node in nodes]
            master = addresses[chosen] if one.rank == 0 else one.master
            after[one.id] = replace(one, agent_id=chosen, status="pending", reason=None, master=master)
        else:
            after[one.id] = one if keep else replace(one, agent_id=None, status="pending", reason=None)
    return after


def _describe(one: Assignment) -> str:
    return f"{one.app or '-'}/{one.workload.name} {one.id}"


def _note_drained(now: int) -> None:
    """Note which draining agents have nothing left to run."""
    empty = (Agent.status == DRAINING) & Agent.drained_at.is_(None) & ~HELD
    found = db.session.scalar(select(Agent.id).where(empty).limit(1))
    db.session.rollback()
    if found is not None:
        with unit_of_work() as session:
            drained = update(Agent).where(empty).values(drained_at=now)
            session.execute(drained, execution_options=QUIET)
