"""The rescheduler: moves workloads off agents that are offline or draining, and places those that are nowhere."""

from __future__ import annotations

import time
from contextlib import suppress

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from yoq_web.actors import act_as_system
from yoq_web.agents.models import DRAINING, OFFLINE, Agent
from yoq_web.agents.operations import agent_drain_end
from yoq_web.apps import assignment_store
from yoq_web.apps.models import AssignmentRow, RolloutRow
from yoq_web.apps.rollout.controller import StaleDecision, advance_due_rollouts
from yoq_web.apps.rollout.moves import (
    HELD,
    LIVING,
    Moves,
    app_move,
    end_drain,
    explain_held,
    note_waiting,
    plan_moves,
    summarize,
    write_moves,
)
from yoq_web.database.session import db, unit_of_work
from yoq_web.operations.performance import add_details
from yoq_web.problems import NotFound

LEAVING = Agent.status.in_((OFFLINE, DRAINING))
"""That an agent cannot keep what it has."""

UNSETTLED = Agent.draining_since.is_not(None) & (Agent.drained_at.is_(None) | HELD)
"""That an agent is drained and still has something, or did when somebody looked last."""


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
            exists().where(UNSETTLED),
        )
    ).one()
    db.session.rollback()
    if rollouts:
        advance_due_rollouts(now)
    if nowhere or held:
        move_workloads(now)
    if draining:
        _note_drains(now)


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
    write_moves(session, again, now)


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
        if status not in (OFFLINE, DRAINING):
            return Moves(app, left, status, {}, {})
    return plan_moves(session, app, left, status, "stay" if status == DRAINING else "wait")


def _note_drains(now: int) -> None:
    """Note of the agents that are drained what they wait for; that nothing is left on one is recorded."""
    found = list(db.session.execute(select(Agent.id, Agent.waits_for).where(UNSETTLED).order_by(Agent.registered_at)))
    db.session.rollback()
    for agent_id, known in found:
        held = explain_held(db.session(), agent_id)
        db.session.rollback()
        if held and summarize(held) != known:
            with unit_of_work() as session:
                note_waiting(session, agent_id, held)
        elif not held:
            with suppress(NotFound), act_as_system(), agent_drain_end.performed(agent_id) as session:
                address = end_drain(session, agent_id, now)
                if address is None:
                    raise NotFound  # another process was first, or something came back to it
                add_details(address=address)
