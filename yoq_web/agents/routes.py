"""The HTTP API of agents: what operators do with them, and what the agents themselves report with the join token."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from yoq_web.agents import operations
from yoq_web.agents.documents import make_full_document, make_peer_document
from yoq_web.agents.schemas import AgentOut, Beat, Beaten, LabelsIn, Peer, PeersQuery, Registered, Registration
from yoq_web.database.pages import Page
from yoq_web.http.endpoints import Status, endpoint
from yoq_web.http.pages import PageQuery
from yoq_web.problems import NotFound
from yoq_web.scopes import JOINING

blueprint = Blueprint("agents", __name__)


@blueprint.get("/v1/agents")
@endpoint(scope="agents:read", query=PageQuery, answer=list[AgentOut])
def list_agents(query: PageQuery) -> Page[dict[str, Any]]:
    """List the agents, in the order in which they registered."""
    return operations.list_agents(query.find_slice()).convert(lambda found: make_full_document(*found))


@blueprint.post("/v1/agents")
@endpoint(
    operations.agent_register,
    body=Registration,
    target=lambda body: body.address,
    answer=Registered,
    status=201,
)
def register(body: Registration) -> dict[str, Any]:
    """Register an agent.

    Every registration makes a new agent. One that brings a WireGuard key gets a place in the overlay network.
    """
    return operations.register(body)


@blueprint.get("/v1/agents/peers")
@endpoint(scope=JOINING, query=PeersQuery, answer=list[Peer])
def list_peers(query: PeersQuery) -> Page[dict[str, Any]]:
    """List the members of the overlay network by number."""
    found = operations.list_peers(query.find_slice(), servers_only=query.servers_only == "1")
    return found.convert(make_peer_document)


@blueprint.get("/v1/agents/<agent>")
@endpoint(scope="agents:read", answer=AgentOut)
def get_agent(agent: str) -> dict[str, Any]:
    """Show an agent."""
    return make_full_document(*operations.get_agent(agent))


@blueprint.post("/v1/agents/<agent>/heartbeat")
@endpoint(scope=JOINING, body=Beat, answer=Beaten, unaudited=operations.NOT_SENSITIVE)
def beat(agent: str, body: Beat) -> dict[str, Any]:
    """Say that an agent is alive, and how busy.

    The answer says how it stood before.
    """
    found = operations.beat(agent, body)
    if found is None:
        raise NotFound("not found", f"there is no agent {agent!r}")
    if found.status == "departed":
        raise NotFound("not found", f"the agent {agent!r} was removed or forgotten")
    return {"status": found.status, "peers_count": found.peers_count}


@blueprint.post("/v1/agents/<agent>/undrain")
@endpoint(operations.agent_undrain)
def undrain(agent: str) -> Status:
    """Let a draining agent take services again."""
    operations.undrain(agent)
    return Status(status="active")


@blueprint.put("/v1/agents/<agent>/labels")
@endpoint(operations.agent_label, body=LabelsIn)
def label(agent: str, body: LabelsIn) -> Status:
    """Replace an agent's labels."""
    operations.label(agent, body.labels)
    return Status(status="ok")
