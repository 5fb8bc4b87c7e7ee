"""What can be done with apps; routes, commands and plugins all come here."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from yoq_web.apps import assignment_store, release_store
from yoq_web.apps.documents import Document, make_apply_document
from yoq_web.apps.locks import lock_app_file
from yoq_web.apps.manifest.document import (
    AppManifest,
    ManifestRefused,
    find_app_name,
    find_worker,
    hash_manifest,
    read_manifest,
)
from yoq_web.apps.manifest.parts import select_services
from yoq_web.apps.models import App, AssignmentRow, Release, RolloutRow
from yoq_web.apps.releases import make_release
from yoq_web.apps.rollout.assignment import Assignment, add_assignments, make_assignments
from yoq_web.apps.rollout.controller import app_rollout_end, continue_rollout
from yoq_web.apps.rollout.diagnosis import explain_no_place
from yoq_web.apps.rollout.machine import set_control
from yoq_web.apps.rollout.moves import app_move
from yoq_web.apps.rollout.scheduler import place
from yoq_web.apps.rollout.state import Control, ReleaseState
from yoq_web.database.session import db
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import add_details, mark_failed
from yoq_web.problems import NotFound, Problem

app_apply = Operation(
    "app_apply",
    "Apply a manifest",
    "apps:write",
    details=("release_id", "manifest_hash", "before", "status", "services", "kept"),
    activity="update",
)
app_rollback = Operation(
    "app_rollback",
    "Roll an app back",
    "apps:write",
    details=("release_id", "source_release_id", "manifest_hash", "before", "status"),
    activity="update",
)
CONTROLLED = ("release_id", "before")
app_pause = Operation("app_pause", "Pause a rollout", "apps:write", CONTROLLED, activity="update")
app_resume = Operation("app_resume", "Resume a rollout", "apps:write", CONTROLLED, activity="update")
app_cancel = Operation("app_cancel", "Cancel a rollout", "apps:write", CONTROLLED, activity="update")
app_run = Operation("app_run", "Run a worker", "apps:write", details=("worker", "release_id"), activity="create")

OPERATIONS = (app_apply, app_rollback, app_pause, app_resume, app_cancel, app_run, app_rollout_end, app_move)

CONTROLS: dict[Control, Operation] = {"paused": app_pause, "active": app_resume, "cancel_requested": app_cancel}
"""The operation by which an operator sets each control state."""

RELEASE_ID = re.compile(r"[0-9a-f]{1,64}")


def apply(body: bytes, *, services: Sequence[str] = (), keep: bool = False, named: bool = True) -> Document:
    """Apply the manifest in a request's body; returns the apply document as the release then stands.

    With `services` only these of it and what they depend on, and then, or with `keep`, the app's services that are not
    in it stay as they are; else they are stopped when the release is completed. Without a name, which only
    `named=False` allows, its services are placed and that is all. Raises a Problem, recorded as a failure: 400 with
    yoq's text, or 409 if the app is being applied or its newest release still rolls out.
    """
    release_id = assignment_store.make_id()
    app, told = name_apply(body, services)
    with (
        lock_app_file(app) as first,
        app_apply.performed(app, release_id=release_id, manifest_hash=hash_manifest(body), **told) as session,
    ):
        try:
            wanted = read_manifest(body, named=named)
            body = select_services(body, services) if services else body
        except ManifestRefused as refusal:
            raise Problem(400, str(refusal), refusal.detail) from None
        if wanted.app is None:
            return _place_only(session, wanted)
        _check_addressable(session, wanted.app)
        made = make_release(session, body, release_id, first=first, keep=keep or bool(services))
    return make_apply_document(made)


def _check_addressable(session: Session, app: str) -> None:
    """Raise a 400 for a new app that no route could be asked for; one that is there already goes on as it is."""
    if ("/" in app or app in (".", "..")) and session.get(App, app) is None:
        raise Problem(400, "invalid app_name", "a name with a slash, or of dots alone, is taken for a part of a path")


def name_apply(body: bytes, services: Sequence[str] = ()) -> tuple[str, dict[str, list[str]]]:
    """Name an apply for the trail: the app, "" if the manifest names none, and the services if only some are meant."""
    return find_app_name(body) or "", ({"services": list(services)} if services else {})


def rollback(app: str, release_id: str | None = None) -> Document:
    """Apply an earlier release again, the newest completed one before the newest unless told; returns the document.

    Raises a Problem: 400 or 404 if there is no such release, which is not recorded, else as apply() does.
    """
    target = find_rollback_target(app, release_id)
    body = read_stored_body(target)
    made_id, digest = assignment_store.make_id(), hash_manifest(body)
    with (
        lock_app_file(app) as first,
        app_rollback.performed(app, release_id=made_id, source_release_id=target.id, manifest_hash=digest) as session,
    ):
        made = make_release(session, body, made_id, first=first, source=target.id)
    return make_apply_document(made)


def find_rollback_target(app: str, release_id: str | None = None) -> ReleaseState:
    """Find the release that a rollback would go back to. Raises a Problem (400) for a bad id, and NotFound."""
    if release_id is not None and not RELEASE_ID.fullmatch(release_id):
        raise Problem(400, "invalid release_id")
    chosen = release_store.select_releases().where(Release.app == app)
    if release_id is not None:
        chosen = chosen.where(Release.id == release_id)
    else:
        newest = select(App.newest).where(App.name == app).scalar_subquery()
        best = select(func.max(RolloutRow.number)).where(
            RolloutRow.app == app, RolloutRow.status == "completed", RolloutRow.number < newest
        )
        chosen = chosen.where(Release.number == best.scalar_subquery())
    found = db.session.execute(chosen).first()
    if found is None:
        raise NotFound("not found", "there is no release to roll back to")
    return release_store.read_release(found)


def read_stored_body(release: ReleaseState) -> bytes:
    """Read the body of the request that made a release, byte for byte."""
    return bytes(db.session.execute(select(Release.body).where(Release.number == release.number)).scalar_one())


def _place_only(session: Session, wanted: AppManifest) -> Document:
    assignment_store.lock_placing(session)
    nodes = assignment_store.list_nodes(session)
    if wanted.services and not nodes:
        raise Problem(400, "no agents available")
    made: dict[str, Assignment] = {}
    failed = 0
    misfits: list[str] = []
    for service in wanted.services:
        left = add_assignments(nodes, made.values())
        seats = place(service, left)
        if not seats:
            failed += service.parts
            misfits.append(f"{service.name}: {explain_no_place(service, left)}")
        made |= make_assignments(service, seats, None, assignment_store.make_id)
    assignment_store.save_assignments(session, None, {}, made, int(time.time()))
    add_details(status=("partially_failed" if made else "failed") if misfits else "completed")
    if misfits:
        mark_failed("; ".join(misfits))
    return {"placed": len(made), "failed": failed}


def pause(app: str) -> Document:
    """Have the rollout wait before its next batch. Raises NotFound if nothing of the app rolls out."""
    return _control(app, "paused")


def resume(app: str) -> Document:
    """Let a paused rollout go on. Raises NotFound if nothing of the app rolls out."""
    return _control(app, "active")


def cancel(app: str) -> Document:
    """End a rollout where it stands, or undo it if that is its failure action. Raises NotFound if there is none."""
    return _control(app, "cancel_requested")


def _control(app: str, control: Control) -> Document:
    rolling = (
        select(RolloutRow.number, RolloutRow.state, Release.id)
        .join(Release, Release.number == RolloutRow.number)
        .where(RolloutRow.app == app, RolloutRow.status == "in_progress")
        .order_by(RolloutRow.number.desc())
        .limit(1)
    )
    seen = db.session.execute(rolling).first()
    if seen is None:
        raise NotFound("not found", f"nothing of {app!r} rolls out")
    with CONTROLS[control].performed(app, release_id=seen.id) as session:
        found = session.execute(rolling.with_for_update(of=RolloutRow)).first()
        if found is None or found.number != seen.number:
            raise NotFound("not found", f"nothing of {app!r} rolls out")
        before = release_store.read_rollout(found.state)
        add_details(before=before.control)
        rollout = set_control(before, control)
        release_store.save_rollout(session, found.number, rollout)
    # What follows from it is a step like any other.
    continue_rollout(seen.number)
    return {"app_name": app, "release_id": seen.id, "rollout_control_state": rollout.control}


def name_run(app: str, worker: str) -> tuple[str, dict[str, str]]:
    """Name the run of a worker for the trail: its target, and the detail that tells which worker it is."""
    return app, {"worker": worker}


def run_worker(app: str, worker: str) -> Document:
    """Place a worker of the app's newest release. Raises NotFound if there is none of that name."""
    target, details = name_run(app, worker)
    with app_run.performed(target, **details) as session:
        assignment_store.lock_placing(session)
        chosen = select(Release.number, Release.id, Release.body).join(App, App.newest == Release.number)
        found = session.execute(chosen.where(App.name == app)).first()
        workload = find_worker(bytes(found.body), worker) if found else None
        if found is None or workload is None:
            raise NotFound("not found", f"the newest release of {app!r} has no worker {worker!r}")
        add_details(release_id=found.id)
        nodes = assignment_store.list_nodes(session)
        if not nodes:
            raise Problem(500, "internal error", "there are no agents")
        ours = (AssignmentRow.app == app, AssignmentRow.kind == "worker", AssignmentRow.workload == worker)
        before = assignment_store.list_assignments(session, *ours)
        # Earlier runs that are over make room in the table.
        after = {key: one for key, one in before.items() if one.alive}
        seats = place(workload, nodes)
        if not seats:
            mark_failed(explain_no_place(workload, nodes))
        after |= make_assignments(workload, seats, found.number, assignment_store.make_id)
        assignment_store.save_assignments(session, app, before, after, int(time.time()))
    failed = 0 if seats else workload.parts
    said = "worker scheduling failed" if failed else "worker scheduled"
    return {"app_name": app, "worker": worker, "placed": len(seats), "failed": failed, "message": said}
