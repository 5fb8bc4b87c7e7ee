"""Moving workloads off agents that are offline or draining, and giving a place to those that have none."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from yoq_web.actors import act_as_system
from yoq_web.agents.models import DRAINING, OFFLINE, Agent
from yoq_web.apps import store
from yoq_web.apps.models import Assignment, RolloutRow
from yoq_web.apps.rollout.controller import Changed, advance_due
from yoq_web.apps.rollout.reconcile import ALIVE, Row
from yoq_web.apps.rollout.scheduler import Node, place, taken
from yoq_web.database.session import db, unit_of_work
from yoq_web.operations.operation import Operation

app_move = Operation(
    "app_move",
    "Move workloads off an agent by itself",
    "apps:write",
    details=("agent_status", "moved", "waiting"),
)


@dataclass(frozen=True, slots=True)
class Moves:
    """What becomes of the assignments that are where they cannot stay. `left` is the agent they were on, if any."""

    left: str | None
    status: str
    before: dict[str, Row]
    after: dict[str, Row]

    @property
    def changed(self) -> list[str]:
        """The ids of those of which something becomes."""
        return [key for key, row in self.after.items() if row != self.before[key]]


def pulse() -> None:
    """Do what is due: steps of rollouts, and workloads that are where they cannot stay."""
    follow(int(time.time()))


def follow(now: int) -> None:
    """Do what is due at `now`, in seconds since 1970. Any number of processes may do so at once."""
    alive = Assignment.status.in_(ALIVE) & Assignment.replaced_by.is_(None)
    held = exists().where((Assignment.agent_id == Agent.id) & alive)
    # One statement, and one look at an index for each of its parts.
    due = db.session.execute(
        select(
            exists().where(RolloutRow.due_at <= now),
            exists().where(Assignment.agent_id.is_(None) & alive),
            exists().where(Agent.status.in_((OFFLINE, DRAINING)) & held),
            exists().where((Agent.status == DRAINING) & Agent.drained_at.is_(None)),
        )
    ).one()
    db.session.rollback()
    if due[0]:
        advance_due(now)
    if due[1] or due[2]:
        move(now)
    if due[3]:
        _note_drained(now)


def move(now: int) -> None:
    """Move whatever can be moved; each agent's in one transaction, recorded as done by the system."""
    for left in _leaving(db.session()):
        db.session.rollback()
        planned = _plan(db.session(), left)
        db.session.rollback()
        if not planned.changed:
            continue
        try:
            with act_as_system(), app_move.performed(left, **_details(planned)) as session:
                _carry_out(session, planned, now)
        except Changed:
            continue


def _carry_out(session: Session, planned: Moves, now: int) -> None:
    store.lock_placing(session)
    again = _plan(session, planned.left)
    if _details(again) != _details(planned):
        raise Changed
    store.save_rows(session, None, again.before, again.after, now)
    for key in again.changed:
        row = again.after[key]
        if row.rank == 0 and row.agent_id:
            # The other parts of a gang look for the first one where it is now.
            others = update(Assignment).where(Assignment.gang == row.gang).values(master=row.master)
            session.execute(others, execution_options={"synchronize_session": False})


def _leaving(session: Session) -> list[str | None]:
    """The agents that have something that cannot stay; None stands for what is nowhere."""
    alive = Assignment.status.in_(ALIVE) & Assignment.replaced_by.is_(None)
    gone = (
        select(Agent.id)
        .where(Agent.status.in_((OFFLINE, DRAINING)), exists().where((Assignment.agent_id == Agent.id) & alive))
        .order_by(Agent.registered_at)
    )
    return [None, *session.scalars(gone)]


def _plan(session: Session, left: str | None) -> Moves:
    status = "orphaned"
    if left is not None:
        status = session.scalar(select(Agent.status).where(Agent.id == left)) or OFFLINE
    before = store.rows(
        session, Assignment.agent_id == left, Assignment.status.in_(ALIVE), Assignment.replaced_by.is_(None)
    )
    if left is not None and status not in (OFFLINE, DRAINING):
        return Moves(left, status, before, before)
    return Moves(left, status, before, moved(before.values(), store.nodes(session), keep=status == DRAINING))


def moved(rows: Iterable[Row], nodes: list[Node], *, keep: bool) -> dict[str, Row]:
    """Each row with its new place. One for which there is none waits: where it is if `keep`, else nowhere."""
    after: dict[str, Row] = {}
    addresses = {node.id: node.address for node in nodes}
    for row in rows:
        seats = place(row.workload, nodes)
        if seats:
            chosen = seats[0].node
            nodes = [taken(node, row.workload) if node.id == chosen else node for node in nodes]
            master = addresses[chosen] if row.rank == 0 else row.master
            after[row.id] = replace(row, agent_id=chosen, status="pending", reason=None, master=master)
        else:
            after[row.id] = row if keep else replace(row, agent_id=None, status="pending", reason=None)
    return after


def _details(moves: Moves) -> dict[str, str | list[str]]:
    told = [moves.after[key] for key in moves.changed]
    return {
        "agent_status": moves.status,
        "moved": [f"{_called(row)} -> {row.agent_id}" for row in told if row.agent_id],
        "waiting": [_called(row) for row in told if not row.agent_id],
    }


def _called(row: Row) -> str:
    return f"{row.app or '-'}/{row.workload.name} {row.id}"


def _note_drained(now: int) -> None:
    """Note which draining agents have nothing left to run."""
    alive = Assignment.status.in_(ALIVE) & Assignment.replaced_by.is_(None)
    empty = (
        (Agent.status == DRAINING)
        & Agent.drained_at.is_(None)
        & ~exists().where((Assignment.agent_id == Agent.id) & alive)
    )
    found = db.session.scalar(select(Agent.id).where(empty).limit(1))
    db.session.rollback()
    if found is not None:
        with unit_of_work() as session:
            drained = update(Agent).where(empty).values(drained_at=now)
            session.execute(drained, execution_options={"synchronize_session": False})
