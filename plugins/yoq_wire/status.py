"""yoq's routes of status and metrics, with what is known here: how many of each service's containers run."""

from __future__ import annotations

import time
from typing import Any, Literal

from flask import Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel, Field

from yoq_web import Name, dumps, endpoint
from yoq_web.apps import queries
from yoq_wire.answers import make_blueprint
from yoq_wire.limits import fit

routes = make_blueprint("status", described=True)

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class StatusQuery(BaseModel):
    """What to show."""

    mode: Literal["service_discovery", "service_rollout"] | None = Field(
        None, description="The state of service discovery instead, by either name"
    )


class MetricsQuery(BaseModel):
    """Which traffic to list."""

    service: Name | None = Field(None, description="Of this service alone")
    mode: Literal["pairs", "storage_io", "gpu"] | None = Field(
        None, description="By sender and receiver, or instead of traffic of disks or of GPUs"
    )
    format: Literal["prometheus"] | None = Field(
        None, description="In Prometheus's text format: how many of each service's containers run"
    )


@routes.get("/v1/status")
@endpoint(scope="status:read", query=StatusQuery, answer=list[dict[str, Any]] | dict[str, Any])
def status(query: StatusQuery) -> list[dict[str, Any]] | dict[str, Any]:
    """List the services, as many as yoq's client takes, with how many of their parts run.

    What their containers use the agents do not report. With `mode` the state of service discovery, which is not here:
    each of its parts is off, and `degraded_services` are the services of which fewer run than should.
    """
    services = queries.count_services()
    if query.mode:
        return describe_discovery(sorted({service.name for service in services if service.running < service.wanted}))
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
        for service in services
    ]
    return fit(found, lambda service: service)


@routes.get("/v1/status/bpf")
@endpoint(scope="status:read", answer=list[dict[str, Any]])
def maps() -> list[dict[str, Any]]:
    """List the kernel's maps, of which a control plane has none."""
    return []


@routes.get("/v1/metrics")
@endpoint(
    scope="status:read",
    query=MetricsQuery,
    answer=list[dict[str, Any]] | dict[str, Any],
    media_type="application/json, text/plain",
)
def metrics(query: MetricsQuery) -> Response:
    """List the traffic of containers, of which a control plane has none.

    With `format=prometheus` how many of each service's containers are to run and do, under yoq's names and as text.
    """
    if query.format:
        return Response(write_metrics(queries.count_services()), content_type=PROMETHEUS)
    nothing: object = {"gpu_metrics": []} if query.mode == "gpu" else []
    return Response(dumps(nothing), content_type="application/json")


def write_metrics(services: list[queries.ServiceCount]) -> bytes:
    """Write the metrics of services as Prometheus reads them. Services of one name, in whichever apps, are one."""
    counts: dict[str, tuple[int, int]] = {}
    for service in services:
        running, wanted = counts.get(service.name, (0, 0))
        counts[service.name] = running + service.running, wanted + service.wanted
    registry = CollectorRegistry()
    endpoints = _make_gauge(
        registry, "endpoints_total", "Containers of a service that are to run, and that do", "state"
    )
    eligible = _make_gauge(registry, "eligible_endpoints", "Containers of a service that run")
    degraded = _make_gauge(registry, "degraded", "Whether fewer containers of a service run than should")
    without = _make_gauge(registry, "zero_backends_total", "Whether no container of a service runs")
    for name, (running, wanted) in counts.items():
        endpoints.labels(name, "total").set(wanted)
        endpoints.labels(name, "healthy").set(running)
        eligible.labels(name).set(running)
        degraded.labels(name).set(running < wanted)
        without.labels(name).set(not running)
    return generate_latest(registry)


def _make_gauge(registry: CollectorRegistry, name: str, said: str, *labels: str) -> Gauge:
    return Gauge(f"yoq_service_{name}", said, ["service", *labels], registry=registry)


def describe_discovery(degraded: list[str]) -> dict[str, Any]:
    """Describe service discovery as yoq does, in its order of members: it has a data plane, which is all off here."""
    off = {"enabled": False, "running": False}
    flags = ("service_registry_v2", "service_registry_reconciler", "dns_returns_vip", "l7_proxy_http")
    components = ("dns_resolver_running", "dns_interceptor_loaded", "load_balancer_loaded")
    return {
        "mode": "canonical",
        "flags": dict.fromkeys(flags, False),
        "components": dict.fromkeys(components, False),
        "health_checker": {"running": False, "tracked_endpoints": 0},
        "l7_proxy": {**off, "configured_services": 0, "routes": 0, "sample_routes": [], "sample_route_traffic": []},
        "listener": {**off, "accepted_connections_total": 0, "active_connections": 0, "last_error": None},
        "control_plane": {**off, "steering_enabled": False},
        "steering": {**off, "configured_services": 0},
        "audit": {**off, "degraded_services": degraded},
    }
