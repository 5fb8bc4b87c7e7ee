"""Liveness: an agent that is silent for too long is offline until its next heartbeat, and forgotten after an hour."""

from __future__ import annotations

import time

from sqlalchemy import ColumnElement, delete, select, update
from structlog.stdlib import get_logger

from yoq_web.agents.models import ACTIVE, OFFLINE, Agent
from yoq_web.database import db, unit_of_work
from yoq_web.state import state

log = get_logger("yoq_web")

FORGOTTEN_SECONDS = 3600
"""After this much silence an agent that is offline is removed, and its number in the overlay network is free."""


def pulse() -> None:
    """Have the agents that are silent go offline, and forget those that stay so."""
    follow(int(time.time()))


def follow(now: int) -> list[str]:
    """Do what is due at `now`, in seconds since 1970; returns the ids of the agents that went offline.

    Any number of processes may do so at once.
    """
    silent, forgotten = _silent(now), _forgotten(now)
    # Looked for without the write lock: there is seldom anything to do.
    due = db.session.scalar(select(Agent.id).where(silent | forgotten).limit(1))
    db.session.rollback()
    if due is None:
        return []
    with unit_of_work() as session:
        change = update(Agent).where(silent).values(status=OFFLINE).returning(Agent.id)
        gone = list(session.scalars(change, execution_options={"synchronize_session": False}))
        removal = delete(Agent).where(forgotten).returning(Agent.id)
        removed = list(session.scalars(removal, execution_options={"synchronize_session": False}))
    for agent in gone:
        log.warning("an agent fell silent", agent=agent)
    for agent in removed:
        log.warning("a silent agent was forgotten", agent=agent)
    return gone


def _silent(now: int) -> ColumnElement[bool]:
    return (Agent.status == ACTIVE) & (Agent.last_heartbeat < now - state().settings.agent_timeout)


def _forgotten(now: int) -> ColumnElement[bool]:
    return (Agent.status == OFFLINE) & (Agent.last_heartbeat < now - FORGOTTEN_SECONDS)
