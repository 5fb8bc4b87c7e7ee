"""Liveness: an agent that is silent for too long is offline until its next heartbeat, and forgotten after an hour.

What was forgotten or removed is not known any more, but that it was is: it would beat for ever, and nobody would know.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_web.actors import act_as_system
from yoq_web.agents.models import OFFLINE, Agent, DepartedAgent
from yoq_web.app_local import AppLocal
from yoq_web.database.session import db
from yoq_web.operations.operation import Operation
from yoq_web.problems import NotFound
from yoq_web.settings import current_settings
from yoq_web.times import ClockJumps

log = get_logger("yoq_web")

FORGET_SECONDS = 3600
"""After this much silence an agent that is offline is removed, and its number in the overlay network is free."""

DEPARTED_SECONDS = 30 * 24 * 3600
"""For so long after an agent has gone it is told to end if it beats."""

JUMP_SECONDS = 5
"""A clock that is moved further at once jumped: what was noted before was noted by another one."""


@dataclass
class Listening:
    """Since when this process looks for silent agents: nobody could beat while nobody served.

    That, and when the machine's clock last `jumped`, is by the monotonic one.
    """

    since: float = field(default_factory=time.monotonic)
    jumps: ClockJumps = field(default_factory=ClockJumps)
    jumped: float | None = None


current_listening: AppLocal[Listening] = AppLocal("listening", lambda _app: Listening())

agent_offline = Operation(
    "agent_offline", "Find an agent silent", "agents:write", ("last_heartbeat", "address"), activity="update"
)
agent_forget = Operation(
    "agent_forget",
    "Forget a silent agent",
    "agents:write",
    details=("last_heartbeat", "address", "role", "labels"),
    activity="delete",
)


def expire_agents() -> None:
    """Have the agents that are silent go offline, and forget those that stay so."""
    listening, now = current_listening(), time.monotonic()
    if abs(listening.jumps.measure()) > JUMP_SECONDS:
        listening.since = listening.jumped = now  # whoever lives beats once by the new time
    if now - listening.since > current_settings().agent_timeout:
        forget = listening.jumped is None or now - listening.jumped > FORGET_SECONDS
        expire_agents_at(int(time.time()), forget=forget)


def expire_agents_at(now: int, *, forget: bool = True) -> None:
    """Do so at `now`, in seconds since 1970, however long this process has listened; others may do so too.

    Without `forget` those that are offline stay so.
    """
    ahead = Agent.last_heartbeat > now + FORGET_SECONDS  # noted by a clock that was wrong, and by no later one
    silent = (Agent.status != OFFLINE) & ((Agent.last_heartbeat < now - current_settings().agent_timeout) | ahead)
    forgotten = (Agent.status == OFFLINE) & (Agent.last_heartbeat < now - FORGET_SECONDS)
    # Looked for without the write lock: there is seldom anything to do.
    columns = (Agent.id, Agent.status, Agent.last_heartbeat, Agent.address, Agent.role, Agent.labels)
    due = silent | forgotten if forget else silent
    rows = db.session.execute(select(*columns).where(due).order_by(Agent.registered_at)).all()
    db.session.rollback()
    with act_as_system():
        for found in rows:
            try:
                if found.status == OFFLINE:
                    _forget(found, forgotten)
                else:
                    _mark_offline(found, silent, now)
            except NotFound:
                continue  # it beat meanwhile, or another process was first


def _mark_offline(found: Any, silent: ColumnElement[bool], now: int) -> None:
    """Mark a silent agent as offline; it is forgotten an hour after its last beat, of which none is after `now`."""
    with agent_offline.performed(found.id, last_heartbeat=found.last_heartbeat, address=found.address) as session:
        values = {"status": OFFLINE, "last_heartbeat": min(found.last_heartbeat, now)}
        change = update(Agent).where(Agent.id == found.id, silent).values(values).returning(Agent.id)
        if session.scalar(change, execution_options={"synchronize_session": False}) is None:
            raise NotFound
    log.warning("an agent fell silent", agent=found.id)


def _forget(found: Any, forgotten: ColumnElement[bool]) -> None:
    before = {name: getattr(found, name) for name in agent_forget.details}
    with agent_forget.performed(found.id, **before) as session:
        removal = delete(Agent).where(Agent.id == found.id, forgotten).returning(Agent.id)
        if session.scalar(removal, execution_options={"synchronize_session": False}) is None:
            raise NotFound
        note_departure(session, found.id)
    log.warning("a silent agent was forgotten", agent=found.id)


def note_departure(session: Session, agent_id: str) -> None:
    """Note that an agent is not known any more, so that it is told to end if it beats again."""
    now = int(time.time())
    old = delete(DepartedAgent).where(DepartedAgent.departed_at < now - DEPARTED_SECONDS)
    session.execute(old, execution_options={"synchronize_session": False})
    session.execute(insert(DepartedAgent).values(id=agent_id, departed_at=now))
