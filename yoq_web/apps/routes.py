"""The HTTP API of apps: what operators do with them, and what the agents take up and report with the join token."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from yoq_web.apps import agent_api, operations, queries
from yoq_web.apps.schemas import (
    Applied,
    AppStatus,
    AssignmentOut,
    Controlled,
    Diff,
    HistoryEntry,
    HistoryQuery,
    ManifestIn,
    PartQuery,
    Ran,
    Reported,
    ReportIn,
    RollbackIn,
)
from yoq_web.database.pages import Page
from yoq_web.http.endpoints import endpoint
from yoq_web.http.pages import PageQuery
from yoq_web.problems import NotFound
from yoq_web.scopes import JOINING

blueprint = Blueprint("apps", __name__)

IN_PROGRESS = "The app is being applied, or its newest release still rolls out"


@blueprint.get("/v1/apps")
@endpoint(scope="apps:read", query=PageQuery, answer=list[AppStatus])
def list_apps(query: PageQuery) -> Page[dict[str, Any]]:
    """List the apps, that with the newest release first.

    An app that is applied on the way from one page to the next may be on both, or on none.
    """
    return queries.list_apps(query.find_slice())


@blueprint.post("/v1/apps")
@endpoint(
    operations.app_apply,
    body=ManifestIn,
    raw=True,
    query=PartQuery,
    target=lambda body, query: operations.name_apply(body, query.services),
    answer=Applied,
    errors={409: IN_PROGRESS},
)
def apply(body: bytes, query: PartQuery) -> dict[str, Any]:
    """Apply a manifest.

    Makes a release and begins to roll it out. The answer shows how it then stands: a rollout that waits for readiness
    or between batches goes on by itself. The body is kept as it was sent, and the app's services that it does not name
    are stopped once it is completed. With `service` they stay as they are (`kept`), and the release has them, too.
    """
    return operations.apply(body, services=query.services)


@blueprint.post("/v1/apps/diff")
@endpoint(scope="apps:read", body=ManifestIn, raw=True, query=PartQuery, answer=Diff, unaudited=queries.CHANGES_NOTHING)
def diff(body: bytes, query: PartQuery) -> dict[str, Any]:
    """Say what an apply would change, without doing it."""
    return queries.diff_manifest(body, services=query.services)


@blueprint.get("/v1/apps/<name:app>")
@endpoint(scope="apps:read", answer=AppStatus)
def status(app: str) -> dict[str, Any]:
    """Show an app with its newest release."""
    return queries.get_status(app)


@blueprint.get("/v1/apps/<name:app>/history")
@endpoint(scope="apps:read", query=HistoryQuery, answer=list[HistoryEntry])
def history(app: str, query: HistoryQuery) -> Page[dict[str, Any]]:
    """List an app's releases, the newest first.

    Of an app without releases there are none.
    """
    return queries.list_history(app, query.find_slice(), before=query.before)


@blueprint.post("/v1/apps/<name:app>/rollback")
@endpoint(operations.app_rollback, body=RollbackIn, answer=Applied, errors={409: IN_PROGRESS})
def rollback(app: str, body: RollbackIn) -> dict[str, Any]:
    """Apply an earlier release again.

    It makes a new release and rolls out like any other.
    """
    return operations.rollback(app, body.release_id)


@blueprint.post("/v1/apps/<name:app>/pause")
@endpoint(operations.app_pause, answer=Controlled)
def pause(app: str) -> dict[str, Any]:
    """Have a rollout wait before its next batch.

    A batch that was begun is finished.
    """
    return operations.pause(app)


@blueprint.post("/v1/apps/<name:app>/resume")
@endpoint(operations.app_resume, answer=Controlled)
def resume(app: str) -> dict[str, Any]:
    """Let a paused rollout go on."""
    return operations.resume(app)


@blueprint.post("/v1/apps/<name:app>/cancel")
@endpoint(operations.app_cancel, answer=Controlled)
def cancel(app: str) -> dict[str, Any]:
    """End a rollout now.

    With the failure action `rollback` everything that it brought is undone, else what was cut over stays.
    """
    return operations.cancel(app)


@blueprint.post("/v1/apps/<name:app>/workers/<name:worker>/run")
@endpoint(operations.app_run, target=operations.name_run, answer=Ran)
def run_worker(app: str, worker: str) -> dict[str, Any]:
    """Run a worker of the app's newest release once."""
    return operations.run_worker(app, worker)


@blueprint.get("/v1/agents/<agent>/assignments")
@endpoint(scope=JOINING, query=PageQuery, answer=list[AssignmentOut])
def list_assignments(agent: str, query: PageQuery) -> Page[dict[str, Any]]:
    """List what an agent is to run, in the order in which it was assigned."""
    return agent_api.list_assignments(agent, query.find_slice())


@blueprint.post("/v1/agents/<agent>/assignments/<assignment>/status")
@endpoint(scope=JOINING, body=ReportIn, answer=Reported, unaudited=agent_api.NOT_SENSITIVE)
def report(agent: str, assignment: str, body: ReportIn) -> dict[str, Any]:
    """Say how an assignment fares.

    An agent can speak of its own assignments only.
    """
    if not agent_api.report(agent, assignment, body.status, body.reason):
        raise NotFound("not found", f"the agent {agent!r} has no assignment {assignment!r}")
    return {"ok": True, "status": body.status}
