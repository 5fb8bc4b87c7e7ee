"""The overlay network as data: which addresses an agent's number stands for (yoq's rules)."""

from __future__ import annotations

import re

MAX_NODE = 54_783
"""The highest number whose subnet is an address at all: 10.255.255.0/24."""

PORT = 51_820
"""Where WireGuard listens unless an agent says otherwise."""


def compute_overlay_ip(node_id: int) -> str:
    """Compute the agent's own address in the overlay network."""
    return f"10.40.{node_id >> 8}.{node_id & 255}"


def compute_container_subnet(node_id: int) -> str:
    """Compute the network that the agent's containers get their addresses from."""
    return f"10.{42 + (node_id >> 8)}.{node_id & 255}.0/24"


def format_endpoint(address: str, port: int) -> str:
    """Write where other agents reach this one; a port in the address is the agent's API, not WireGuard's."""
    host = re.sub(r"^(\d{1,3}(?:\.\d{1,3}){3}):\d+$", r"\1", address, flags=re.ASCII)
    return f"{host}:{port}"
