"""Moves: what becomes of an app's assignments that cannot stay on an agent, decided and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from yoq_web.agents.models import Agent
from yoq_web.apps import assignment_store
from yoq_web.apps.models import QUIET, AssignmentRow, RolloutRow
from yoq_web.apps.rollout.assignment import ALIVE, DRAINED, Assignment
from yoq_web.apps.rollout.diagnosis import MOST, explain_no_place
from yoq_web.apps.rollout.scheduler import Node, add_workload, place
from yoq_web.operations.details import DETAIL_BYTES, clean_text
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import add_sequel

app_move = Operation(
    "app_move",
    "Move workloads off an agent by itself",
    "apps:write",
    details=("agent", "agent_status", "moved", "waiting", "ended"),
    activity="update",
)

LIVING = AssignmentRow.status.in_(ALIVE) & AssignmentRow.replaced_by.is_(None)
"""That an assignment is to run, or does."""

HELD = exists().where((AssignmentRow.agent_id == Agent.id) & LIVING)
"""That something is to run on an agent, or does."""

Otherwise = Literal["stay", "wait", "end"]
"""What becomes of that for which there is no place: it stays on its agent, waits on none, or is stopped for good."""


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
    def moved(self) -> list[str]:
        """Those that found a place, and where."""
        return [f"{describe(one)} -> {one.agent_id}" for one in self.changed if one.agent_id and one.alive]

    @property
    def waiting(self) -> list[str]:
        """Those that wait for a place now and are on no agent meanwhile."""
        return [describe(one) for one in self.changed if not one.agent_id]

    @property
    def ended(self) -> list[str]:
        """Those that are stopped, since there is no place for them."""
        return [describe(one) for one in self.changed if not one.alive]

    @property
    def details(self) -> dict[str, str | list[str] | None]:
        """What is recorded of them."""
        told = {"moved": self.moved, "waiting": self.waiting, "ended": self.ended}
        return {"agent": self.left, "agent_status": self.status, **told}


def plan_moves(session: Session, app: str | None, left: str | None, status: str, otherwise: Otherwise) -> Moves:
    """Plan where an app's assignments go that are on the agent `left`, whose status is told, or nowhere."""
    theirs = (AssignmentRow.app == app, AssignmentRow.agent_id == left, LIVING)
    before = assignment_store.list_assignments(session, *theirs)
    nodes = [node for node in assignment_store.list_nodes(session) if node.id != left]
    return Moves(app, left, status, before, place_anew(before.values(), nodes, otherwise))


def place_anew(assignments: Iterable[Assignment], nodes: list[Node], otherwise: Otherwise) -> dict[str, Assignment]:
    """Find each assignment a new place; `otherwise` says what becomes of one for which there is none."""
    after: dict[str, Assignment] = {}
    addresses = {node.id: node.address for node in nodes}
    for one in assignments:
        seats = place(one.workload, nodes)
        if seats:
            chosen = seats[0].node
            nodes = [add_workload(node, one.workload) if node.id == chosen else node for node in nodes]
            master = addresses[chosen] if one.rank == 0 else one.master
            after[one.id] = replace(one, agent_id=chosen, status="pending", reason=None, master=master)
        elif otherwise == "end":
            after[one.id] = replace(one, status="stopped", reason=DRAINED)
        else:
            after[one.id] = one if otherwise == "stay" else replace(one, agent_id=None, status="pending", reason=None)
    return after


def write_moves(session: Session, moves: Moves, now: int) -> None:
    """Write what becomes of the assignments; nobody else may place anything meanwhile."""
    if ended := {one.release for one in moves.changed if not one.alive}:
        # A rollout that waits for one of them looks again at once. Its row first, as every step does.
        waits = update(RolloutRow).where(RolloutRow.number.in_(ended), RolloutRow.status == "in_progress")
        session.execute(waits.values(due_at=0), execution_options=QUIET)
    assignment_store.save_assignments(session, None, moves.before, moves.after, now)
    for one in moves.changed:
        if one.rank == 0 and one.agent_id and one.alive:
            # The other parts of a gang look for the first one where it is now.
            others = update(AssignmentRow).where(AssignmentRow.gang == one.gang).values(master=one.master)
            session.execute(others, execution_options=QUIET)


def move_off(session: Session, agent_id: str, status: str, otherwise: Otherwise, now: int) -> list[Moves]:
    """Move all that an agent has, inside the operation under way; what becomes of each app's is a sequel of it."""
    chosen = select(AssignmentRow.app).where(AssignmentRow.agent_id == agent_id, LIVING)
    chosen = chosen.group_by(AssignmentRow.app).order_by(func.min(AssignmentRow.number))
    made = []
    for app in session.scalars(chosen).all():
        moves = plan_moves(session, app, agent_id, status, otherwise)
        if moves.changed:
            write_moves(session, moves, now)
            add_sequel(app_move, app, None, **moves.details)
        made.append(moves)
    return made


def explain_held(session: Session, agent_id: str) -> list[str]:
    """Explain of all that an agent has why no other can take it; of much, how much more there is."""
    held = assignment_store.list_assignments(session, AssignmentRow.agent_id == agent_id, LIVING)
    nodes = assignment_store.list_nodes(session) if held else []
    others = [node for node in nodes if node.id != agent_id]
    told = [f"{describe(one)}: {_explain(one, others)}" for one in list(held.values())[:MOST]]
    return told + ([f"and {len(held) - MOST} more"] if len(held) > MOST else [])


def _explain(one: Assignment, others: Sequence[Node]) -> str:
    return explain_no_place(one.workload, others) if others else "there is no other agent"


def end_drain(session: Session, agent_id: str, now: int) -> str | None:
    """Note that nothing is left on a draining agent; returns its address, None if that is not so or was noted."""
    ended = update(Agent).where(
        Agent.id == agent_id, Agent.draining_since.is_not(None), Agent.drained_at.is_(None), ~HELD
    )
    ended = ended.values(drained_at=now, waits_for=None)
    return session.scalar(ended.returning(Agent.address), execution_options=QUIET)


def note_waiting(session: Session, agent_id: str, held: Sequence[str]) -> None:
    """Note what a draining agent waits for, unless that was over meanwhile."""
    waits = update(Agent).where(Agent.id == agent_id, Agent.draining_since.is_not(None), HELD)
    session.execute(waits.values(drained_at=None, waits_for=summarize(held)), execution_options=QUIET)


def summarize(held: Sequence[str]) -> str:
    """Write what is still on an agent as one text that both databases take."""
    return clean_text("; ".join(held), DETAIL_BYTES, "", [])


def describe(one: Assignment) -> str:
    """Name an assignment for people: app, workload, id."""
    return f"{one.app or '-'}/{one.workload.name} {one.id}"
