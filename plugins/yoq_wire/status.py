"""yoq's routes of status and metrics, as far as its command line reads them."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import func, select

from yoq_web import db, endpoint
from yoq_web.apps.models import AssignmentRow
from yoq_wire.answers import make_blueprint
from yoq_wire.limits import fit

routes = make_blueprint("status")


@routes.get("/v1/status")
@endpoint(scope="status:read", answer=list[dict[str, Any]])
def status() -> list[dict[str, Any]]:
    """List the services, as many as yoq's client takes, with how many of their parts run.

    What their containers use the agents do not report.
    """
    running = AssignmentRow.status == "running"
    rows = db.session.execute(
        select(
            AssignmentRow.workload,
            func.count().filter(running),
            func.count(),
            func.min(AssignmentRow.created_at).filter(running),
        )
        .where(AssignmentRow.kind == "service", AssignmentRow.replaced_by.is_(None), AssignmentRow.status != "stopped")
        .group_by(AssignmentRow.app, AssignmentRow.workload)
        .order_by(AssignmentRow.app, AssignmentRow.workload)
    )
    now = int(time.time())
    found = [
        {
            "name": name,
            "status": "running" if runs == wanted else "partial" if runs else "stopped",
            "health": None,
            "cpu_pct": 0.0,
            "memory_bytes": 0,
            "running": runs,
            "desired": wanted,
            "uptime_secs": max(0, now - since) if since else 0,
        }
        for name, runs, wanted, since in rows
    ]
    return fit(found, lambda service: service)


@routes.get("/v1/status/bpf")
@endpoint(scope="status:read", answer=list[dict[str, Any]])
def maps() -> list[dict[str, Any]]:
    """List the kernel's maps, of which a control plane has none."""
    return []


@routes.get("/v1/metrics")
@endpoint(scope="status:read", answer=list[dict[str, Any]])
def metrics() -> list[dict[str, Any]]:
    """List the traffic of containers, of which a control plane has none."""
    return []
