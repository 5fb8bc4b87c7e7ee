"""What can be done with agents; routes, commands and plugins all come here."""

from __future__ import annotations

import secrets
import time
from typing import Any, NamedTuple

from sqlalchemy import Select, case, func, insert, select, text, update
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from yoq_web.agents.documents import make_peer_document
from yoq_web.agents.liveness import agent_forget, agent_offline
from yoq_web.agents.models import ACTIVE, DRAINING, OFFLINE, Agent, DepartedAgent, WireguardPeer
from yoq_web.agents.schemas import MAX_LABELS, Beat, Registration
from yoq_web.agents.wireguard import MAX_NODE, PORT, compute_overlay_ip, format_endpoint
from yoq_web.database.pages import WHOLE, Page, Slice, read_page
from yoq_web.database.session import db, unit_of_work
from yoq_web.names import is_storable
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import add_details
from yoq_web.problems import NotFound, Problem
from yoq_web.scopes import JOINING
from yoq_web.settings import current_settings

agent_register = Operation("agent_register", "Register an agent", JOINING, details=("agent",), activity="create")
BEFORE = ("address", "before")

agent_drain = Operation("agent_drain", "Drain an agent", "agents:write", (*BEFORE, "force"), activity="update")
agent_drain_end = Operation("agent_drain_end", "End a drain by itself", "agents:write", ("address",), activity="update")
agent_undrain = Operation(
    "agent_undrain", "Let a draining agent take services again", "agents:write", BEFORE, activity="update"
)
agent_remove = Operation(
    "agent_remove",
    "Remove an agent",
    "agents:write",
    (*BEFORE, "role", "labels", "node_id", "force"),
    activity="delete",
)
agent_label = Operation("agent_label", "Set an agent's labels", "agents:write", ("labels", *BEFORE), activity="update")

OPERATIONS = (
    agent_register,
    agent_drain,
    agent_drain_end,
    agent_undrain,
    agent_label,
    agent_remove,
    agent_offline,
    agent_forget,
)

AgentAndPeer = tuple[Agent, WireguardPeer | None]

SERVING = ("server", "both")
"""The roles of agents that others connect to."""

DRAIN_SECONDS = 300
"""A drain that waits for longer is told by /health."""

NOT_SENSITIVE = "a heartbeat comes from every agent every few seconds and says only that it lives"
"""Why a heartbeat is not recorded."""


def register(wanted: Registration) -> dict[str, Any]:
    """Register a new agent, and give it the smallest free number of the overlay network if it brings a key.

    Returns what it has to know: its id and, with a key, its place in the network and the others'. The same machine may
    register again and is another agent then. Raises a Problem if a field is wrong (400) or no number is free (500).
    """
    wanted.check(current_settings().join_token)
    agent_id = secrets.token_hex(6)
    with agent_register.performed(wanted.address, agent=agent_id) as session:
        session.execute(insert(Agent).values(_make_row(agent_id, wanted)))
        if wanted.wg_public_key is None:
            return {"id": agent_id}
        number = _find_free_number(session)
        place = {"node_id": number, "agent_id": agent_id, "public_key": wanted.wg_public_key}
        where = format_endpoint(wanted.address, wanted.wg_listen_port or PORT)
        session.execute(insert(WireguardPeer).values(place | {"endpoint": where}))
    # Who is an agent and nothing else connects to servers only.
    others = list_peers(servers_only=wanted.role == "agent")
    peers = [make_peer_document(other) for other in others if other.node_id != number]
    return {"id": agent_id, "node_id": number, "overlay_ip": compute_overlay_ip(number), "peers": peers}


def _make_row(agent_id: str, wanted: Registration) -> dict[str, object]:
    now = time.time_ns() // 1000
    return {
        "id": agent_id,
        "address": wanted.address,
        "agent_api_port": wanted.agent_api_port,
        "status": ACTIVE,
        "status_before": ACTIVE,
        "cpu_cores": wanted.cpu_cores,
        "memory_mb": wanted.memory_mb,
        "cpu_used": 0,
        "memory_used_mb": 0,
        "containers": 0,
        "last_heartbeat": now // 1_000_000,
        "registered_at": now,
        "role": wanted.role or "both",
        "region": wanted.region,
        "labels": wanted.labels or "",
        "gpu_count": wanted.gpu_count,
        "gpu_used": 0,
        "gpu_model": wanted.gpu_model,
        "gpu_vram_mb": None if wanted.gpu_vram_mb is None else max(0, wanted.gpu_vram_mb),
        "gpu_health": "healthy",
    }


def _find_free_number(session: Session) -> int:
    """Find the smallest number that no agent has; nobody else can take it before this transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        # Two registrations at once would find the same number. SQLite has but one writer.
        session.execute(text("LOCK TABLE wireguard_peers IN SHARE ROW EXCLUSIVE MODE"))
    taken = aliased(WireguardPeer)
    following = select(WireguardPeer.node_id + 1).where(
        ~select(taken.node_id).where(taken.node_id == WireguardPeer.node_id + 1).exists()
    )
    first = session.scalar(select(WireguardPeer.node_id).where(WireguardPeer.node_id == 1))
    number = 1 if first is None else session.scalar(select(func.min(following.subquery().c[0])))
    if number is None or number > MAX_NODE:
        raise Problem(500, "no available node_id", f"all numbers up to {MAX_NODE} are taken")
    return number


class HeartbeatReply(NamedTuple):
    """The answer to a heartbeat: how the agent stood before it, and how many peers the overlay network has.

    `drained` says of a draining agent that nothing is left on it. The status of one that was removed or forgotten is
    `departed`: it is not known any more.
    """

    status: str
    peers_count: int
    drained: bool


def beat(agent_id: str, reported: Beat) -> HeartbeatReply | None:
    """Note that an agent is alive: an offline one is active again, or draining if it was. Not recorded.

    Returns what it has to know; None if there is no such agent, and never was as far as is known.
    """
    with unit_of_work() as session:
        row = session.execute(_HEARTBEAT, reported.model_dump() | {"agent": agent_id, "now": int(time.time())}).first()
        if row is None and session.get(DepartedAgent, agent_id) is not None:
            return HeartbeatReply("departed", 0, drained=True)
    return None if row is None else HeartbeatReply(row.status_before, row.peers_count, row.drained_at is not None)


# One statement, built once. In an UPDATE every right-hand side is the row as it was before. What it returns is not
# asked whether it is null: SQLite 3.40 has that wrong.
_HEARTBEAT = text(
    f"""
    UPDATE agents
       SET status_before = status,
           status = CASE WHEN status <> '{OFFLINE}' THEN status
                         WHEN draining_since IS NULL THEN '{ACTIVE}' ELSE '{DRAINING}' END,
           cpu_used = :cpu_used, memory_used_mb = :memory_used_mb, containers = :containers, gpu_used = :gpu_used,
           gpu_health = :gpu_health, last_heartbeat = :now
     WHERE id = :agent
    RETURNING status_before, drained_at, (SELECT count(*) FROM wireguard_peers) AS peers_count
    """  # noqa: S608 - made of constants
)


def undrain(agent_id: str) -> None:
    """Let a draining agent take services again; one that is silent is offline until it beats. Raises NotFound."""
    with agent_undrain.performed(agent_id) as session:
        note_before(session, agent_id, Agent.status)
        change = update(Agent).where(Agent.id == agent_id, Agent.draining_since.is_not(None))
        status = case((Agent.status == DRAINING, ACTIVE), else_=Agent.status)
        session.execute(change.values(status=status, draining_since=None, drained_at=None, waits_for=None))


def label(agent_id: str, labels: str, *, strict: bool = True) -> None:
    """Replace an agent's labels. Raises a Problem if they are too long, and NotFound unless not `strict`."""
    if not is_storable(labels, MAX_LABELS):
        raise Problem(400, "invalid labels", f"at most {MAX_LABELS} bytes, without NUL")
    with agent_label.performed(agent_id, labels=labels) as session:
        note_before(session, agent_id, Agent.labels, strict=strict)
        session.execute(update(Agent).where(Agent.id == agent_id).values(labels=labels))


def note_before(session: Session, agent_id: str, column: InstrumentedAttribute[str], *, strict: bool = True) -> bool:
    """Record an agent's address and what a column has until now; returns whether there is such an agent.

    Its row is locked. If there is none and `strict`, raises NotFound.
    """
    chosen = select(Agent.address, column).where(Agent.id == agent_id).with_for_update()
    found = session.execute(chosen).first()
    if found is None and strict:
        raise NotFound("not found", f"there is no agent {agent_id!r}")
    address, before = found or (None, None)
    add_details(address=address, before=before)
    return found is not None


def list_agents(part: Slice = WHOLE) -> Page[AgentAndPeer]:
    """List the agents with their peers, in the order in which they registered. Reading them is not recorded."""
    rows = read_page(db.session(), _select_agents(), (Agent.registered_at, Agent.id), part)
    return rows.convert(lambda row: (row[0], row[1]))


def get_agent(agent_id: str) -> AgentAndPeer:
    """Find an agent with its peer. Raises NotFound."""
    found = db.session.execute(_select_agents().where(Agent.id == agent_id)).one_or_none()
    if found is None:
        raise NotFound("not found", f"there is no agent {agent_id!r}")
    agent, peer = found
    return agent, peer


def list_late_drains() -> list[str]:
    """List the agents whose services have waited for another place for longer than a drain should take."""
    late = Agent.draining_since < int(time.time()) - DRAIN_SECONDS
    return list(db.session.scalars(select(Agent.id).where(late, Agent.waits_for.is_not(None)).order_by(Agent.id)))


def count_agents() -> dict[str, float]:
    """Count the agents by their status."""
    rows = db.session.execute(select(Agent.status, func.count().label("number")).group_by(Agent.status)).all()
    return {row.status: row.number for row in rows}


def list_peers(part: Slice = WHOLE, *, servers_only: bool = False) -> Page[WireguardPeer]:
    """List the members of the overlay network by number; those that others connect to alone if asked."""
    chosen = select(WireguardPeer)
    if servers_only:
        chosen = chosen.join(Agent, Agent.id == WireguardPeer.agent_id).where(Agent.role.in_(SERVING))
    return read_page(db.session(), chosen, (WireguardPeer.node_id,), part).convert(lambda row: row[0])


def _select_agents() -> Select[Agent, WireguardPeer | None]:
    return select(Agent, WireguardPeer).outerjoin(WireguardPeer, WireguardPeer.agent_id == Agent.id)
