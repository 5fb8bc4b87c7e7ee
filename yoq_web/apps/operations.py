"""What can be done with apps; routes, commands and plugins all come here."""

from __future__ import annotations

import re
import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from yoq_web.apps import assignment_store, release_store
from yoq_web.apps.documents import Document, make_apply_document
from yoq_web.apps.locks import lock_app_file, try_lock_app
from yoq_web.apps.manifest.document import (
    AppManifest,
    ManifestRefused,
    find_app_name,
    find_worker,
    hash_manifest,
    read_manifest,
)
from yoq_web.apps.models import App, AssignmentRow, Release, RolloutRow
from yoq_web.apps.rollout.assignment import Assignment, add_assignments, make_assignments
from yoq_web.apps.rollout.controller import (
    PlannedStep,
    app_rollout_end,
    continue_rollout,
    make_end_details,
    make_reconciler,
    write_step,
)
from yoq_web.apps.rollout.diagnosis import explain_no_place
from yoq_web.apps.rollout.machine import set_control
from yoq_web.apps.rollout.rescheduler import app_move
from yoq_web.apps.rollout.scheduler import place
from yoq_web.apps.rollout.state import Control, ReleaseState, start_rollout
from yoq_web.database.session import db
from yoq_web.names import check_storable
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import add_details, add_sequel, mark_failed
from yoq_web.problems import NotFound, Problem

app_apply = Operation(
    "app_apply",
    "Apply a manifest",
    "apps:write",
    details=("release_id", "manifest_hash", "before", "status"),
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


def apply(body: bytes, *, named: bool = True) -> Document:
    """Apply the manifest in a request's body; returns the apply document as the release then stands.

    Raises a Problem, recorded as a failure: 400 with yoq's text, or 409 if the app is being applied or its newest
    release still rolls out. Without a name, which only `named=False` allows, its services are placed and that is all.
    """
    release_id = assignment_store.make_id()
    app = find_target(body)
    with (
        lock_app_file(app) as first,
        app_apply.performed(app, release_id=release_id, manifest_hash=hash_manifest(body)) as session,
    ):
        try:
            wanted = read_manifest(body, named=named)
        except ManifestRefused as refusal:
            raise Problem(400, str(refusal)) from None
        if wanted.app is None:
            return _place_only(session, wanted)
        _check_addressable(session, wanted.app)
        made = _make_release(session, wanted, body, release_id, first=first)
    return make_apply_document(made)


def _check_addressable(session: Session, app: str) -> None:
    """Raise a 400 for a new app that no route could be asked for; one that is there already goes on as it is."""
    if ("/" in app or app in (".", "..")) and session.get(App, app) is None:
        raise Problem(400, "invalid app_name", "a name with a slash, or of dots alone, is taken for a part of a path")


def find_target(body: bytes) -> str:
    """Find the app that a manifest is of, whatever else is wrong with it; "" if it names none."""
    return find_app_name(body) or ""


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
        wanted = read_manifest(body)
        made = _make_release(session, wanted, body, made_id, first=first, source=target.id)
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


def _make_release(
    session: Session, wanted: AppManifest, body: bytes, release_id: str, *, first: bool, source: str | None = None
) -> ReleaseState:
    """Make a release and take its first steps."""
    app = check_app_name(wanted)
    rolling = select(RolloutRow.number).where(RolloutRow.app == app, RolloutRow.status == "in_progress").limit(1)
    if not first or not try_lock_app(session, app):
        raise Problem(409, "apply already in progress", "another request applies this app right now")
    if session.scalar(rolling) is not None:
        raise Problem(409, "apply already in progress", "the newest release still rolls out: wait, or cancel it")
    assignment_store.lock_placing(session)
    newest = select(Release.id).join(App, App.newest == Release.number).where(App.name == app)
    add_details(before=session.scalar(newest))
    now = int(time.time())
    rollout = start_rollout(wanted.policy, [(service.name, service.parts) for service in wanted.services])
    release: dict[str, Any] = {
        "id": release_id,
        "app": app,
        "trigger": "apply" if source is None else "rollback",
        "source": source,
        "manifest_hash": hash_manifest(body),
        "body": body,
        "services": wanted.count("service"),
        "workers": wanted.count("worker"),
        "crons": wanted.count("cron"),
        "training_jobs": wanted.count("training_job"),
        "created_at": now,
    }
    number = release_store.add_release(session, release, rollout)
    assigned = assignment_store.list_assignments(session, assignment_store.is_service_of(app))
    reconciler = make_reconciler(session, number, wanted, rollout, assigned, app=app)
    if wanted.services and not reconciler.nodes:
        raise Problem(400, "no agents available")
    reconciler.run(now)
    after = reconciler.rollout
    step = PlannedStep(number, release_id, app, rollout, after, assigned, reconciler.assignments, rollout.due_at)
    write_step(session, step, now)
    add_details(status=after.status)
    if after.failure:
        mark_failed(after.failure)
    if after.over:
        add_sequel(app_rollout_end, app, after.failure, **make_end_details(release_id, after))
    del release["body"]
    return ReleaseState(number=number, rollout=after, **release)


def check_app_name(wanted: AppManifest) -> str:
    """Return the app of a manifest. Raises a Problem (400) if the databases cannot store its name."""
    try:
        return check_storable(wanted.app or "")
    except ValueError as error:
        raise Problem(400, "invalid app name", str(error)) from None


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
