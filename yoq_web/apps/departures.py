"""Departures: agents that are drained or removed, and what becomes of what they run."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import case, delete, select, update

from yoq_web.agents.liveness import note_departure
from yoq_web.agents.models import DRAINING, OFFLINE, Agent, WireguardPeer
from yoq_web.agents.operations import agent_drain, agent_drain_end, agent_remove, note_before
from yoq_web.apps import assignment_store
from yoq_web.apps.models import QUIET, AssignmentRow
from yoq_web.apps.rollout.moves import LIVING, Moves, describe, end_drain, explain_held, move_off, note_waiting
from yoq_web.operations.performance import add_details, add_sequel
from yoq_web.problems import Problem


def name_departure(agent_id: str, *, force: bool) -> tuple[str, dict[str, bool]]:
    """Name for the trail that an agent leaves: its id, and whether that is forced."""
    return agent_id, ({"force": True} if force else {})


def drain(agent_id: str, *, force: bool = False, strict: bool = True) -> dict[str, Any]:
    """Have an agent take no more services and give its own to others, at once where they have room.

    The rest stays until there is a place; with `force` it is ended. Repeating it is no error. Returns what became of
    what it runs. Raises NotFound, unless not `strict`: yoq answers and records the same for an agent that is not there.
    """
    now = int(time.time())
    made: list[Moves] = []
    waiting: list[str] = []
    target, told = name_departure(agent_id, force=force)
    with agent_drain.performed(target, **told) as session:
        assignment_store.lock_placing(session)
        if note_before(session, agent_id, Agent.status, strict=strict):
            change = update(Agent).where(Agent.id == agent_id, Agent.draining_since.is_(None))
            status = case((Agent.status == OFFLINE, OFFLINE), else_=DRAINING)
            session.execute(change.values(status=status, draining_since=now, drained_at=None), execution_options=QUIET)
            made = move_off(session, agent_id, DRAINING, "end" if force else "stay", now)
            waiting = explain_held(session, agent_id)
            if waiting:
                note_waiting(session, agent_id, waiting)
            elif (address := end_drain(session, agent_id, now)) is not None:
                add_sequel(agent_drain_end, agent_id, address=address)
    return {"status": DRAINING, "drained": not waiting, **_tell(made), "waiting": waiting}


def remove(agent_id: str, *, force: bool = False) -> dict[str, Any]:
    """Remove an agent: its number is free again, and if it beats it is told to end.

    Returns what became of what it ran. Raises NotFound, and a Problem (409) if it still runs something, unless that is
    forced: then it is placed anew, or waits for a place.
    """
    target, told = name_departure(agent_id, force=force)
    with agent_remove.performed(target, **told) as session:
        assignment_store.lock_placing(session)
        note_before(session, agent_id, Agent.status)
        chosen = select(Agent.role, Agent.labels, WireguardPeer.node_id)
        chosen = chosen.outerjoin(WireguardPeer, WireguardPeer.agent_id == Agent.id).where(Agent.id == agent_id)
        role, labels, number = session.execute(chosen).one()
        add_details(role=role, labels=labels, node_id=number)
        held = assignment_store.list_assignments(session, AssignmentRow.agent_id == agent_id, LIVING)
        if held and not force:
            names = ", ".join(describe(one) for one in held.values())
            raise Problem(409, "the agent still runs something", f"{names}: drain it first, or force it")
        made = move_off(session, agent_id, "removed", "wait", int(time.time()))
        session.execute(delete(Agent).where(Agent.id == agent_id), execution_options=QUIET)
        note_departure(session, agent_id)
    return {"status": "removed", **_tell(made), "waiting": [text for moves in made for text in moves.waiting]}


def _tell(made: list[Moves]) -> dict[str, list[str]]:
    moved = [text for moves in made for text in moves.moved]
    ended = [text for moves in made for text in moves.ended]
    return {"moved": moved, "ended": ended}
