"""yoq's routes of the cluster: however many processes and machines serve, to its clients they are one leader."""

from __future__ import annotations

import time
from typing import Any

from yoq_web import VERSION, NotFound
from yoq_wire.answers import make_blueprint, wire_endpoint

routes = make_blueprint("cluster")

SELF = 1
"""The number of the one member there is."""


@routes.get("/cluster/status")
@wire_endpoint(scope="cluster:read")
def status() -> dict[str, Any]:
    """Say that this is a cluster and answers for it."""
    return {"cluster": True, "id": SELF, "role": "leader", "term": 1, "peers": 0, "leader_id": SELF}


@routes.get("/cluster/version")
@wire_endpoint(scope="cluster:read")
def version() -> dict[str, Any]:
    """Say which version this is."""
    return {"protocol_version": 1, "software_version": VERSION}


@routes.get("/cluster/node-info")
@wire_endpoint(scope="cluster:read")
def node_info() -> dict[str, Any]:
    """Say which member this is, and the time in milliseconds since 1970."""
    return {"id": SELF, "unix_ms": time.time_ns() // 1_000_000, "software_version": VERSION}


@routes.get("/cluster/peers/info")
@wire_endpoint(scope="cluster:read")
def peers_info() -> list[dict[str, Any]]:
    """List the members, of which there is one."""
    now = time.time_ns() // 1_000_000
    return [{"id": SELF, "software_version": VERSION, "unix_ms": now, "reachable": 1}]


@routes.get("/cluster/ca")
@wire_endpoint(scope="cluster:read")
def authority() -> dict[str, Any]:
    """Say that there is no certificate authority."""
    raise NotFound
