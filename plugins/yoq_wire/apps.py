"""yoq's routes of apps: documents in its key order, lists as long as its client can take them."""

from __future__ import annotations

import json
from typing import Any

from flask import Response
from pydantic import BaseModel

from yoq_web import JOINING, Slice
from yoq_web.apps import agent_api, operations, queries, schemas
from yoq_wire.answers import make_blueprint, wire_endpoint
from yoq_wire.limits import fit_assignments, fit_release, fit_releases

routes = make_blueprint("apps")

MOST = 100
"""Of apps, or of an app's releases, more than these never fit into what the client takes."""


class StatusIn(BaseModel):
    """What an agent says of an assignment: `running`, `stopped` or `failed`."""

    status: str
    reason: str | None = None


@routes.get("/apps")
@wire_endpoint(scope="apps:read")
def list_apps() -> list[dict[str, Any]]:
    """List the apps, that with the newest release first, as many as the client can take."""
    return fit_releases(queries.list_apps(Slice(limit=MOST)))


@routes.post("/apps/apply")
@wire_endpoint(operations.app_apply, body=schemas.ManifestIn, raw=True, target=operations.name_apply)
def apply(body: bytes) -> dict[str, Any]:
    """Apply a manifest; the answer does not wait for a rollout that takes its time.

    What `yoq up` sends for one service looks like a manifest that has no other: what is not in it stays as it is.
    """
    return fit_release(operations.apply(body, keep=True))


@routes.post("/apps/dry-run")
@wire_endpoint(scope="apps:read", body=schemas.ManifestIn, raw=True, unaudited=queries.CHANGES_NOTHING)
def dry_run(body: bytes) -> dict[str, Any]:
    """Say what an apply would change, without doing it."""
    return queries.diff_manifest(body, keep=True)


@routes.post("/deploy")
@wire_endpoint(operations.app_apply, body=schemas.ManifestIn, raw=True, target=operations.name_apply)
def deploy(body: bytes) -> dict[str, int]:
    """Apply a manifest that need not name an app, and count what was placed."""
    made = operations.apply(body, keep=True, named=False)
    return {"placed": made["placed"], "failed": made["failed"]}


@routes.get("/apps/<app>/status")
@wire_endpoint(scope="apps:read")
def status(app: str) -> dict[str, Any]:
    """Show an app with its newest release."""
    return fit_release(queries.get_status(app))


@routes.get("/apps/<app>/history")
@wire_endpoint(scope="apps:read")
def history(app: str) -> list[dict[str, Any]]:
    """List an app's releases, the newest first, as many as the client can take."""
    return fit_releases(queries.list_history(app, Slice(limit=MOST)))


@routes.post("/apps/<app>/rollback")
@wire_endpoint(
    operations.app_rollback,
    body=schemas.RollbackIn,
    raw=True,
    unaudited="with print it shows a release and changes nothing; without, the operation records itself",
)
def rollback(app: str, body: bytes) -> Response | dict[str, Any]:
    """Apply an earlier release again; with `print` show what it was made from."""
    release_id, shown = _read_rollback(body)
    if shown:
        stored = operations.read_stored_body(operations.find_rollback_target(app, release_id))
        return Response(stored, content_type="application/json")
    return fit_release(operations.rollback(app, release_id))


def _read_rollback(body: bytes) -> tuple[str | None, bool]:
    """Read the release and whether to print it; a body that says neither is as good as none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None, False
    if not isinstance(document, dict):
        return None, False
    release = document.get("release_id")
    return release if isinstance(release, str) else None, document.get("print") is True


for verb, operation, control in (
    ("pause", operations.app_pause, operations.pause),
    ("resume", operations.app_resume, operations.resume),
    ("cancel", operations.app_cancel, operations.cancel),
):
    routes.post(f"/apps/<app>/rollout/{verb}")(wire_endpoint(operation)(control))


@routes.post("/apps/<app>/workers/<worker>/run")
@wire_endpoint(operations.app_run, target=operations.name_run)
def run_worker(app: str, worker: str) -> dict[str, Any]:
    """Run a worker of the app's newest release once."""
    return operations.run_worker(app, worker)


@routes.get("/agents/<agent>/assignments")
@wire_endpoint(scope=JOINING)
def list_assignments(agent: str) -> list[dict[str, Any]]:
    """List what an agent is to run, in the order in which it was assigned; of much what it has to start first."""
    return fit_assignments(agent_api.list_assignments(agent))


@routes.post("/agents/<agent>/assignments/<assignment>/status")
@wire_endpoint(scope=JOINING, body=StatusIn, unaudited=agent_api.NOT_SENSITIVE)
def report(agent: str, assignment: str, body: StatusIn) -> dict[str, Any]:
    """Say how an assignment fares; what is said of another agent's changes nothing and is answered alike."""
    agent_api.report(agent, assignment, body.status, body.reason)
    return {"ok": True, "status": body.status}
