"""Agents and peers as JSON: yoq's keys in yoq's order, without nested objects, which its clients cannot read."""

from __future__ import annotations

from typing import Any

from yoq_web.agents.models import Agent, WireguardPeer
from yoq_web.agents.wireguard import compute_container_subnet, compute_overlay_ip


def make_agent_document(agent: Agent, peer: WireguardPeer | None) -> dict[str, Any]:
    """Describe an agent as yoq's clients read it; members that are not set are left out."""
    members = {
        "id": agent.id,
        "address": agent.address,
        "status": agent.status,
        "agent_api_port": agent.agent_api_port,
        "cpu_cores": agent.cpu_cores,
        "memory_mb": agent.memory_mb,
        "cpu_used": agent.cpu_used,
        "memory_used_mb": agent.memory_used_mb,
        "containers": agent.containers,
        "last_heartbeat": agent.last_heartbeat,
        "node_id": peer and peer.node_id,
        "wg_public_key": peer and peer.public_key,
        "overlay_ip": peer and compute_overlay_ip(peer.node_id),
        "role": agent.role,
        "region": agent.region,
        "labels": agent.labels,
        "gpu_count": agent.gpu_count or None,
        "gpu_used": agent.gpu_used or None,
        "gpu_model": agent.gpu_model,
        "gpu_vram_mb": agent.gpu_vram_mb,
    }
    return {name: value for name, value in members.items() if value is not None}


def make_full_document(agent: Agent, peer: WireguardPeer | None) -> dict[str, Any]:
    """Describe an agent as /v1 shows it: what yoq's clients read, and what they do not know of at the end."""
    further = {"registered_at": agent.registered_at // 1_000_000, "drained": agent.drained_at is not None}
    waits = {} if agent.waits_for is None else {"waits_for": agent.waits_for}
    return make_agent_document(agent, peer) | further | waits


def make_peer_document(peer: WireguardPeer) -> dict[str, Any]:
    """Describe a member of the overlay network."""
    return {
        "node_id": peer.node_id,
        "agent_id": peer.agent_id,
        "public_key": peer.public_key,
        "endpoint": peer.endpoint,
        "overlay_ip": compute_overlay_ip(peer.node_id),
        "container_subnet": compute_container_subnet(peer.node_id),
    }
