"""yoq's routes of status and metrics, as far as its command line reads them."""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from yoq_web import Name, endpoint
from yoq_web.apps import queries
from yoq_wire.answers import make_blueprint
from yoq_wire.limits import fit

routes = make_blueprint("status", described=True)


class MetricsQuery(BaseModel):
    """Which traffic to list."""

    service: Name | None = Field(None, description="Of this service alone")
    mode: Literal["pairs"] | None = Field(None, description="By sender and receiver")


@routes.get("/v1/status")
@endpoint(scope="status:read", answer=list[dict[str, Any]])
def status() -> list[dict[str, Any]]:
    """List the services, as many as yoq's client takes, with how many of their parts run.

    What their containers use the agents do not report.
    """
    now = int(time.time())
    found = [
        {
            "name": service.name,
            "status": "running" if service.running == service.wanted else "partial" if service.running else "stopped",
            "health": None,
            "cpu_pct": 0.0,
            "memory_bytes": 0,
            "running": service.running,
            "desired": service.wanted,
            "uptime_secs": max(0, now - service.since) if service.since else 0,
        }
        for service in queries.count_services()
    ]
    return fit(found, lambda service: service)


@routes.get("/v1/status/bpf")
@endpoint(scope="status:read", answer=list[dict[str, Any]])
def maps() -> list[dict[str, Any]]:
    """List the kernel's maps, of which a control plane has none."""
    return []


@routes.get("/v1/metrics")
@endpoint(scope="status:read", query=MetricsQuery, answer=list[dict[str, Any]])
def metrics(query: MetricsQuery) -> list[dict[str, Any]]:  # noqa: ARG001 - whichever is asked for
    """List the traffic of containers, of which a control plane has none."""
    return []
