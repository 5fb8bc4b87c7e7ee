"""yoq's routes of agents: for operators, and with the join token for the agents themselves."""

from __future__ import annotations

from typing import Any

from flask import request

from yoq_web import JOINING, Slice, Status, set_deadline
from yoq_web.agents import documents, operations, schemas
from yoq_web.apps import departures
from yoq_wire import answers
from yoq_wire.answers import make_blueprint, wire_endpoint
from yoq_wire.limits import CLIENT_LIMIT, fit_nodes, fit_peers

routes = make_blueprint("agents")

MOST = Slice(limit=1000)
"""More agents or peers than these never fit into what the client takes."""

BESIDE_PEERS = 128
"""Bytes that an agent's id, number and address take in the answer to its registration."""


@routes.get("/agents")
@wire_endpoint(scope="agents:read")
def list_agents() -> list[dict[str, Any]]:
    """List the agents, in the order in which they registered.

    Of many agents only what `yoq nodes` shows, so that its client can take the answer.
    """
    return fit_nodes([documents.make_agent_document(agent, peer) for agent, peer in operations.list_agents(MOST)])


@routes.post("/agents/register")
@wire_endpoint(operations.agent_register, body=schemas.Registration, target=lambda body: body.address)
def register(body: schemas.Registration) -> dict[str, Any]:
    """Register an agent."""
    found = operations.register(body)
    if "peers" in found:
        found["peers"] = fit_peers(found["peers"], CLIENT_LIMIT - BESIDE_PEERS)
    return found


@routes.post("/agents/<agent>/heartbeat")
@wire_endpoint(scope=JOINING, body=schemas.Beat, unaudited=operations.NOT_SENSITIVE)
def beat(agent: str, body: schemas.Beat) -> dict[str, Any]:
    """Say that an agent is alive; an unknown one is told nothing.

    yoq's agent ends when it hears that it is draining: it is told so when nothing is left on it, and always once it
    was removed or forgotten.
    """
    set_deadline(answers.PATIENCE_WITH_BEATS)
    found = operations.beat(agent, body)
    if found is None:
        return {"status": "ok"}
    if found.status == "departed":
        return {"status": "draining", "peers_count": found.peers_count}
    status = "active" if found.status == "draining" and not found.drained else found.status
    return {"status": status, "peers_count": found.peers_count}


@routes.post("/agents/<agent>/drain")
@wire_endpoint(operations.agent_drain)
def drain(agent: str) -> Status:
    """Drain an agent; the answer is the same for an unknown one."""
    departures.drain(agent, strict=False)
    return Status(status="draining")


@routes.put("/agents/<agent>/labels")
@wire_endpoint(operations.agent_label, body=schemas.LabelsIn)
def label(agent: str, body: schemas.LabelsIn) -> dict[str, bool]:
    """Replace an agent's labels; the answer is the same for an unknown one."""
    operations.label(agent, body.labels, strict=False)
    return {"ok": True}


@routes.get("/wireguard/peers")
@wire_endpoint(scope=JOINING)
def list_peers() -> list[dict[str, Any]]:
    """List the members of the overlay network by number, with `servers_only=1` those that others connect to.

    Of many only what an agent reads, and no more than it can take.
    """
    servers_only = b"servers_only=1" in request.query_string.split(b"&")
    return fit_peers(
        [documents.make_peer_document(peer) for peer in operations.list_peers(MOST, servers_only=servers_only)]
    )
